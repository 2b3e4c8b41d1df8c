//! INSERT: rows by VALUES or by a query, one batch for one statement. What is not named is absent, not null.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::concat::concat_batches;
use datafusion::scalar::ScalarValue;
use firn_storage::error::{Error, Result};
use firn_storage::model::catalog::{Catalog, Table};
use firn_storage::model::prove::Verb;
use futures::TryStreamExt;
use sqlparser::ast::{Expr, Insert, ObjectName, Query, SetExpr, Statement, TableObject, Value};

use super::fit::fitted;
use super::step::{Values, folded, table_name, write, writing};
use crate::door::{Caller, Need};
use crate::error::{from_datafusion, invalid, unsupported};
use crate::parameters::{self, Parameter};
use crate::sql::{Sql, Which};
use crate::text::Parsed;
use crate::words::in_words_of_sql;
use firn_storage::model::types::time_type;

/// Rows that are written.
#[derive(Debug, Clone)]
pub(crate) struct Insertion {
    table: String,
    /// The columns that are named; none if all are meant, in their order.
    columns: Option<Vec<String>>,
    source: Query,
    /// Which of the source's columns are DEFAULT in every row, and so are not written.
    absent: Vec<usize>,
}

/// What `insert` writes.
pub(super) fn insertion(insert: &Insert) -> Result<Insertion> {
    let (TableObject::TableName(name), Some(source)) = (&insert.table, &insert.source) else {
        return Err(unsupported(format!("`{insert}` is not served: write INSERT INTO t (…) VALUES (…), or SELECT …")));
    };
    check_served(insert)?;
    let columns = insert.columns.iter().map(column_name).collect::<Result<Vec<_>>>()?;
    let mut source = Query::clone(source);
    let absent = absent(&mut source)?;
    let columns = (!columns.is_empty()).then_some(columns);
    Ok(Insertion { table: table_name(name)?, columns, source, absent })
}

fn column_name(name: &ObjectName) -> Result<String> {
    let ident = match name.0.as_slice() {
        [part] => part.as_ident(),
        _ => None,
    };
    ident.map(folded).ok_or_else(|| invalid(format!("`{name}` is no name of a column")))
}

/// Refuses whatever an INSERT says beside what is read here.
fn check_served(insert: &Insert) -> Result<()> {
    let Insert {
        insert_token: _,
        optimizer_hints,
        or,
        ignore,
        into: _,
        table: _,
        table_alias,
        columns: _,
        overwrite,
        source: _,
        assignments,
        partitioned,
        after_columns,
        has_table_keyword: _,
        on,
        returning,
        output,
        replace_into,
        priority,
        insert_alias,
        settings,
        format_clause,
        multi_table_insert_type,
        multi_table_into_clauses,
        multi_table_when_clauses,
        multi_table_else_clause,
    } = insert;
    if on.is_some() || or.is_some() || *replace_into || *ignore {
        return Err(unsupported(
            "ON CONFLICT, REPLACE and IGNORE are not served: writing an identity again corrects it",
        ));
    }
    if returning.is_some() || output.is_some() {
        return Err(unsupported("RETURNING is not served: query the table after it"));
    }
    let more = !optimizer_hints.is_empty()
        || table_alias.is_some()
        || *overwrite
        || !assignments.is_empty()
        || partitioned.is_some()
        || !after_columns.is_empty()
        || priority.is_some()
        || insert_alias.is_some()
        || settings.is_some()
        || format_clause.is_some()
        || multi_table_insert_type.is_some()
        || !multi_table_into_clauses.is_empty()
        || !multi_table_when_clauses.is_empty()
        || multi_table_else_clause.is_some();
    if more {
        return Err(unsupported(format!("`{insert}` says more than INSERT INTO t (…) VALUES (…), or SELECT …")));
    }
    Ok(())
}

