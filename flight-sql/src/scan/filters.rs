//! Filters that the engine takes, exactly: values of all key columns become lookups, event times of history prune.
//!
//! Everything else is filtered by DataFusion above the scan.

use std::collections::HashMap;

use arrow_array::{Array, ArrayRef, new_empty_array};
use chrono::{DateTime, Utc};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Operator, TableProviderFilterPushDown, lit};
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;
use firn_storage::time::Micros;

use crate::combinations::{ENTITIES_MAX, combinations};
use crate::error::defect;
use crate::table::{FeatureTable, Rows};
use crate::time::{micros_of, value_of};

/// What a filter says of a table, if the engine can take it.
enum Said<'a> {
    /// A key column is one of these.
    Key { column: &'a str, values: Vec<&'a Expr> },
    /// The event time of a row of history is compared with a moment.
    EventTime { operator: Operator, moment: &'a Expr },
}

/// Which of `filters` the engine takes.
pub(crate) fn supported(table: &FeatureTable, filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
    let said: Vec<Option<Said<'_>>> = filters.iter().map(|filter| said(table, filter)).collect();
    let keys = entities_said(table, &said).is_some_and(|entities| entities <= ENTITIES_MAX);
    let exact = |said: &Option<Said<'_>>| match said {
        Some(Said::Key { .. }) => keys,
        Some(Said::EventTime { .. }) => true,
        None => false,
    };
    let decide = |said| match exact(said) {
        true => TableProviderFilterPushDown::Exact,
        false => TableProviderFilterPushDown::Unsupported,
    };
    said.iter().map(decide).collect()
}

/// How many entities `filters` name at most; none if they do not name them.
pub(crate) fn entities_at_most(table: &FeatureTable, filters: &[Expr]) -> Option<usize> {
    let said: Vec<Option<Said<'_>>> = filters.iter().map(|filter| said(table, filter)).collect();
    entities_said(table, &said)
}

fn entities_said(table: &FeatureTable, said: &[Option<Said<'_>>]) -> Option<usize> {
    table.entity.key.iter().try_fold(1_usize, |entities, key| {
        let of_key = said.iter().flatten().filter_map(|said| match said {
            Said::Key { column, values } if *column == key.name => Some(values.len()),
            _ => None,
        });
        // The filters of one column are met together, so the shortest list bounds how many there are.
        of_key.min().map(|values| entities.saturating_mul(values))
    })
}

fn said<'a>(table: &'a FeatureTable, filter: &'a Expr) -> Option<Said<'a>> {
    match filter {
        Expr::InList(list) if !list.negated => {
            let column = key_column(table, &list.expr)?;
            list.list.iter().all(is_constant).then(|| Said::Key { column, values: list.list.iter().collect() })
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            // NULL among them is never true.
            if is_null(left) || is_null(right) {
                return said(table, if is_null(left) { right } else { left });
            }
            // A short IN comes as a chain of equalities.
            let (Said::Key { column, mut values }, Said::Key { column: other, values: more }) =
                (said(table, left)?, said(table, right)?)
            else {
                return None;
            };
            values.extend(more);
            (column == other).then_some(Said::Key { column, values })
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, constant) = match (is_constant(left), is_constant(right)) {
                (false, true) => (left, *op, right),
                (true, false) => (right, op.swap()?, left),
                _ => return None,
            };
            if op == Operator::Eq
                && let Some(column) = key_column(table, column)
            {
                return Some(Said::Key { column, values: vec![constant] });
            }
            let ranged = matches!(op, Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq | Operator::Eq);
            let of_time = matches!(&**column, Expr::Column(column) if column.name == table.table.event_time);
            (ranged && of_time && table.rows == Rows::History)
                .then_some(Said::EventTime { operator: op, moment: constant })
        }
        _ => None,
    }
}

fn key_column<'a>(table: &'a FeatureTable, expr: &Expr) -> Option<&'a str> {
    let Expr::Column(column) = expr else { return None };
    table.entity.key.iter().map(|key| key.name.as_str()).find(|key| *key == column.name)
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null())
}

/// Whether an expression is worth the same for all rows of a run.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) | Expr::Placeholder(_) => true,
        Expr::Cast(Cast { expr, .. }) => is_constant(expr),
        Expr::ScalarFunction(_) => crate::time::reads_clock(expr),
        _ => false,
    }
}

/// What the filters of a scan say, with their values.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    /// The values of all key columns, one array each, of equal length.
    pub(crate) keys: Option<Vec<ArrayRef>>,
    /// The first event time.
    pub(crate) from: Option<Micros>,
    /// The event time after the last.
    pub(crate) to: Option<Micros>,
}

impl Chosen {
    /// Of the filters that the engine took, in which there are no parameters any more.
    pub(crate) fn new(table: &FeatureTable, filters: &[Expr], now: DateTime<Utc>) -> Result<Self> {
        let mut chosen = Self::default();
        let mut keys: HashMap<&str, Vec<ScalarValue>> = HashMap::new();
        for filter in filters {
            match said(table, filter) {
                Some(Said::Key { column, values }) => {
                    let mut values =
                        values.into_iter().map(|value| value_of(value, now)).collect::<Result<Vec<_>>>()?;
                    // A NULL equals nothing.
                    values.retain(|value| !value.is_null());
                    keys.entry(column)
                        .and_modify(|known| known.retain(|value| values.contains(value)))
                        .or_insert(values);
                }
                Some(Said::EventTime { operator, moment }) => chosen.bound(operator, moment, now)?,
                None if *filter == lit(true) => {}
                None if is_null(filter) || *filter == lit(false) => chosen.nothing(),
                None => return Err(defect(&format!("a filter was taken that says nothing: {filter}"))),
            }
        }
        if !keys.is_empty() {
            let columns = table.entity.key.iter().map(|key| keys.remove(key.name.as_str()).unwrap_or_default());
            let columns: Vec<Vec<ScalarValue>> = columns.collect();
            chosen.keys = Some(match columns.iter().any(Vec::is_empty) {
                true => table.entity.key.iter().map(|key| new_empty_array(&key.data_type)).collect(),
                false => combinations(columns)?,
            });
        }
        Ok(chosen)
    }

    /// Chooses no row.
    fn nothing(&mut self) {
        (self.from, self.to) = (Some(Micros::MAX), Some(Micros::MIN));
    }

    /// Narrows the event times by `operator` and a moment.
    fn bound(&mut self, operator: Operator, moment: &Expr, now: DateTime<Utc>) -> Result<()> {
        if value_of(moment, now)?.is_null() {
            // A comparison with NULL holds for no row.
            self.nothing();
            return Ok(());
        }
        let micros = |round_up| micros_of(moment, now, round_up, "the event time");
        let after = |micros: Micros| micros.saturating_add(1);
        let (from, to) = match operator {
            Operator::GtEq => (Some(micros(true)?), None),
            Operator::Gt => (Some(after(micros(false)?)), None),
            Operator::Lt => (None, Some(micros(true)?)),
            Operator::LtEq => (None, Some(after(micros(false)?))),
            _ => {
                let (first, last) = (micros(true)?, micros(false)?);
                (Some(first), Some(after(last)))
            }
        };
        self.from = self.from.max(from);
        self.to = [self.to, to].into_iter().flatten().min();
        Ok(())
    }
}

/// The rows of `arrays`, for an explanation.
pub(crate) fn entities(arrays: &[ArrayRef]) -> usize {
    arrays.first().map_or(0, |array| array.len())
}
