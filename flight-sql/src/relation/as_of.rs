//! Planning as-of joins: each row on the left gets the features of its entity as they were at a moment of its own.
//!
//! | written | left rows without a match |
//! |---|---|
//! | `l ASOF JOIN r MATCH_CONDITION (l.ts >= r.observed) ON l.k = r.k` | stay |
//! | `l ASOF LEFT JOIN r ON l.k = r.k AND l.ts >= r.observed` | stay |
//! | `l ASOF JOIN r ON l.k = r.k AND l.ts >= r.observed` | go |
//!
//! `AND l.ts >= r.ingest_time` also bounds what was known.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Extension, LogicalPlan, Operator};
use firn_storage::error::Error;
use firn_storage::model::types::time_type;
use sqlparser::ast::{Join, JoinConstraint, JoinOperator, TableFactor, TableVersion, TableWithJoins};

use super::plain::{plain_table, written_moment};
use crate::as_of_join::node::{AsOfJoin, Matched, Time};
use crate::error::{invalid, through, unsupported};
use crate::table::{FeatureTable, Rows, WrittenMoment};
use crate::types;
use crate::words::in_our_words;

/// Plans joins of which the last is an as-of join.
pub(super) fn plan(mut joins: TableWithJoins, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let Some(Join { relation, global, join_operator }) = joins.joins.pop() else {
        return Err(through(invalid("there is no as-of join in these parentheses")));
    };
    let left = match joins.joins.is_empty() {
        true => context.plan(joins.relation)?,
        false => context.plan(TableFactor::NestedJoin { table_with_joins: Box::new(joins), alias: None })?,
    };
    let right = Right::plan(relation, context)?;
    let mut conditions = Conditions::default();
    let mut using = false;
    let keeps_left = match join_operator {
        JoinOperator::AsOf { match_condition, constraint } => {
            let both = right.beside(&left)?;
            conditions.add(context.sql_to_expr(match_condition, &both)?);
            match constraint {
                JoinConstraint::On(on) => conditions.add(context.sql_to_expr(on, &both)?),
                JoinConstraint::Using(names) => {
                    using = true;
                    for name in names {
                        let name = context.object_name_to_table_reference(name)?.table().to_owned();
                        let same = Expr::Column(left_column(&left, &name)?).eq(Expr::Column(right.column(&name)));
                        conditions.add(same);
                    }
                }
                JoinConstraint::Natural | JoinConstraint::None => {
                    return Err(through(invalid("ASOF JOIN needs ON or USING")));
                }
            }
            true
        }
        JoinOperator::StraightJoin(JoinConstraint::On(on)) => {
            conditions.add(context.sql_to_expr(on, &right.beside(&left)?)?);
            global
        }
        other => return Err(through(unsupported(format!("{other:?} is no as-of join")))),
    };
    let matched = conditions.sort(&left, &right).map_err(through)?;
    let node = AsOfJoin::new(left, right.table, right.name, matched, keeps_left, using)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// The table on the right.
struct Right {
    table: FeatureTable,
    name: TableReference,
}

impl Right {
    fn plan(relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<Self> {
        let no_table = |what: String| {
            through(unsupported(format!(
                "the right side of ASOF JOIN is a feature table, not {what}: its history is what is searched"
            )))
        };
        let (version, args) = match &relation {
            TableFactor::Table { version, args, .. } => (version.clone(), args.is_some()),
            other => return Err(no_table(format!("`{other}`"))),
        };
        if args {
            return Err(no_table(format!("`{relation}`")));
        }
        let (table, name, alias) = plain_table(&relation, context)?;
        let moment = match version {
            Some(TableVersion::ForSystemTimeAsOf(clause)) => written_moment(clause, context)?,
            _ => WrittenMoment::default(),
        };
        if moment.as_of.is_some() {
            return Err(through(invalid(
                "FOR VALID_TIME on the right of ASOF JOIN says again what MATCH_CONDITION says: leave it out",
            )));
        }
        let name = match alias {
            Some(alias) if alias.columns.is_empty() => TableReference::bare(context.normalize_ident(alias.name)),
            Some(alias) => {
                return Err(through(unsupported(format!("new names of columns are not served in `{alias}`: use AS"))));
            }
            None => TableReference::bare(name.table()),
        };
        assert_eq!(table.rows, Rows::Latest, "a table by its name is its latest rows");
        Ok(Self { table: FeatureTable { moment, ..table }, name })
    }

    fn column(&self, name: &str) -> Column {
        Column::new(Some(self.name.clone()), name)
    }

    /// The columns that conditions may name: those of the left, the table's, and when it was known.
    fn beside(&self, left: &LogicalPlan) -> Result<DFSchema> {
        let columns = self.table.columns();
        let fields = columns.fields().iter().cloned();
        let known = Arc::new(Field::new("ingest_time", time_type(), false));
        let qualified = fields.chain([known]).map(|field| (Some(self.name.clone()), field));
        let own = DFSchema::new_with_metadata(qualified.collect(), std::collections::HashMap::new())?;
        left.schema().join(&own)
    }
}

/// The column `name` on the left.
fn left_column(left: &LogicalPlan, name: &str) -> Result<Column> {
    let found = left.schema().qualified_field_with_unqualified_name(name);
    let (qualifier, field) = found.map_err(|_| {
        through(invalid(format!("USING ({name}): the left side of ASOF JOIN has no column `{name}`, or several")))
    })?;
    Ok(Column::new(qualifier.cloned(), field.name()))
}

#[derive(Default)]
struct Conditions(Vec<Expr>);

impl Conditions {
    fn add(&mut self, condition: Expr) {
        self.0.extend(split_conjunction_owned(condition));
    }

    /// What each condition says.
    fn sort(self, left: &LogicalPlan, right: &Right) -> Result<Matched, Error> {
        let FeatureTable { entity, table, .. } = &right.table;
        let mut keys: Vec<Option<Expr>> = vec![None; entity.key.len()];
        let (mut as_of, mut known_at) = (None, None);
        for condition in self.0 {
            let written = in_our_words(&condition.to_string());
            let Some((expr, operator, column)) = sides(condition, right) else {
                return Err(other_condition(&written, right));
            };
            if !expr.column_refs().iter().all(|column| left.schema().has_column(column)) {
                return Err(other_condition(&written, right));
            }
            let time = match operator {
                Operator::Eq if column == table.event_time => {
                    return Err(unsupported(format!(
                        "`{written}` matches one moment alone: the condition of time is `left >= {}.{column}`, or `>`",
                        right.name
                    )));
                }
                Operator::Eq => {
                    let Some(place) = entity.key.iter().position(|key| key.name == column) else {
                        return Err(other_condition(&written, right));
                    };
                    let declared = &entity.key[place].data_type;
                    check_type(&expr, left, &written, types::name(declared), |given| same_family(given, declared))?;
                    if keys[place].replace(expr).is_some() {
                        return Err(invalid(format!(
                            "ASOF JOIN compares the key column `{column}` twice: `{written}`"
                        )));
                    }
                    continue;
                }
                Operator::GtEq => Time { expr, exclusive: false },
                Operator::Gt => Time { expr, exclusive: true },
                _ => {
                    return Err(unsupported(format!(
                        "`{written}` looks into the future of the left row: the condition of time is `left >= \
                         {}.{}`, or `>`",
                        right.name, table.event_time
                    )));
                }
            };
            check_type(&time.expr, left, &written, "a time".to_owned(), |given| {
                given.is_temporal() || given.is_string()
            })?;
            let place = match column.as_str() {
                "ingest_time" => &mut known_at,
                column if column == table.event_time => &mut as_of,
                _ => return Err(other_condition(&written, right)),
            };
            if place.replace(time).is_some() {
                return Err(invalid(format!("ASOF JOIN compares `{column}` twice: `{written}`")));
            }
        }
        let keys = all_keys(keys, right)?;
        let as_of = as_of.ok_or_else(|| {
            invalid(format!(
                "ASOF JOIN needs a condition of event time: `left.ts >= {}.{}`",
                right.name, table.event_time
            ))
        })?;
        if known_at.as_ref().is_some_and(|known: &Time| known.exclusive) {
            return Err(unsupported(format!(
                "what was known is bounded by `>=`: write `left >= {}.ingest_time`",
                right.name
            )));
        }
        Ok(Matched { keys, as_of: Some(as_of), known_at })
    }
}

/// Refuses a side of a comparison whose type cannot be meant; one of a parameter is not known yet.
fn check_type(
    expr: &Expr,
    left: &LogicalPlan,
    written: &str,
    meant: String,
    fits: impl Fn(&DataType) -> bool,
) -> Result<(), Error> {
    match expr.get_type(left.schema()) {
        Ok(given) if given != DataType::Null && !fits(&given) => Err(invalid(format!(
            "ASOF JOIN compares {} with {meant} in `{written}`: compare columns of one type, or CAST one of them",
            types::name(&given)
        ))),
        _ => Ok(()),
    }
}

/// Whether values of two types can be the same.
fn same_family(given: &DataType, declared: &DataType) -> bool {
    let family = |data_type: &DataType| match data_type {
        DataType::Dictionary(_, values) => family_of(values),
        other => family_of(other),
    };
    family(given) == family(declared)
}

/// A number for each family of types whose values can be the same.
fn family_of(data_type: &DataType) -> u8 {
    match data_type {
        DataType::Boolean => 1,
        numeric if numeric.is_numeric() => 2,
        text if text.is_string() => 3,
        binary if binary.is_binary() => 4,
        DataType::FixedSizeBinary(_) => 4,
        time if time.is_temporal() => 5,
        _ => 6,
    }
}

/// The keys of left rows, if all key columns are compared.
fn all_keys(keys: Vec<Option<Expr>>, right: &Right) -> Result<Vec<Expr>, Error> {
    let FeatureTable { entity, table, .. } = &right.table;
    let missing = entity.key.iter().zip(&keys).filter(|(_, given)| given.is_none());
    let missing: Vec<&str> = missing.map(|(key, _)| key.name.as_str()).collect();
    match missing.first() {
        None => Ok(keys.into_iter().flatten().collect()),
        Some(key) => Err(invalid(format!(
            "ASOF JOIN compares all key columns of `{}` by equality; it does not say {}: add `AND l.{key} = {}.{key}`",
            table.name,
            missing.join(", "),
            right.name,
        ))),
    }
}

/// A comparison as: an expression without columns of the right, the operator, a column of the right.
fn sides(condition: Expr, right: &Right) -> Option<(Expr, Operator, String)> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = condition else { return None };
    let of_right = |expr: &Expr| match expr {
        Expr::Column(column) if column.relation.as_ref() == Some(&right.name) => Some(column.name.clone()),
        _ => None,
    };
    match (of_right(&a), of_right(&b)) {
        (None, Some(column)) => Some((*a, op, column)),
        (Some(column), None) => Some((*b, op.swap()?, column)),
        _ => None,
    }
}

fn other_condition(written: &str, right: &Right) -> Error {
    unsupported(format!(
        "ASOF JOIN matches by keys and time alone, and `{written}` is another condition: filter `{}` in WHERE, after the \
         match",
        right.name
    ))
}