/// The columns of VALUES that are DEFAULT in every row, which become NULL in `source`.
fn absent(source: &mut Query) -> Result<Vec<usize>> {
    let SetExpr::Values(values) = &mut *source.body else { return Ok(Vec::new()) };
    let is_default = |expr: &Expr| matches!(expr, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"));
    let columns = values.rows.iter().map(|row| row.content.len()).max().unwrap_or(0);
    let mut absent = Vec::new();
    for column in 0..columns {
        let defaults = values.rows.iter().filter(|row| row.content.get(column).is_some_and(is_default)).count();
        if defaults == 0 {
            continue;
        }
        if defaults < values.rows.len() {
            return Err(unsupported(
                "DEFAULT in some rows of a column and not in others is not served: a batch has a column or lacks it; write \
                 them with two statements",
            ));
        }
        for row in &mut values.rows {
            row.content[column] = Expr::value(sqlparser::ast::Value::Null);
        }
        absent.push(column);
    }
    Ok(absent)
}

impl Insertion {
    /// The types of `count` parameters: those of the columns that they are written to.
    pub(super) fn parameters(&self, catalog: &Catalog, count: usize) -> Vec<Parameter> {
        let mut types = vec![Parameter::default(); count];
        let (Ok(table), SetExpr::Values(values)) = (catalog.table(&self.table), &*self.source.body) else {
            return types;
        };
        let names = self.names(catalog, table);
        for row in &values.rows {
            for (expr, name) in row.content.iter().zip(&names) {
                if let Expr::Value(value) = expr
                    && let Value::Placeholder(id) = &value.value
                    && let Some(slot) = parameters::number(id).and_then(|number| types.get_mut(number))
                {
                    let data_type = type_of(catalog, table, name);
                    *slot = Parameter::of(data_type.or_else(|| (*name == table.event_time).then(time_type)));
                }
            }
        }
        types
    }

    /// Writes the rows, those of each row of `values` if it has parameters; how many.
    pub(super) async fn run(&self, sql: &Sql, caller: &Caller, values: Values) -> Result<u64> {
        let (database, catalog) = writing(caller, Need::Write)?;
        let table = Arc::clone(catalog.table(&self.table).map_err(in_words_of_sql)?);
        let names = self.names(&catalog, &table);
        let statement = Statement::Query(Box::new(self.source.clone()));
        let is_values = matches!(*self.source.body, SetExpr::Values(_));
        let most = database.budget().bytes_max() / 4;
        let too_much = || {
            Error::exhausted(format!(
                "the rows of one INSERT take more than {most} bytes, a fourth of request-bytes-max: bulk ingest streams"
            ))
        };
        if let Some(batch) = self.bound(&values)? {
            if batch.get_array_memory_size() as u64 > most {
                return Err(too_much());
            }
            let batch = self.batch(&catalog, &table, &names, &batch, true)?;
            return write((database, catalog), &self.table, Verb::Write, batch).await;
        }
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for values in values {
            let parsed = Parsed { statement: statement.clone(), parameters: values.len(), text: statement.to_string() };
            let query = sql.plan_query(caller, parsed, vec![Need::Write])?;
            let mut rows = sql.run(caller, &query, values, Which::default()).await?;
            while let Some(batch) = rows.batches.try_next().await? {
                bytes += batch.get_array_memory_size() as u64;
                if bytes > most {
                    return Err(too_much());
                }
                batches.push(self.batch(&catalog, &table, &names, &batch, is_values)?);
            }
        }
        let Some(first) = batches.first() else { return Ok(0) };
        let batch = concat_batches(first.schema_ref(), &batches)?;
        if batch.num_rows() == 0 {
            return Ok(0);
        }
        write((database, catalog), &self.table, Verb::Write, batch).await
    }

    /// The rows that `values` are by themselves, as they are of VALUES of one row of parameters: nothing has to be planned.
    fn bound(&self, values: &Values) -> Result<Option<RecordBatch>> {
        let SetExpr::Values(source) = &*self.source.body else { return Ok(None) };
        let ([row], false) = (source.rows.as_slice(), values.is_empty()) else { return Ok(None) };
        let parameter = |expr: &Expr| match expr {
            Expr::Value(value) => match &value.value {
                Value::Placeholder(id) => parameters::number(id),
                _ => None,
            },
            _ => None,
        };
        let Some(places) = row.content.iter().map(parameter).collect::<Option<Vec<usize>>>() else { return Ok(None) };
        let asked = places.iter().max().map_or(0, |most| most + 1);
        if let Some(given) = values.iter().map(Vec::len).find(|given| *given != asked) {
            return Err(invalid(format!("the statement has {}, and {given} are bound", parameters::counted(asked))));
        }
        let columns = places.into_iter().map(|place| {
            let cells = values.iter().map(|row| row[place].clone());
            ScalarValue::iter_to_array(cells).map_err(|error| from_datafusion(&error))
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let fields = columns
            .iter()
            .enumerate()
            .map(|(place, column)| Field::new(format!("${}", place + 1), column.data_type().clone(), true));
        Ok(Some(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?))
    }

    /// The columns that are written, in the order of the source's.
    fn names(&self, catalog: &Catalog, table: &Table) -> Vec<String> {
        self.columns.clone().unwrap_or_else(|| {
            let keys = catalog.entity_of(table).key.iter().map(|key| key.name.clone());
            let row_id = table.row_id.iter().map(|id| id.name.clone());
            let features = table.features.iter().map(|feature| feature.name.clone());
            keys.chain([table.event_time.clone()]).chain(row_id).chain(features).collect()
        })
    }

    /// `rows` as the columns of the table.
    fn batch(
        &self,
        catalog: &Catalog,
        table: &Table,
        names: &[String],
        rows: &RecordBatch,
        is_values: bool,
    ) -> Result<RecordBatch> {
        if rows.num_columns() != names.len() {
            return Err(invalid(format!(
                "INSERT names {} columns ({}), and its rows have {}",
                names.len(),
                names.join(", "),
                rows.num_columns()
            )));
        }
        let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        for (place, name) in names.iter().enumerate().filter(|(place, _)| !self.absent.contains(place)) {
            let column = match type_of(catalog, table, name) {
                Some(data_type) => fitted(rows.column(place), &data_type, name)?,
                // What is no column of the table is refused by the door, which knows what is meant.
                None => Arc::clone(rows.column(place)),
            };
            fields.push(Field::new(name, column.data_type().clone(), true));
            columns.push(column);
        }
        if !fields.iter().any(|field| *field.name() == table.event_time) {
            if !is_values {
                return Err(invalid(format!(
                    "INSERT … SELECT names the event time `{}`: rows of a query have no time of their own",
                    table.event_time
                )));
            }
            let now = chrono::Utc::now().timestamp_micros();
            let times = TimestampMicrosecondArray::from(vec![now; rows.num_rows()]).with_timezone("UTC");
            fields.push(Field::new(&table.event_time, time_type(), true));
            columns.push(Arc::new(times));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}

/// The declared type of a column.
pub(super) fn type_of(catalog: &Catalog, table: &Table, name: &str) -> Option<DataType> {
    let keys = catalog.entity_of(table).key.iter().chain(&table.row_id);
    let mut of_keys = keys.filter(|key| key.name == name).map(|key| key.data_type.clone());
    let feature =
        || table.features.iter().find(|feature| feature.name == name).map(|feature| feature.data_type.clone());
    of_keys.next().or_else(feature)
}
