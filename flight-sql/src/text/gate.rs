//! The gate: whatever a statement says is honoured, or refused here by name.
//!
//! DataFusion leaves out clauses that it does not know, silently. Patterns here name every field, so that a parser that
//! learns a new clause does not compile before somebody has decided what becomes of it.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Cte, Distinct, Expr, Function, Join, JoinConstraint, JoinOperator, LimitClause, Query, Select,
    SelectFlavor, SetExpr, Statement, TableFactor, TableVersion, Value, Visit, Visitor, With,
};

use super::dialect::VALID_TIME;
use crate::error::{invalid, unsupported};
use firn_storage::error::{Error, Result};

/// Refuses what is not honoured.
pub(super) fn check(statement: &Statement) -> Result<()> {
    match statement.visit(&mut Gate) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Gate;

impl Visitor for Gate {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        flow(check_query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        flow(check_select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        flow(check_factor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        flow(check_expression(expr))
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    result.map_or_else(ControlFlow::Break, ControlFlow::Continue)
}

/// Refuses `clause` if it is there.
fn refuse(there: bool, clause: &str, instead: &str) -> Result<()> {
    if there { Err(unsupported(format!("{clause} is not served: {instead}"))) } else { Ok(()) }
}

fn check_query(query: &Query) -> Result<()> {
    let Query {
        with,
        body,
        order_by: _,
        limit_clause,
        fetch,
        locks,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    refuse(fetch.is_some(), "FETCH", "write LIMIT")?;
    refuse(!locks.is_empty(), "FOR UPDATE or FOR SHARE", "a read sees one moment and locks nothing")?;
    refuse(for_clause.is_some(), "FOR XML, FOR JSON or FOR BROWSE", "answers are Arrow")?;
    refuse(settings.is_some(), "SETTINGS", "SET the session, or send headers")?;
    refuse(format_clause.is_some(), "FORMAT", "answers are Arrow")?;
    refuse(!pipe_operators.is_empty(), "a pipe operator (|>)", "write a subquery")?;
    if let Some(LimitClause::LimitOffset { limit: _, offset: _, limit_by }) = limit_clause {
        refuse(!limit_by.is_empty(), "LIMIT BY", "use row_number() in a subquery")?;
    }
    if let Some(With { with_token: _, recursive, cte_tables }) = with {
        refuse(*recursive, "WITH RECURSIVE", "write the steps out")?;
        for Cte { alias: _, query: _, from, materialized, closing_paren_token: _ } in cte_tables {
            refuse(from.is_some(), "FROM after a common table expression", "leave it out")?;
            refuse(materialized.is_some(), "MATERIALIZED", "leave it out")?;
        }
    }
    check_body(body)
}

fn check_body(body: &SetExpr) -> Result<()> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => Ok(()),
        SetExpr::SetOperation { left, op: _, set_quantifier: _, right } => {
            check_body(left)?;
            check_body(right)
        }
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err(unsupported("a statement that changes rows is not served inside a query: send it by itself"))
        }
        SetExpr::Table(_) => Err(unsupported("TABLE is not served: write SELECT * FROM")),
    }
}

fn check_select(select: &Select) -> Result<()> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection: _,
        exclude,
        into,
        from,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by: _,
        cluster_by,
        distribute_by,
        sort_by,
        having: _,
        named_window: _,
        qualify: _,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    refuse(!optimizer_hints.is_empty(), "a hint to the optimizer", "leave it out")?;
    refuse(matches!(distinct, Some(Distinct::All)), "SELECT ALL", "leave ALL out")?;
    refuse(select_modifiers.is_some(), "a modifier of SELECT", "leave it out")?;
    refuse(top.is_some(), "TOP", "write LIMIT")?;
    refuse(exclude.is_some(), "EXCLUDE after the columns", "write * EXCLUDE (…)")?;
    refuse(into.is_some(), "SELECT INTO", "write INSERT INTO … SELECT")?;
    refuse(!lateral_views.is_empty(), "LATERAL VIEW", "write unnest(…)")?;
    refuse(prewhere.is_some(), "PREWHERE", "write WHERE")?;
    refuse(!connect_by.is_empty(), "CONNECT BY", "write joins")?;
    refuse(!cluster_by.is_empty(), "CLUSTER BY", "write ORDER BY")?;
    refuse(!distribute_by.is_empty(), "DISTRIBUTE BY", "leave it out")?;
    refuse(!sort_by.is_empty(), "SORT BY", "write ORDER BY")?;
    refuse(value_table_mode.is_some(), "AS STRUCT or AS VALUE", "write struct(…)")?;
    refuse(!matches!(flavor, SelectFlavor::Standard), "FROM before SELECT", "write SELECT … FROM")?;
    from.iter().flat_map(|table| &table.joins).try_for_each(check_join)
}

fn check_join(join: &Join) -> Result<()> {
    let Join { relation: _, global, join_operator } = join;
    let of_ours = matches!(join_operator, JoinOperator::StraightJoin(_));
    refuse(*global && !of_ours, "GLOBAL JOIN", "leave GLOBAL out")?;
    match join_operator {
        JoinOperator::AsOf { match_condition: _, constraint } => check_keys(constraint),
        JoinOperator::StraightJoin(JoinConstraint::On(_)) => Ok(()),
        JoinOperator::StraightJoin(_) => Err(invalid(
            "ASOF JOIN without MATCH_CONDITION says its keys and its time in ON: `ON l.k = r.k AND l.ts >= r.observed`",
        )),
        JoinOperator::CrossApply | JoinOperator::OuterApply => {
            Err(unsupported("APPLY is not served: write JOIN LATERAL"))
        }
        JoinOperator::ArrayJoin | JoinOperator::LeftArrayJoin | JoinOperator::InnerArrayJoin => {
            Err(unsupported("ARRAY JOIN is not served: write unnest(…)"))
        }
        JoinOperator::Semi(_) | JoinOperator::Anti(_) => {
            Err(unsupported("SEMI and ANTI JOIN need a side: write LEFT SEMI JOIN or LEFT ANTI JOIN"))
        }
        JoinOperator::CrossJoin(_) => Ok(()),
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint) => match constraint {
            JoinConstraint::None => Err(invalid(format!(
                "`{}` says no condition: write ON or USING, or CROSS JOIN for every pair of rows",
                join.to_string().trim()
            ))),
            _ => Ok(()),
        },
    }
}

