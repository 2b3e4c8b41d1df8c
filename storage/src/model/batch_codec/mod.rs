//! The bytes of a [`WriteBatch`] in the WAL.
//!
//! ```text
//! u32 length of the head │ head │ zeros up to a multiple of 8 │ buffers, each padded to a multiple of 8
//! head: u8 version │ u32 table │ u64 shape │ u8 kind │ u8 flags │ u32 rows │ [producer] │ u32 n, n × u32 retracted
//!       │ u32 key width (0: variable) │ u32 columns, each: u32 feature │ text type │ u8 presence │ array flags
//! ```
//!
//! A text is a u16 length and its bytes; an empty type is that of the column before. The lengths of the buffers follow
//! from the number of rows and from the buffers before them, so a row of fifty doubles is about a kilobyte (as an Arrow
//! IPC stream it would be five, most of it schema, and take twenty times as long). Buffers have Arrow's layout and are
//! read in place. The record around them carries the checksum; nevertheless [`WriteBatch::decode`] believes nothing:
//! whatever the bytes are, it answers a batch that keeps every promise of its type, or an error.

use arrow_array::{Array, make_array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::DataType;

use super::batch::{Producer, WriteBatch};
use super::key::Keys;
use super::types::{parse_type, print_type};
use crate::column::Column;
use crate::error::Result;
use crate::rows::RowKind;

mod bytes;

use bytes::{Reader, Writer, damaged};

const VERSION: u8 = 1;

const HAS_ROW_IDS: u8 = 1;
const HAS_INGEST_TIMES: u8 = 1 << 1;
const HAS_PLACES: u8 = 1 << 2;
const HAS_PRODUCER: u8 = 1 << 3;
const HAS_PREVIOUS: u8 = 1 << 4;
const FLAGS: u8 = HAS_ROW_IDS | HAS_INGEST_TIMES | HAS_PLACES | HAS_PRODUCER | HAS_PREVIOUS;

impl WriteBatch {
    /// The batch as bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut to = Writer::default();
        // Places are the row numbers unless bad rows were left out.
        let places = self.places.iter().enumerate().any(|(row, &place)| row as u32 != place);
        let previous = self.producer.as_ref().is_some_and(|producer| producer.previous.is_some());
        let flags = [
            (self.row_ids.is_some(), HAS_ROW_IDS),
            (self.ingest_times.is_some(), HAS_INGEST_TIMES),
            (places, HAS_PLACES),
            (self.producer.is_some(), HAS_PRODUCER),
            (previous, HAS_PREVIOUS),
        ];
        to.u8(VERSION);
        to.u32(self.table);
        to.u64(self.shape);
        to.u8(self.kind as u8);
        to.u8(flags.iter().filter(|(is, _)| *is).map(|(_, flag)| flag).sum());
        to.u32(self.rows() as u32);
        if let Some(producer) = &self.producer {
            to.text(&producer.name)?;
            to.u64(producer.seq);
            producer.previous.into_iter().for_each(|previous| to.u64(previous));
        }
        to.u32(self.retracted.len() as u32);
        self.retracted.iter().for_each(|feature| to.u32(*feature));
        to.buffer(self.event_times.inner());
        match &self.keys {
            Keys::Fixed { width, bytes } => {
                to.u32(*width as u32);
                to.buffer(bytes);
            }
            Keys::Variable(keys) => {
                to.u32(0);
                to.byte_strings(keys);
            }
        }
        self.row_ids.iter().for_each(|ids| to.byte_strings(ids));
        self.ingest_times.iter().for_each(|times| to.buffer(times.inner()));
        if places {
            to.buffer(self.places.inner());
        }
        self.encode_columns(&mut to)?;
        Ok(to.finish())
    }

    fn encode_columns(&self, to: &mut Writer) -> Result<()> {
        to.u32(self.columns.len() as u32);
        let mut before: Option<&DataType> = None;
        for column in &self.columns {
            let values = column.values()?;
            to.u32(column.feature());
            if before == Some(values.data_type()) {
                to.text("")?;
            } else {
                to.text(&print_type(values.data_type()))?;
                before = Some(values.data_type());
            }
            to.u8(u8::from(!column.is_dense()));
            if !column.is_dense() {
                let present = (0..self.rows() as u32).map(|row| column.position(row).map(|cell| cell.is_some()));
                to.bits(&present.collect::<Result<Vec<bool>>>()?.into());
            }
            to.array(values)?;
        }
        Ok(())
    }

    /// The table of the batch that [`WriteBatch::encode`] made `bytes` from, without a look at the rest.
    pub fn table_of(bytes: &[u8]) -> Result<u32> {
        let mut from = Reader::new(bytes)?;
        check_version(&mut from)?;
        from.u32()
    }

    /// The batch that [`WriteBatch::encode`] made `bytes` from.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut from = Reader::new(bytes)?;
        check_version(&mut from)?;
        let (table, shape, kind, flags) = (from.u32()?, from.u64()?, from.u8()?, from.u8()?);
        let kind = RowKind::from_number(kind).ok_or_else(|| damaged("has rows of an unknown kind"))?;
        if flags & !FLAGS != 0 || flags & (HAS_PRODUCER | HAS_PREVIOUS) == HAS_PREVIOUS {
            return Err(damaged("has unknown flags"));
        }
        let has = |flag: u8| flags & flag != 0;
        let rows = from.u32()? as usize;
        let producer = if has(HAS_PRODUCER) {
            let (name, seq) = (from.text()?.to_owned(), from.u64()?);
            Some(Producer { name, seq, previous: has(HAS_PREVIOUS).then(|| from.u64()).transpose()? })
        } else {
            None
        };
        let named = from.u32()?;
        let retracted = (0..named).map(|_| from.u32()).collect::<Result<Vec<_>>>()?;
        // From here on nothing is made larger than what is there: every row has eight bytes of event time.
        let event_times: ScalarBuffer<i64> = from.numbers(rows)?;
        let keys = decode_keys(&mut from, rows)?;
        let row_ids = has(HAS_ROW_IDS).then(|| from.byte_strings(rows)).transpose()?;
        let ingest_times = has(HAS_INGEST_TIMES).then(|| from.numbers(rows)).transpose()?;
        let places = if has(HAS_PLACES) { from.numbers(rows)? } else { (0..rows as u32).collect() };
        let columns = decode_columns(&mut from, rows)?;
        from.finish()?;
        let names_cells = kind == RowKind::RetractCells;
        if names_cells == retracted.is_empty() || (kind != RowKind::Write && !columns.is_empty()) {
            return Err(damaged("has cells that do not belong to its kind"));
        }
        Ok(Self { table, shape, kind, keys, row_ids, event_times, ingest_times, places, columns, retracted, producer })
    }
}

