//! DELETE: tombstones of entities that the statement names by all their key columns.
//!
//! `DELETE FROM t` ends entities; `DELETE FROM history('t')` takes identities back. A filter by anything else is refused: a
//! tombstone names an entity.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{Field, Schema};
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;
use firn_storage::model::catalog::{Catalog, Table};
use firn_storage::model::prove::Verb;
use sqlparser::ast::{BinaryOperator, Delete, Expr, FromTable, FunctionArg, FunctionArgExpr, TableFactor};

use super::insert::type_of;
use super::step::{Values, folded, table_name, write, writing};
use crate::combinations::combinations;
use crate::door::{Caller, Need};
use crate::error::{invalid, unsupported};
use crate::parameters;
use crate::sql::Sql;
use crate::words::in_words_of_sql;

/// Tombstones that are written.
#[derive(Debug, Clone)]
pub(crate) struct Deletion {
    table: String,
    /// Whether identities are taken back, instead of entities ended.
    retracts: bool,
    /// For each column the constants that it is one of.
    named: Vec<(String, Vec<Expr>)>,
}

/// What `delete` writes.
pub(super) fn deletion(delete: &Delete) -> Result<Deletion> {
    let Delete { delete_token: _, optimizer_hints, tables, from, using, selection, returning, output, order_by, limit } =
        delete;
    let more = !optimizer_hints.is_empty()
        || !tables.is_empty()
        || using.is_some()
        || returning.is_some()
        || output.is_some()
        || !order_by.is_empty()
        || limit.is_some();
    if more {
        return Err(unsupported(format!("`{delete}` says more than DELETE FROM t WHERE its keys are given")));
    }
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = from;
    let [from] = from.as_slice() else { return Err(unsupported("DELETE names one table")) };
    let (table, retracts) = match &from.relation {
        TableFactor::Table { name, args: None, version: None, .. } if from.joins.is_empty() => {
            (table_name(name)?, false)
        }
        TableFactor::Table { name, args: Some(args), .. }
            if from.joins.is_empty() && name.to_string().eq_ignore_ascii_case("history") =>
        {
            let table = match args.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] => value.value.clone().into_string(),
                _ => None,
            };
            let table = table.ok_or_else(|| invalid("DELETE takes rows back FROM history('t')"))?;
            (table.to_lowercase(), true)
        }
        other => return Err(unsupported(format!("DELETE FROM `{other}` is not served: name a feature table"))),
    };
    let selection = selection.as_ref().ok_or_else(|| filter_missing(&table))?;
    let mut named = Vec::new();
    conditions(selection, &mut named)?;
    Ok(Deletion { table, retracts, named })
}

fn filter_missing(table: &str) -> firn_storage::error::Error {
    invalid(format!(
        "DELETE FROM {table} names the entities that end: WHERE gives every key column, by `=` or IN (…); to remove all, \
         DROP TABLE"
    ))
}

/// The columns that `selection` compares with constants.
fn conditions(selection: &Expr, named: &mut Vec<(String, Vec<Expr>)>) -> Result<()> {
    let column = |expr: &Expr| match expr {
        Expr::Identifier(ident) => Some(folded(ident)),
        _ => None,
    };
    let (column, constants) = match selection {
        Expr::Nested(inner) => return conditions(inner, named),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conditions(left, named)?;
            return conditions(right, named);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match (column(left), column(right)) {
            (Some(name), None) => (name, vec![Expr::clone(right)]),
            (None, Some(name)) => (name, vec![Expr::clone(left)]),
            _ => return Err(other_condition(selection)),
        },
        Expr::InList { expr, list, negated: false } => match column(expr) {
            Some(name) => (name, list.clone()),
            None => return Err(other_condition(selection)),
        },
        other => return Err(other_condition(other)),
    };
    if named.iter().any(|(name, _)| *name == column) {
        return Err(invalid(format!("DELETE compares `{column}` twice: `{selection}`")));
    }
    named.push((column, constants));
    Ok(())
}

