//! The columns of a batch by role, and the checks of keys, row ids and cells.

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;

use super::bad_rows::BadRows;
use super::request::{Verb, WriteRequest};
use crate::error::{Error, Kind, Result};
use crate::model::cast::{Floats, door_cast, misfit_reason};
use crate::model::catalog::{Entity, Feature, Table, listed};
use crate::model::key::{KEY_BYTES_MAX, KeyColumn};
use crate::model::problems::{Problems, Unknown, meant};

/// A column as it was sent.
pub(super) struct Given<'a> {
    pub(super) name: &'a str,
    pub(super) array: &'a ArrayRef,
}

impl Given<'_> {
    /// `error`, said of this column.
    pub(super) fn refuse(&self, error: Error) -> Error {
        error.at(format!("column `{}`", self.name)).of_column(self.name)
    }
}

/// Which column of a batch is what.
pub(super) struct Roles<'a> {
    pub(super) keys: Vec<Given<'a>>,
    pub(super) event_time: Given<'a>,
    /// Empty if the rows carry no row id.
    pub(super) row_ids: Vec<Given<'a>>,
    pub(super) ingest_time: Option<Given<'a>>,
    pub(super) features: Vec<(&'a Feature, Given<'a>)>,
    /// The features that a retraction names, sorted.
    pub(super) retracted: Vec<u32>,
    pub(super) rows: usize,
}

impl<'a> Roles<'a> {
    /// The roles of the columns of `batch`; an error for a column that is missing, unknown or out of place.
    pub(super) fn find(
        table: &'a Table,
        entity: &'a Entity,
        request: &'a WriteRequest,
        batch: &'a RecordBatch,
    ) -> Result<Self> {
        let mut given: hashbrown::HashMap<&str, &ArrayRef> = hashbrown::HashMap::with_capacity(batch.num_columns());
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if given.insert(field.name(), array).is_some() {
                return Err(Error::invalid(format!("the batch has two columns called `{}`", field.name())));
            }
        }
        let mut problems = Problems::default();
        let mut need = |name: &'a str, what: &str| {
            let lacking = || invalid(format!("the batch lacks the column `{name}`, {what}")).of_column(name);
            let array = problems.found(given.get(name).ok_or_else(lacking))?;
            Some(Given { name, array })
        };
        let keys = entity.key.iter().filter_map(|column| need(&column.name, "a key column")).collect();
        let event_time = need(&table.event_time, "the event time");
        let ingest_time = request.ingest_time.as_deref();
        let ingest_time = ingest_time.and_then(|name| need(name, "which the request names as the ingest time"));
        let row_ids = problems.found(Self::row_ids(table, request, &given)).unwrap_or_default();
        let (mut features, mut unknown) = (Vec::new(), Vec::new());
        let mut live = Live { table, next: 0, by_name: None };
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let name = field.name().as_str();
            if columns_by_role(table, entity).any(|known| known == name) {
                continue;
            }
            match live.find(name) {
                Some(feature) if request.verb == Verb::Write => {
                    features.push((feature, Given { name: &feature.name, array }));
                }
                Some(_) => problems.add(cell_in_tombstone(name, request)),
                None if request.ingest_time.as_deref() == Some(name) => {}
                None => unknown.push(name),
            }
        }
        if !unknown.is_empty() {
            problems.add(unknown_columns(table, entity, &unknown));
        }
        problems.check()?;
        let event_time = event_time.expect("a missing one is a problem");
        let mut retracted = match &request.verb {
            Verb::Retract { features } => {
                features.iter().map(|name| retracted(table, name)).collect::<Result<Vec<_>>>()?
            }
            _ => Vec::new(),
        };
        retracted.sort_unstable();
        retracted.dedup();
        Ok(Self { keys, event_time, row_ids, ingest_time, features, retracted, rows: batch.num_rows() })
    }

    fn row_ids(
        table: &'a Table,
        request: &WriteRequest,
        given: &hashbrown::HashMap<&str, &'a ArrayRef>,
    ) -> Result<Vec<Given<'a>>, Unknown> {
        let found = table
            .row_id
            .iter()
            .filter_map(|column| Some(Given { name: &column.name, array: given.get(column.name.as_str())? }));
        let found: Vec<Given<'_>> = found.collect();
        match request.verb {
            Verb::Delete => match found.first() {
                Some(column) => Err(Unknown::new(
                    Kind::Invalid,
                    format!(
                        "a delete carries no row id, so leave out the column `{}`: it ends the entity from its event time on",
                        column.name
                    ),
                    "to take back one identity, send a retract".to_owned(),
                )
                .of_column(column.name)),
                None => Ok(Vec::new()),
            },
            _ if found.len() == table.row_id.len() => Ok(found),
            _ => {
                let missing = table.row_id.iter().find(|column| found.iter().all(|found| found.name != column.name));
                let name = missing.map_or("", |column| column.name.as_str());
                let mend = match &request.verb {
                    Verb::Retract { features } if features.is_empty() => {
                        "where it is null a retract takes back a delete"
                    }
                    Verb::Retract { .. } => "a retract that names features takes back cells of one identity",
                    _ => "",
                };
                let missing = format!("the batch lacks the column `{name}`, a row id column");
                Err(Unknown::new(Kind::Invalid, missing, mend.to_owned()).of_column(name))
            }
        }
    }
}

