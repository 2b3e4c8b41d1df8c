//! Table functions: `as_of`, `history`, `changes`.

use chrono::Utc;
use datafusion::common::TableReference;
use datafusion::error::Result;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, col};
use datafusion::scalar::ScalarValue;
use firn_storage::model::catalog::Catalog;
use firn_storage::model::types::time_type;
use sqlparser::ast::{Expr as Written, FunctionArg, FunctionArgExpr, FunctionArgOperator, ObjectName, Value};

use super::plain::{constant, scan};
use crate::error::{invalid, through};
use crate::table::{FeatureTable, Rows, With, WrittenMoment};
use crate::time::micros_of;

/// A table function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    AsOf,
    History,
    Changes,
}

use Function::{AsOf, Changes, History};

impl Function {
    /// Its word.
    pub(super) fn name(self) -> &'static str {
        match self {
            AsOf => "as_of",
            History => "history",
            Changes => "changes",
        }
    }

    /// The names of its arguments, in their order; how many of them must be given.
    fn arguments(self) -> (&'static [&'static str], usize) {
        match self {
            AsOf => (&["table", "at", "known_at", "exclusive", "status", "event_times"], 2),
            History => (&["table", "from", "to", "at", "known_at"], 1),
            Changes => (&["table", "after", "until"], 3),
        }
    }

    /// How it is called.
    fn usage(self) -> &'static str {
        match self {
            AsOf => "as_of('t', at [, known_at] [, exclusive => true] [, status => true] [, event_times => true])",
            History => "history('t' [, from, to] [, at => …] [, known_at => …])",
            Changes => "changes('t', after, until)",
        }
    }
}

/// The function that `name` means.
pub(super) fn named(name: &ObjectName) -> Option<Function> {
    let [part] = name.0.as_slice() else { return None };
    let word = part.as_ident()?.value.to_ascii_lowercase();
    [AsOf, History, Changes].into_iter().find(|function| function.name() == word)
}

/// Plans a call of `function`.
pub(super) fn plan(
    catalog: &Catalog,
    function: Function,
    arguments: &[FunctionArg],
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let mut given = sorted(function, arguments).map_err(through)?;
    let table = given.remove(0).and_then(text).ok_or_else(|| {
        through(invalid(format!("{} names its table as text first: {}", function.name(), function.usage())))
    })?;
    let rows = if function == AsOf { Rows::Latest } else { Rows::History };
    let source = FeatureTable::named(catalog, &table.to_lowercase(), rows).map_err(through)?;
    let name = TableReference::bare(function.name());
    let mut next = || given.remove(0);
    match function {
        AsOf => {
            let (at, known_at) = (next(), next());
            let mut flagged = |name| next().map_or(Ok(false), |expr| flag(&expr, name)).map_err(through);
            let exclusive = flagged("exclusive")?;
            let with = With { status: flagged("status")?, event_times: flagged("event_times")? };
            let moment = WrittenMoment {
                as_of: open(at, context)?,
                known_at: open(known_at, context)?,
                known_after: None,
                exclusive,
            };
            scan(name, FeatureTable { moment, ..source }.with(with).map_err(through)?)
        }
        History => {
            let (from, to) = (open(next(), context)?, open(next(), context)?);
            let (as_of, known_at) = (open(next(), context)?, open(next(), context)?);
            let moment = WrittenMoment { as_of, known_at, ..WrittenMoment::default() };
            scan(name, FeatureTable { moment, from, to, ..source })
        }
        Changes => {
            let (after, until) = (open(next(), context)?, open(next(), context)?);
            let (Some(after), Some(until)) = (after, until) else {
                return Err(through(invalid("changes('t', after, until) has two moments; neither is NULL")));
            };
            if let Expr::Literal(..) = after {
                // What it is cast to below would be an error of another kind.
                micros_of(&after, Utc::now(), false, "the first moment of changes").map_err(through)?;
            }
            let moment =
                WrittenMoment { known_at: Some(until), known_after: Some(after.clone()), ..WrittenMoment::default() };
            let changed = col("ingest_time").gt(cast(after, time_type()));
            let rows = scan(name, FeatureTable { moment, ..source })?;
            LogicalPlanBuilder::from(rows).filter(changed)?.build()
        }
    }
}

/// The arguments in the order of their names; none where one is not given.
fn sorted(function: Function, arguments: &[FunctionArg]) -> firn_storage::error::Result<Vec<Option<Written>>> {
    let (names, least) = function.arguments();
    let usage = function.usage();
    let mut given: Vec<Option<Written>> = vec![None; names.len()];
    for (place, argument) in arguments.iter().enumerate() {
        let (at, value) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (Some(place), value),
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                operator: FunctionArgOperator::RightArrow,
            } => (names.iter().position(|known| name.value.eq_ignore_ascii_case(known)), value),
            other => return Err(invalid(format!("`{other}` is no argument of {usage}"))),
        };
        let Some(slot) = at.and_then(|at| given.get_mut(at)) else {
            return Err(invalid(format!("`{argument}` is no argument of {usage}")));
        };
        if slot.replace(value.clone()).is_some() {
            return Err(invalid(format!("`{argument}` is given twice to {usage}")));
        }
    }
    match given.iter().take(least).position(Option::is_none) {
        None => Ok(given),
        Some(missing) => Err(invalid(format!("the argument `{}` is missing: {usage}", names[missing]))),
    }
}

/// A moment; the word NULL leaves it open.
fn open(written: Option<Written>, context: &mut dyn RelationPlannerContext) -> Result<Option<Expr>> {
    match written {
        None => Ok(None),
        Some(Written::Value(value)) if value.value == Value::Null => Ok(None),
        Some(expr) => match constant(expr, context)? {
            Expr::Literal(ScalarValue::Null, _) => Ok(None),
            expr => Ok(Some(expr)),
        },
    }
}

fn text(written: Written) -> Option<String> {
    match written {
        Written::Value(value) => value.value.into_string(),
        _ => None,
    }
}

fn flag(written: &Written, name: &str) -> firn_storage::error::Result<bool> {
    match written {
        Written::Value(value) => match value.value {
            Value::Boolean(flag) => Ok(flag),
            _ => Err(no_flag(written, name)),
        },
        other => Err(no_flag(other, name)),
    }
}

fn no_flag(written: &Written, name: &str) -> firn_storage::error::Error {
    invalid(format!("{name} is true or false, not `{written}`"))
}