fn check_version(from: &mut Reader<'_>) -> Result<()> {
    if from.u8()? == VERSION { Ok(()) } else { Err(damaged("is of an unknown version")) }
}

fn decode_keys(from: &mut Reader<'_>, rows: usize) -> Result<Keys> {
    match from.u32()? as usize {
        0 => Ok(Keys::Variable(from.byte_strings(rows)?)),
        width => Ok(Keys::Fixed { width, bytes: from.buffer(rows, width)? }),
    }
}

fn decode_columns(from: &mut Reader<'_>, rows: usize) -> Result<Vec<Column>> {
    let count = from.u32()?;
    let mut columns: Vec<Column> = Vec::new();
    let mut data_type: Option<DataType> = None;
    for _ in 0..count {
        let feature = from.u32()?;
        if columns.last().is_some_and(|last| last.feature() >= feature) {
            return Err(damaged("has columns out of order"));
        }
        let text = from.text()?;
        if !text.is_empty() {
            data_type = Some(parse_type(text).map_err(|error| damaged(error.message()))?);
        }
        let data_type = data_type.as_ref().ok_or_else(|| damaged("has a column without a type"))?;
        let present = match from.u8()? {
            0 => None,
            1 => Some(from.bits(rows)?),
            _ => return Err(damaged("has unknown flags")),
        };
        columns.push(Column::in_memory(feature, make_array(from.array(data_type, rows)?), present));
    }
    Ok(columns)
}

#[cfg(test)]
mod tests;
