//! Handles: a statement with its parameters and its moment, as clients carry it from call to call.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use firn_storage::error::{Error, Result};
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{from_datafusion, invalid};
use crate::moment::Bounds;
use crate::parts::Part;
use crate::sql::Which;

/// A statement that is prepared, bound, or about to run.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Handle {
    /// The statement.
    #[prost(string, tag = "1")]
    pub(super) text: String,
    /// The moment that it is run at.
    #[prost(message, optional, tag = "2")]
    bounds: Option<Bounds>,
    /// The values of its parameters, one row for each run, as a stream of Arrow.
    #[prost(bytes = "bytes", tag = "3")]
    values: Bytes,
    /// The hash of the values, by which damage is known: their reader trusts what they say of themselves.
    #[prost(fixed64, tag = "7")]
    values_hash: u64,
    /// Tells this run of the statement from all others; 0 of one that is not about to run.
    #[prost(fixed64, tag = "4")]
    pub(super) run: u64,
    /// Which part of the answer is meant, of how many; of none of one that is not cut.
    #[prost(uint32, tag = "5")]
    part: u32,
    #[prost(uint32, tag = "6")]
    parts: u32,
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

    /// The same, about to run at a moment.
    pub(super) fn about_to_run(self, bounds: Bounds) -> Self {
        Self { bounds: Some(bounds), run: fastrand::u64(1..), ..self }
    }

    /// The same, each of `parts` of its answer by itself.
    pub(super) fn in_parts(self, parts: u32) -> Vec<Self> {
        match parts {
            0 | 1 => vec![self],
            _ => (0..parts).map(|part| Self { part, parts, ..self.clone() }).collect(),
        }
    }

    /// Which run it is.
    pub(super) fn which(&self) -> Which {
        let part = Part { number: self.part, of: self.parts };
        Which { run: self.run, part: (self.parts > 0).then_some(part) }
    }

    /// The moment.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds.clone().unwrap_or_default()
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
        Ok(Self { values_hash: xxh3_64(&values), values, ..self })
    }

    /// The values of the parameters, for each run; one run without any if none are bound.
    pub(super) fn values(&self) -> Result<Vec<Vec<ScalarValue>>> {
        if self.values.is_empty() {
            return Ok(vec![Vec::new()]);
        }
        let damaged = || invalid("the handle is none that this server gave: its values are damaged");
        if xxh3_64(&self.values) != self.values_hash {
            return Err(damaged());
        }
        let read = || StreamReader::try_new(self.values.as_ref(), None)?.collect::<std::result::Result<Vec<_>, _>>();
        // Whoever makes a handle up may make the reader panic.
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).ok().and_then(std::result::Result::ok);
        let batches =
            read.ok_or_else(|| invalid("the handle is none that this server gave: its values are damaged"))?;
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
