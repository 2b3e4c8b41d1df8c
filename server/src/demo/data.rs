//! New York flights of 2013, as they are in the binary: three Parquet files, read into record batches.
//!
//! The files are small: they were made from the public `nycflights13` tables, with scheduled departure and landing as
//! UTC times.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow_ord::sort::{SortOptions, sort_to_indices};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take_record_batch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::result::Result;

static FLIGHTS: &[u8] = include_bytes!("../../../data/nyc/flights.parquet");
static PLANES: &[u8] = include_bytes!("../../../data/nyc/planes.parquet");
static WEATHER: &[u8] = include_bytes!("../../../data/nyc/weather.parquet");

/// Rows of a batch: of a write and of a spine.
const BATCH_ROWS: usize = 65_536;
/// The prediction is made this long before departure.
const DECISION_LEAD_MICROS: i64 = 3 * 3600 * 1_000_000;
/// 2013-01-01T00:00:00Z: when the planes' papers are taken to be known.
const YEAR_2013_MICROS: i64 = 1_356_998_400_000_000;

/// Hourly weather at the three airports, in the order in which it was observed.
pub(super) fn weather() -> Result<Vec<RecordBatch>> {
    read(WEATHER).and_then(|weather| sorted(&weather, "observed")).map(|weather| pieces(&weather)).map_err(broken)
}

/// The papers of the planes, known from the first day of 2013.
pub(super) fn planes() -> Result<Vec<RecordBatch>> {
    let known = |planes: RecordBatch| {
        let since = TimestampMicrosecondArray::from_value(YEAR_2013_MICROS, planes.num_rows()).with_timezone("UTC");
        with_column(&planes, "since", Arc::new(since))
    };
    read(PLANES).and_then(known).map(|planes| pieces(&planes)).map_err(broken)
}

/// All flights, in the order in which they landed; those that never did come last.
pub(super) fn flights() -> Result<Vec<RecordBatch>> {
    read(FLIGHTS).and_then(|flights| sorted(&flights, "landed")).map(|flights| pieces(&flights)).map_err(broken)
}

/// What is to be predicted: every flight with a tail number, three hours before its scheduled departure.
///
/// Keys and times only, so that no column has the name of a feature.
pub(super) fn spine() -> Result<Vec<RecordBatch>> {
    let spine = |flights: RecordBatch| {
        let departures = flights.column(flights.schema().index_of("sched_dep")?).clone();
        let departures = departures.as_primitive::<TimestampMicrosecondType>();
        let decided = departures.unary::<_, TimestampMicrosecondType>(|micros| micros - DECISION_LEAD_MICROS);
        let keys = flights.project(&[flights.schema().index_of("tailnum")?, flights.schema().index_of("origin")?])?;
        let spine = with_column(&keys, "decided_at", Arc::new(decided.with_timezone("UTC")))?;
        match spine.column(0).logical_nulls() {
            None => Ok(spine),
            Some(named) => filter_record_batch(&spine, &BooleanArray::new(named.into_inner(), None)),
        }
    };
    read(FLIGHTS).and_then(spine).map(|spine| pieces(&spine)).map_err(broken)
}

fn broken(error: ArrowError) -> String {
    format!("the data in this binary cannot be read: {error}")
}

fn read(file: &'static [u8]) -> Result<RecordBatch, ArrowError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from_static(file))?.build()?;
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    let first = batches.first().ok_or_else(|| ArrowError::ParquetError("no rows".to_owned()))?;
    let batch = concat_batches(&first.schema(), &batches)?;
    // What the file says about its columns is of no concern to a server.
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_metadata(Default::default()));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), batch.columns().to_vec())
}

fn sorted(batch: &RecordBatch, column: &str) -> Result<RecordBatch, ArrowError> {
    let values = batch.column(batch.schema().index_of(column)?);
    let nulls_last = SortOptions { descending: false, nulls_first: false };
    take_record_batch(batch, &sort_to_indices(values, Some(nulls_last), None)?)
}

fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch, ArrowError> {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(name, utc, true)));
    let mut columns = batch.columns().to_vec();
    columns.push(column);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn pieces(batch: &RecordBatch) -> Vec<RecordBatch> {
    let starts = (0..batch.num_rows()).step_by(BATCH_ROWS);
    starts.map(|start| batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(batches: &[RecordBatch]) -> usize {
        batches.iter().map(RecordBatch::num_rows).sum()
    }

    #[test]
    fn the_data_is_what_the_story_says() {
        assert_eq!(weather().map(|batches| rows(&batches)), Ok(26_115));
        assert_eq!(planes().map(|batches| rows(&batches)), Ok(3_322));
        assert_eq!(flights().map(|batches| rows(&batches)), Ok(336_776));
        assert_eq!(spine().map(|batches| rows(&batches)), Ok(334_264));
    }
}