/// The live features by name. Clients send columns in the order of the declaration, so the next one is looked at
/// first; an index of all names is made only when that fails.
struct Live<'a> {
    table: &'a Table,
    next: usize,
    by_name: Option<hashbrown::HashMap<&'a str, usize>>,
}

impl<'a> Live<'a> {
    /// Up to so many features are searched without an index.
    const SEARCHED_MAX: usize = 16;

    fn find(&mut self, name: &str) -> Option<&'a Feature> {
        let features = &self.table.features;
        let named = |place: &usize| features.get(*place).is_some_and(|feature| feature.name == name);
        let place = if named(&self.next) {
            self.next
        } else if features.len() <= Self::SEARCHED_MAX {
            (0..features.len()).find(named)?
        } else {
            let names = || features.iter().enumerate().map(|(place, feature)| (feature.name.as_str(), place)).collect();
            *self.by_name.get_or_insert_with(names).get(name)?
        };
        self.next = place + 1;
        Some(&features[place])
    }
}

fn invalid(said: String) -> Unknown {
    Unknown::new(Kind::Invalid, said, String::new())
}

fn cell_in_tombstone(name: &str, request: &WriteRequest) -> Unknown {
    let (verb, hint) = match request.verb {
        Verb::Delete => ("delete", "it takes keys and event time"),
        _ => ("retract", "to take back only some cells, name them in `features`"),
    };
    let said = format!("a {verb} carries no cells, so leave out the column `{name}`");
    Unknown::new(Kind::Invalid, said, hint.to_owned()).of_column(name)
}

/// The columns of a table that are no features.
fn columns_by_role<'a>(table: &'a Table, entity: &'a Entity) -> impl Iterator<Item = &'a str> {
    let named = entity.key.iter().chain(&table.row_id).map(|column| column.name.as_str());
    named.chain([table.event_time.as_str()])
}

/// The id of a feature whose cells a retract takes back.
fn retracted(table: &Table, name: &str) -> Result<u32> {
    let found = table.features.iter().find(|feature| feature.name == name);
    let missing = || {
        let known = table.feature_names();
        Error::not_found(format!("retract.features: there is no feature `{name}`; the features are {known}"))
    };
    found.map(|feature| feature.id).ok_or_else(missing)
}

fn unknown_columns(table: &Table, entity: &Entity, names: &[&str]) -> Unknown {
    let columns: Vec<&str> = columns_by_role(table, entity).collect();
    let known = || columns.iter().copied().chain(table.features.iter().map(|feature| feature.name.as_str()));
    let named: Vec<String> = names.iter().take(NAMED_MAX).map(|name| meant(name, known())).collect();
    let more = if names.len() > NAMED_MAX { format!(" and {} more", names.len() - NAMED_MAX) } else { String::new() };
    let said = format!("there is no column {}{more}", named.join(", "));
    let (columns, features) = (listed(columns.iter().copied()), table.feature_names());
    let hint = format!("the columns are {columns} and the features {features}");
    Unknown::new(Kind::Invalid, said, hint).of_column(names.first().copied().unwrap_or_default())
}

/// Unknown columns that an error names.
const NAMED_MAX: usize = 20;

/// Casts `given`, marking the rows that do not fit.
pub(super) fn cells(given: &Given<'_>, to: &DataType, floats: Floats, bad: &mut BadRows) -> Result<ArrayRef> {
    let cast = door_cast(given.array, to, floats).map_err(|error| given.refuse(error))?;
    if let Some(misfits) = &cast.misfits {
        bad.add(given.name, misfits.set_indices(), |row| misfit_reason(given.array, row, to));
    }
    Ok(cast.values)
}

/// Casts a key column, marking nulls and what does not fit.
pub(super) fn key(given: &Given<'_>, column: &KeyColumn, bad: &mut BadRows) -> Result<ArrayRef> {
    let array = cells(given, &column.data_type, Floats::Exact, bad)?;
    let misfit = |row: &usize| given.array.is_null(*row);
    if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
        // A misfit is a null after the cast; it has been marked with its own reason.
        let logical = given.array.logical_nulls();
        let null = |row: &usize| logical.as_ref().map_or_else(|| misfit(row), |logical| logical.is_null(*row));
        let rows: Vec<usize> = (!nulls.inner()).set_indices().filter(null).collect();
        bad.add(given.name, rows.into_iter(), |_| "a key is never null".to_owned());
    }
    Ok(array)
}

