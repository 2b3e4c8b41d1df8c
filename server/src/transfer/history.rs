//! The pieces of an import, in the order in which they must be sent.
//!
//! Plain rows go as they come. History must come sorted by ingest time: files that are sorted are streamed, others are
//! sorted in memory, up to a limit. What `firn export --history` wrote is put into the order of its commits and taken
//! apart: rows that wrote, deleted and took back go as what they were, each with exactly the cells that it had.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow_cast::cast;
use arrow_ord::sort::{SortColumn, SortOptions, lexsort_to_indices};
use arrow_schema::DataType;
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use firn_client::wire::{Put, Verb};

use super::shape::{Shape, time};
use super::source::Source;
use super::stage::{Mapping, ORIGIN, Stager, Unread, is_history_export, unpack};
use super::{Piece, Result};

/// A batch of more bytes is sent in pieces; a server takes messages of 64 MiB unless told otherwise.
const PIECE_BYTES_MAX: usize = 8 << 20;

/// What to read and how.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// The files, in order.
    pub(crate) sources: Vec<Source>,
    /// The table.
    pub(crate) shape: Shape,
    /// Its columns in the files.
    pub(crate) mapping: Mapping,
    /// How rows are sent; history sets the rest.
    pub(crate) put: Put,
    /// Rows of one batch, at most.
    pub(crate) batch_rows: usize,
    /// Bytes that may be sorted in memory.
    pub(crate) sort_bytes_max: u64,
}

/// A piece to send, and the rows around it that could not be read.
pub(crate) type Staged = (Piece, Vec<Unread>);

impl Reading {
    /// Reads everything and hands the pieces to `emit`, in order, until it says false.
    pub(crate) fn read(&self, emit: &mut dyn FnMut(Staged) -> bool) -> Result<()> {
        if self.mapping.history && (self.is_rebuild()? || !self.is_sorted()?) {
            return self.read_sorted(emit);
        }
        self.each_batch(&mut |batch, unread| Ok(self.emit(&self.put, &batch, unread, emit)))
    }

    /// How many rows the files have, if they all say it.
    pub(crate) fn rows(&self) -> Result<Option<u64>> {
        let rows = self.sources.iter().map(|source| Ok(source.open(self.batch_rows, None)?.rows));
        rows.sum::<Result<Option<u64>>>()
    }

    /// The columns of the files that are not used.
    pub(crate) fn unused(&self) -> Result<Vec<String>> {
        let mut unused = Vec::new();
        for file in 0..self.sources.len() {
            unused.extend(self.stager(file)?.unused);
        }
        unused.sort();
        unused.dedup();
        Ok(unused)
    }

    /// How the `file`-th file is staged.
    fn stager(&self, file: usize) -> Result<Stager> {
        let source = &self.sources[file];
        let schema = source.open(1, None)?.schema;
        let stager = Stager::new(&self.shape, &self.mapping, &schema, source.format, file);
        stager.map_err(|error| source.failed(&error))
    }