fn check_keys(constraint: &JoinConstraint) -> Result<()> {
    match constraint {
        JoinConstraint::On(_) | JoinConstraint::Using(_) => Ok(()),
        JoinConstraint::Natural | JoinConstraint::None => {
            Err(invalid("ASOF JOIN needs the keys: write ON l.k = r.k for every key column, or USING (k)"))
        }
    }
}

fn check_factor(factor: &TableFactor) -> Result<()> {
    match factor {
        TableFactor::Table {
            name: _,
            alias: _,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } => {
            refuse(!with_hints.is_empty() || !index_hints.is_empty(), "a hint after a table", "leave it out")?;
            refuse(*with_ordinality, "WITH ORDINALITY", "use row_number()")?;
            refuse(!partitions.is_empty(), "PARTITION", "filter by keys")?;
            refuse(json_path.is_some(), "a path after a table", "leave it out")?;
            refuse(sample.is_some(), "TABLESAMPLE", "filter by a hash of the key")?;
            refuse(
                args.as_ref().is_some_and(|args| args.settings.is_some()),
                "SETTINGS in a table function",
                "use its arguments",
            )?;
            version.as_ref().map_or(Ok(()), check_version)
        }
        TableFactor::Derived { lateral: _, subquery: _, alias: _, sample } => {
            refuse(sample.is_some(), "TABLESAMPLE", "filter by a hash of the key")
        }
        TableFactor::Function { lateral: _, name: _, args: _, with_ordinality, alias: _ } => {
            refuse(*with_ordinality, "WITH ORDINALITY", "use row_number()")
        }
        TableFactor::UNNEST { alias: _, array_exprs: _, with_offset, with_offset_alias, with_ordinality } => {
            let numbered = *with_offset || with_offset_alias.is_some() || *with_ordinality;
            refuse(numbered, "UNNEST with a number", "use row_number()")
        }
        TableFactor::NestedJoin { table_with_joins, alias: _ } => {
            table_with_joins.joins.iter().try_for_each(check_join)
        }
        TableFactor::TableFunction { .. } => Err(unsupported("TABLE(…) is not served: write the function in FROM")),
        TableFactor::JsonTable { .. } | TableFactor::OpenJsonTable { .. } | TableFactor::XmlTable { .. } => {
            Err(unsupported("a table out of JSON or XML is not served: declare features of type struct, list or map"))
        }
        TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => {
            Err(unsupported("PIVOT is not served: write aggregates with FILTER (WHERE …)"))
        }
        TableFactor::MatchRecognize { .. } => {
            Err(unsupported("MATCH_RECOGNIZE is not served: use window functions over history('t')"))
        }
        TableFactor::SemanticView { .. } => Err(unsupported("SEMANTIC_VIEW is not served")),
    }
}

fn check_version(version: &TableVersion) -> Result<()> {
    match version {
        TableVersion::ForSystemTimeAsOf(_) => Ok(()),
        TableVersion::TimestampAsOf(_)
        | TableVersion::VersionAsOf(_)
        | TableVersion::Function(_)
        | TableVersion::Changes { .. } => Err(unsupported(
            "this clause of time is not served: write `t FOR SYSTEM_TIME AS OF s` for what was known at s, \
             `as_of('t', e)` for what was true at e",
        )),
    }
}

fn check_expression(expr: &Expr) -> Result<()> {
    match expr {
        Expr::BinaryOp { op: BinaryOperator::BitwiseXor, .. } => Err(unsupported(
            "`^` is a power in some engines and bits in others: write power(a, b), or bit operations with & and |",
        )),
        Expr::AllOp { .. } => {
            Err(unsupported("ALL (…) is not served: compare with min() or max(), or write NOT EXISTS"))
        }
        Expr::RLike { .. } => Err(unsupported("RLIKE and REGEXP are not served: write regexp_like(text, pattern)")),
        Expr::Collate { .. } => Err(unsupported("COLLATE is not served: text is compared by its bytes")),
        Expr::InUnnest { .. } => Err(unsupported("IN UNNEST is not served: write array_has(list, value)")),
        Expr::Value(value) if matches!(value.value, Value::NationalStringLiteral(_)) => {
            Err(unsupported("N'…' is not served: all text is UTF-8, write '…'"))
        }
        Expr::Prefixed { prefix, value: _ } if prefix.value != VALID_TIME => {
            Err(unsupported(format!("`{}` before a value is not served: leave it out", prefix.value)))
        }
        Expr::Function(Function {
            name,
            uses_odbc_syntax,
            parameters,
            args: _,
            filter: _,
            null_treatment: _,
            over: _,
            within_group: _,
        }) => {
            let parametric = !matches!(parameters, sqlparser::ast::FunctionArguments::None);
            refuse(*uses_odbc_syntax, &format!("{{fn {name}(…)}}"), "write the function by itself")?;
            refuse(parametric, &format!("{name}(…)(…)"), "give all arguments together")
        }
        _ => Ok(()),
    }
}