fn other_condition(written: &Expr) -> firn_storage::error::Error {
    unsupported(format!(
        "DELETE names entities by constants, and `{written}` does not: WHERE gives every key column by `=` or IN (…), and \
         perhaps the event time by `=`"
    ))
}

impl Deletion {
    /// Writes the tombstones, those of each row of `values` if there are parameters; how many.
    pub(super) async fn run(&self, sql: &Sql, caller: &Caller, values: Values) -> Result<u64> {
        let (database, catalog) = writing(caller, Need::Delete)?;
        let table = Arc::clone(catalog.table(&self.table).map_err(in_words_of_sql)?);
        let keys = catalog.entity_of(&table).key.iter().map(|key| key.name.as_str());
        let missing: Vec<&str> = keys.clone().filter(|key| !self.named.iter().any(|(name, _)| name == key)).collect();
        if !missing.is_empty() {
            return Err(invalid(format!("{}; it lacks {}", filter_missing(&self.table).message(), missing.join(", "))));
        }
        let row_id = table.row_id.iter().map(|id| id.name.as_str()).filter(|_| self.retracts);
        let known: Vec<&str> = keys.chain([table.event_time.as_str()]).chain(row_id).collect();
        if let Some((other, _)) = self.named.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return Err(unsupported(format!(
                "DELETE FROM {} cannot filter by `{other}`: it names entities, by {}",
                self.table,
                known.join(", ")
            )));
        }
        if self.retracts && self.named.len() < known.len() {
            return Err(invalid(format!(
                "DELETE FROM history('{}') names identities: WHERE gives {}",
                self.table,
                known.join(", ")
            )));
        }
        let verb = if self.retracts { Verb::Retract { features: Vec::new() } } else { Verb::Delete };
        let mut batches = Vec::with_capacity(values.len());
        for values in &values {
            batches.push(self.batch(sql, &catalog, &table, values)?);
        }
        let Some(first) = batches.first() else { return Ok(0) };
        let batch = arrow_select::concat::concat_batches(first.schema_ref(), &batches)?;
        write((database, catalog), &self.table, verb, batch).await
    }

    /// The rows that are named: every combination of the constants.
    fn batch(&self, sql: &Sql, catalog: &Catalog, table: &Table, values: &[ScalarValue]) -> Result<RecordBatch> {
        let (now, event_time) = (chrono::Utc::now(), table.event_time.as_str());
        let mut constants = Vec::with_capacity(self.named.len());
        for (name, written) in &self.named {
            let worth = written.iter().map(|written| {
                let value = sql.constant(written, values, now)?;
                match type_of(catalog, table, name).filter(|_| !value.is_null()) {
                    Some(declared) => parameters::exactly(&value, &declared, &format!("the key column `{name}`")),
                    None => Ok(value),
                }
            });
            let mut worth = worth.collect::<Result<Vec<_>>>()?;
            // A NULL equals nothing.
            worth.retain(|value| !value.is_null());
            constants.push(worth);
        }
        if let Some((name, _)) =
            self.named.iter().zip(&constants).find(|(_, worth)| worth.is_empty()).map(|(named, _)| named)
        {
            return Err(invalid(format!(
                "`{name}` is compared with NULL alone, which equals nothing: no row is meant"
            )));
        }
        let mut columns = combinations(constants)?;
        let all = columns.first().map_or(0, Array::len);
        let named = self.named.iter().zip(&columns);
        let mut fields: Vec<Field> =
            named.map(|((name, _), column)| Field::new(name, column.data_type().clone(), true)).collect();
        if !self.named.iter().any(|(name, _)| name == event_time) {
            let times = TimestampMicrosecondArray::from(vec![now.timestamp_micros(); all]).with_timezone("UTC");
            fields.push(Field::new(event_time, firn_storage::model::types::time_type(), false));
            columns.push(Arc::new(times));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}