/// Marks the rows whose key or row id would be longer than can be stored.
pub(super) fn check_key_lengths(what: &str, columns: &[KeyColumn], arrays: &[ArrayRef], bad: &mut BadRows) {
    let lengths = |array: &ArrayRef| -> Option<Vec<i32>> {
        match array.data_type() {
            DataType::Utf8 => Some(array.as_string::<i32>().value_offsets().to_vec()),
            DataType::Binary => Some(array.as_binary::<i32>().value_offsets().to_vec()),
            _ => None,
        }
    };
    let offsets: Vec<Vec<i32>> = arrays.iter().filter_map(lengths).collect();
    if offsets.is_empty() {
        return;
    }
    // An escaped byte takes two; without counting zeros, half of the limit always fits.
    let rows = arrays.first().map_or(0, |array| array.len());
    let length = |row: usize| offsets.iter().map(|offsets| (offsets[row + 1] - offsets[row]) as usize).sum::<usize>();
    let long = (0..rows).filter(|&row| length(row) > KEY_BYTES_MAX / 2 && encoded_length(arrays, row) > KEY_BYTES_MAX);
    let long: Vec<usize> = long.collect();
    // Of several columns the longest is to blame.
    let longest = |row: usize| (0..arrays.len()).max_by_key(|&at| encoded_length(&arrays[at..=at], row)).unwrap_or(0);
    for (at, column) in columns.iter().enumerate() {
        bad.add(&column.name, long.iter().copied().filter(|&row| longest(row) == at), |row| {
            format!("the {what} has {} bytes, at most {KEY_BYTES_MAX} are allowed", encoded_length(arrays, row))
        });
    }
}

/// An upper bound, exact for text and bytes, of the encoded length of a row's key.
fn encoded_length(arrays: &[ArrayRef], row: usize) -> usize {
    let escaped = |value: &[u8]| value.len() + value.iter().filter(|byte| **byte == 0).count() + 2;
    let length = |array: &ArrayRef| match array.data_type() {
        DataType::Utf8 => escaped(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => escaped(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(width) => *width as usize,
        _ => 8,
    };
    arrays.iter().map(length).sum()
}

/// Casts a row id column, marking what does not fit and what would not be in order.
fn row_id(given: &Given<'_>, column: &KeyColumn, bad: &mut BadRows) -> Result<ArrayRef> {
    let array = cells(given, &column.data_type, Floats::Exact, bad)?;
    if column.data_type == DataType::UInt64 && !column.unsigned {
        let values = array.as_primitive::<UInt64Type>();
        let large = (0..values.len()).filter(|&row| values.is_valid(row) && values.value(row) > i64::MAX as u64);
        bad.add(given.name, large, |row| {
            format!(
                "{} is too large: the table was declared when row ids went up to {}; declare a new table",
                values.value(row),
                i64::MAX
            )
        });
    }
    Ok(array)
}

/// The row id columns, cast, and which rows have a row id if not all.
pub(super) fn row_ids(
    table: &Table,
    request: &WriteRequest,
    roles: &Roles<'_>,
    bad: &mut BadRows,
) -> Result<(Option<Vec<ArrayRef>>, Option<BooleanBuffer>)> {
    let retract = matches!(request.verb, Verb::Retract { .. });
    if table.row_id.is_empty() || request.verb == Verb::Delete {
        return Ok((None, None));
    }
    let arrays = roles.row_ids.iter().zip(&table.row_id).map(|(given, column)| row_id(given, column, bad));
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    check_key_lengths("row id", &table.row_id, &arrays, bad);
    if arrays.iter().all(|array| array.null_count() == 0) {
        return Ok((Some(arrays), None));
    }
    let nulls = |row: usize| arrays.iter().filter(|array| array.is_null(row)).count();
    for (given, array) in roles.row_ids.iter().zip(&arrays) {
        let logical = given.array.logical_nulls();
        let sent_null = |row: usize| array.is_null(row) && logical.as_ref().is_some_and(|logical| logical.is_null(row));
        let refused = |row: usize| !retract || nulls(row) < arrays.len() || !roles.retracted.is_empty();
        let rows: Vec<usize> = (0..roles.rows).filter(|&row| sent_null(row) && refused(row)).collect();
        bad.add(given.name, rows.into_iter(), |row| {
            let reason = if !retract {
                "a row id is never null in a write"
            } else if nulls(row) < arrays.len() {
                "either every column of a row id is null or none"
            } else {
                "a retract that names features needs a row id"
            };
            reason.to_owned()
        });
    }
    let present = BooleanBuffer::collect_bool(roles.rows, |row| nulls(row) == 0);
    Ok((Some(arrays), Some(present)))
}