    /// Calls `each` with every staged batch, until it says false.
    fn each_batch(&self, each: &mut dyn FnMut(RecordBatch, Vec<Unread>) -> Result<bool>) -> Result<()> {
        for (file, source) in self.sources.iter().enumerate() {
            let stager = self.stager(file)?;
            for given in source.open(self.batch_rows, None)? {
                let given = given.map_err(|error| source.failed(&error))?;
                let (staged, unread) = stager.stage(&given).map_err(|error| source.failed(&error))?;
                if !each(staged, unread)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Sends `batch` in pieces that are not too large; false to stop.
    fn emit(
        &self,
        put: &Put,
        batch: &RecordBatch,
        mut unread: Vec<Unread>,
        emit: &mut dyn FnMut(Staged) -> bool,
    ) -> bool {
        let rows = batch.num_rows();
        let parts = bytes_of(batch).div_ceil(PIECE_BYTES_MAX).max(1);
        let step = rows.div_ceil(parts).clamp(1, self.batch_rows);
        let mut start = 0;
        loop {
            let (batch, origins) = unpack(&batch.slice(start, step.min(rows - start)));
            if !emit((Piece { put: put.clone(), batch, origins }, std::mem::take(&mut unread))) {
                return false;
            }
            start += step;
            if start >= rows {
                return true;
            }
        }
    }

    /// Whether the files are exports of history.
    fn is_rebuild(&self) -> Result<bool> {
        let mut exports = 0;
        for source in &self.sources {
            exports += usize::from(is_history_export(&source.open(1, None)?.schema));
        }
        match exports {
            0 => Ok(false),
            all if all == self.sources.len() => Ok(true),
            _ => {
                Err("some of the files are exports of history and some are not; import them one after another"
                    .to_owned())
            }
        }
    }

    /// Whether the ingest times of all files never decrease.
    fn is_sorted(&self) -> Result<bool> {
        let column = self.mapping.source("ingest_time");
        let mut last = i64::MIN;
        for (file, source) in self.sources.iter().enumerate() {
            // Which column is missing is said better by the stager.
            self.stager(file)?;
            for given in source.open(self.batch_rows, Some(column))? {
                let given = given.map_err(|error| source.failed(&error))?;
                let times = micros(given.batch.column(0)).map_err(|error| source.failed(&error))?;
                for at in times.as_primitive::<TimestampMicrosecondType>().iter().flatten() {
                    if at < last {
                        return Ok(false);
                    }
                    last = at;
                }
            }
        }
        Ok(true)
    }

    fn read_sorted(&self, emit: &mut dyn FnMut(Staged) -> bool) -> Result<()> {
        let (mut batches, mut all_unread, mut bytes) = (Vec::new(), Vec::new(), 0);
        self.each_batch(&mut |batch, unread| {
            bytes += bytes_of(&batch) as u64;
            if bytes > self.sort_bytes_max {
                let column = self.mapping.source("ingest_time");
                return Err(format!(
                    "the rows are not sorted by {column}, and to sort them takes more than --sort-bytes-max ({} bytes); \
                     sort the files by it before, or raise the limit (twice the rows are held while they are sorted)",
                    self.sort_bytes_max
                ));
            }
            batches.push(batch);
            all_unread.extend(unread);
            Ok(true)
        })?;
        let Some(schema) = batches.first().map(RecordBatch::schema) else { return Ok(()) };
        let all =
            concat_batches(&schema, &batches).map_err(|error| format!("the files have different types: {error}"))?;
        drop(batches);
        let all = sorted(&all).map_err(|error| error.to_string())?;
        if !self.is_rebuild()? {
            self.emit(&self.put, &all, all_unread, emit);
            return Ok(());
        }
        for (start, end, deed) in deeds(&self.shape, &all)? {
            let (put, columns) = deed.put(&self.put, &self.shape, &all)?;
            let batch = all.slice(start, end - start).project(&columns).map_err(|error| error.to_string())?;
            if !self.emit(&put, &batch, std::mem::take(&mut all_unread), emit) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The bytes of the rows of `batch`, without what its buffers hold beside them.
fn bytes_of(batch: &RecordBatch) -> usize {
    let bytes =
        |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
    batch.columns().iter().map(bytes).sum()
}

fn micros(array: &ArrayRef) -> Result<ArrayRef, arrow_schema::ArrowError> {
    cast(array, &time())
}

/// The rows by commit, as far as it is told, else by ingest time; equal ones stay in their order.
fn sorted(batch: &RecordBatch) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let schema = batch.schema();
    let mut keys: Vec<ArrayRef> = Vec::new();
    if is_history_export(&schema) {
        keys.extend([
            Arc::clone(batch.column(schema.index_of("sequence")?)),
            Arc::clone(batch.column(schema.index_of("row")?)),
        ]);
    } else {
        keys.push(micros(batch.column(schema.index_of("ingest_time")?))?);
    }
    keys.push(Arc::new(UInt64Array::from_iter_values(0..batch.num_rows() as u64)));
    let options = Some(SortOptions { descending: false, nulls_first: false });
    let keys: Vec<SortColumn> = keys.into_iter().map(|values| SortColumn { values, options }).collect();
    take_record_batch(batch, &lexsort_to_indices(&keys, None)?)
}

/// What consecutive rows of an export did, so that one batch can do it again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Deed {
    /// They wrote; a null is a cell that was not written.
    WriteAbsent,
    /// They wrote these features, nulls among them.
    Write(Vec<usize>),
    /// They ended their entity.
    Delete,
    /// They took back whole rows, or these features of them.
    Retract(Option<Vec<usize>>),
}

impl Deed {
    /// How to do it, and with which columns of `batch`.
    fn put(&self, put: &Put, shape: &Shape, batch: &RecordBatch) -> Result<(Put, Vec<usize>)> {
        let mut put = Put { ingest_time: Some("ingest_time".to_owned()), ..put.clone() };
        let mut names: Vec<&str> = shape.keys.iter().map(|column| column.name.as_str()).collect();
        names.extend([shape.event_time.name.as_str(), "ingest_time", ORIGIN]);
        if *self != Self::Delete {
            names.extend(shape.row_id.iter().map(|column| column.name.as_str()));
        }
        let feature = |place: &usize| shape.features[*place].name.as_str();
        match self {
            Self::WriteAbsent => {
                put.nulls_absent = true;
                let there = |name: &&str| batch.schema().index_of(name).is_ok();
                names.extend(shape.features.iter().map(|column| column.name.as_str()).filter(there));
            }
            Self::Write(features) => {
                put.nulls_absent = false;
                names.extend(features.iter().map(feature));
            }
            Self::Delete => put.verb = Verb::Delete,
            Self::Retract(features) => {
                let named =
                    features.as_ref().map(|features| features.iter().map(|place| feature(place).to_owned()).collect());
                put.verb = Verb::Retract { features: named };
            }
        }
        if put.verb != Verb::Write {
            put.nulls_absent = false;
        }
        let columns = names.iter().map(|name| batch.schema().index_of(name).map_err(|error| error.to_string()));
        Ok((put, columns.collect::<Result<_>>()?))
    }
}

/// The runs of rows of an export that did the same: first row, row after the last, what.
fn deeds(shape: &Shape, batch: &RecordBatch) -> Result<Vec<(usize, usize, Deed)>> {
    let schema = batch.schema();
    let of = |name: &str| schema.index_of(name).map(|place| batch.column(place)).map_err(|error| error.to_string());
    let kinds = cast(of("kind")?, &DataType::Utf8).map_err(|error| error.to_string())?;
    let kinds = kinds.as_string::<i32>();
    let named = NamedFeatures::new(shape, of("features")?)?;
    let mut cells = vec![0; batch.num_rows()];
    for column in shape.features.iter().filter_map(|column| of(&column.name).ok()) {
        (0..cells.len()).filter(|&row| !column.is_null(row)).for_each(|row| cells[row] += 1);
    }
    let mut runs: Vec<(usize, usize, Deed)> = Vec::new();
    for (row, cells) in cells.into_iter().enumerate() {
        let features = named.of(row)?;
        let deed = match kinds.value(row) {
            "delete" => Deed::Delete,
            "retract" => Deed::Retract(features),
            "write" => {
                let features = features.unwrap_or_default();
                // Without an explicit null among its cells a row can go with others that have other features.
                let plain = features.len() == cells;
                let joins_absent = matches!(runs.last(), Some((_, _, Deed::WriteAbsent))) && plain;
                let partial = features.len() < shape.features.len();
                if joins_absent || (plain && partial) { Deed::WriteAbsent } else { Deed::Write(features) }
            }
            other => return Err(format!("row {row} of the export is of the unknown kind {other:?}")),
        };
        match runs.last_mut() {
            Some((_, end, same)) if *same == deed => *end = row + 1,
            _ => runs.push((row, row + 1, deed)),
        }
    }
    Ok(runs)
}

/// The column of an export that names the features of each row: a list, or in CSV text with spaces between.
struct NamedFeatures<'a> {
    shape: &'a Shape,
    names: &'a ArrayRef,
}

impl<'a> NamedFeatures<'a> {
    fn new(shape: &'a Shape, names: &'a ArrayRef) -> Result<Self> {
        match names.data_type() {
            DataType::Utf8 => Ok(Self { shape, names }),
            DataType::List(item) if *item.data_type() == DataType::Utf8 => Ok(Self { shape, names }),
            other => Err(format!("the column features of an export is a list of texts, not {other}")),
        }
    }

    /// The places of the features of `row`; `None` if it names none.
    fn of(&self, row: usize) -> Result<Option<Vec<usize>>> {
        if self.names.is_null(row) {
            return Ok(None);
        }
        let place = |name: &str| {
            let place = self.shape.features.iter().position(|column| column.name == name);
            place.ok_or_else(|| {
                format!("the export has cells of {name}, which table {} does not have", self.shape.table)
            })
        };
        let mut places = match self.names.data_type() {
            DataType::Utf8 => {
                self.names.as_string::<i32>().value(row).split(' ').map(place).collect::<Result<Vec<_>>>()?
            }
            _ => {
                let names = self.names.as_list::<i32>().value(row);
                names.as_string::<i32>().iter().flatten().map(place).collect::<Result<Vec<_>>>()?
            }
        };
        places.sort_unstable();
        Ok(Some(places))
    }
}
