//! Handles: a statement with its parameters and its moment, as clients carry it from call to call.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use firn_storage::error::{Error, Result};
use prost::Message;

use crate::error::{from_datafusion, invalid};
use crate::moment::Bounds;

/// A statement that is prepared, bound, or about to run.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Handle {
    /// The statement.
    #[prost(string, tag = "1")]
    pub(super) text: String,
    #[prost(int64, optional, tag = "2")]
    as_of: Option<i64>,
    #[prost(int64, optional, tag = "3")]
    known_at: Option<i64>,
    #[prost(string, optional, tag = "4")]
    position: Option<String>,
    #[prost(int64, optional, tag = "5")]
    clock: Option<i64>,
    #[prost(uint64, optional, tag = "6")]
    schema_version: Option<u64>,
    /// The values of its parameters, one row for each run, as a stream of Arrow.
    #[prost(bytes = "bytes", tag = "7")]
    values: Bytes,
}

/// The values of parameters that a handle may carry.
const VALUES_BYTES_MAX: usize = 1 << 20;

impl Handle {
    /// A statement without values.
    pub(super) fn of_text(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// As a client sent it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes).map_err(|error| invalid(format!("the handle is none that this server gave: {error}")))
    }

    /// As a client carries it.
    pub(super) fn bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// The same at a moment.
    pub(super) fn within(self, bounds: Bounds) -> Self {
        let Bounds { as_of, known_at, position, clock, schema_version } = bounds;
        Self { as_of, known_at, position, clock, schema_version, ..self }
    }

    /// The moment.
    pub(super) fn bounds(&self) -> Bounds {
        let Self { as_of, known_at, clock, schema_version, .. } = *self;
        Bounds { as_of, known_at, position: self.position.clone(), clock, schema_version }
    }

    /// The same with values for its parameters.
    pub(super) fn with_values(self, batches: &[RecordBatch]) -> Result<Self> {
        let Some(first) = batches.first() else { return Ok(self) };
        let mut writer = StreamWriter::try_new(Vec::new(), first.schema_ref())?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        let values = Bytes::from(writer.into_inner()?);
        if values.len() > VALUES_BYTES_MAX {
            return Err(Error::exhausted(format!(
                "the values of the parameters take {} bytes; they may take {VALUES_BYTES_MAX}: bind fewer rows at once",
                values.len()
            )));
        }
        Ok(Self { values, ..self })
    }

    /// The values of the parameters, for each run; one run without any if none are bound.
    pub(super) fn values(&self) -> Result<Vec<Vec<ScalarValue>>> {
        if self.values.is_empty() {
            return Ok(vec![Vec::new()]);
        }
        let batches = StreamReader::try_new(self.values.as_ref(), None)?.collect::<Result<Vec<_>, _>>()?;
        rows_of(&batches)
    }
}

/// The values of each row of `batches`.
pub(super) fn rows_of(batches: &[RecordBatch]) -> Result<Vec<Vec<ScalarValue>>> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let value =
                |column: &ArrayRef| ScalarValue::try_from_array(column, row).map_err(|error| from_datafusion(&error));
            rows.push(batch.columns().iter().map(value).collect::<Result<_>>()?);
        }
    }
    Ok(rows)
}
