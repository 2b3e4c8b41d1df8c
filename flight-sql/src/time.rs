//! Moments: what is written as a constant becomes microseconds when the statement runs.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::common::DFSchema;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Cast, Expr, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;
use firn_storage::model::micros::one_time;
use firn_storage::time::Micros;

use crate::error::{from_datafusion, invalid, planned};
use crate::types;

/// What a constant expression is worth at the moment `now`.
pub(crate) fn value_of(expr: &Expr, now: DateTime<Utc>) -> Result<ScalarValue> {
    if let Expr::Literal(value, _) = expr {
        return Ok(value.clone());
    }
    let context = SimplifyContext::builder()
        .with_query_execution_start_time(Some(now))
        .with_schema(Arc::new(DFSchema::empty()))
        .build();
    let simplifier = ExprSimplifier::new(context);
    let simplified = simplifier.coerce(expr.clone(), &DFSchema::empty()).and_then(|expr| simplifier.simplify(expr));
    match simplified.map_err(|error| planned(&error))? {
        Expr::Literal(value, _) => Ok(value),
        Expr::Cast(Cast { expr, .. }) if matches!(*expr, Expr::Placeholder(_)) => Err(unbound(&expr)),
        other @ Expr::Placeholder(_) => Err(unbound(&other)),
        other if other.to_string().contains("<subquery>") => Err(invalid(
            "a subquery is no constant: a moment is a time, a parameter, or made of them; bind what the subquery answers",
        )),
        other => Err(invalid(format!("`{other}` is no constant: a moment is a time, a parameter, or made of them"))),
    }
}

fn unbound(parameter: &Expr) -> firn_storage::error::Error {
    invalid(format!("the parameter {parameter} has no value: bind one"))
}

/// The moment that a constant expression says, in µs, rounded up or down. `what` is what it bounds.
pub(crate) fn micros_of(expr: &Expr, now: DateTime<Utc>, round_up: bool, what: &str) -> Result<Micros> {
    let value = value_of(expr, now)?;
    let kind = value.data_type();
    let wrong = || {
        let told = if kind.is_string() { format!("'{value}'") } else { value.to_string() };
        invalid(format!(
            "{what} is {told} ({}), which is no moment: write ISO 8601, such as '2026-01-31T12:00:00Z'",
            types::name(&kind)
        ))
    };
    if !(kind.is_temporal() || kind.is_string() || value.is_null()) {
        return Err(wrong());
    }
    let array = value.to_array().map_err(|error| from_datafusion(&error))?;
    one_time(&array, round_up)
        .map_err(|_| wrong())?
        .ok_or_else(|| invalid(format!("{what} is NULL, which is no moment: leave the clause out, or bind a time")))
}

/// Puts `now` where a statement asks for the clock, so that it is one moment in all of it.
pub(crate) fn at_clock(expr: Expr, now: DateTime<Utc>) -> Expr {
    let Expr::ScalarFunction(function) = &expr else { return expr };
    let nanos = now.timestamp_nanos_opt();
    match function.func.name() {
        "now" => lit(ScalarValue::TimestampNanosecond(nanos, Some("UTC".into()))),
        "current_date" => {
            let days = now.timestamp().div_euclid(86_400);
            lit(ScalarValue::Date32(i32::try_from(days).ok()))
        }
        "current_time" => lit(ScalarValue::Time64Nanosecond(nanos.map(|nanos| nanos.rem_euclid(86_400_000_000_000)))),
        _ => expr,
    }
}

/// Whether a function reads the clock.
pub(crate) fn reads_clock(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(function) if ["now", "current_date", "current_time"].contains(&function.func.name()))
}
