//! Small messages of one stream, decoded together.
//!
//! Decoding a message costs the same however few rows it has. So the values of plain columns are put one after the
//! other first, and decoded as one message; whatever is not plain is decoded message by message. What a message holds
//! is checked as always, and the rows before the first one that cannot be read are answered.

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_ipc::root_as_message;
use arrow_select::concat::concat_batches;
use tonic::Status;

use super::check;
use super::decode::{Decoded, Decoder};
use crate::config::Limits;

/// Rows that are worth putting together.
const ROWS_MAX: usize = 512;

/// The rows of messages that followed each other.
#[derive(Debug)]
pub struct Together {
    /// The rows.
    pub rows: RecordBatch,
    /// How many rows each message had.
    pub lengths: Vec<usize>,
}

impl Decoder {
    /// The rows of `messages`, put together if they are few; and the error of the first message that cannot be read,
    /// after which none is.
    pub fn decode_together(&mut self, messages: Vec<FlightData>) -> (Vec<Together>, Result<(), Status>) {
        if messages.len() > 1
            && let Some((message, lengths)) = self.join(&messages)
            && let Ok(Decoded::Batch(rows)) = self.decode(message)
        {
            return (vec![Together { rows, lengths }], Ok(()));
        }
        let mut batches = Vec::with_capacity(messages.len());
        let mut end = Ok(());
        for message in messages {
            match self.decode(message) {
                Ok(Decoded::Batch(batch)) => batches.push(batch),
                Ok(_) => {}
                Err(status) => {
                    end = Err(status);
                    break;
                }
            }
        }
        (concatenated(batches), end)
    }

    /// The message that holds the rows of `messages`, and how many each has; `None` unless all are plain, well formed
    /// and together at most [`ROWS_MAX`].
    fn join(&mut self, messages: &[FlightData]) -> Option<(FlightData, Vec<usize>)> {
        let plain = self.plain.as_mut()?;
        let widths = plain.widths()?;
        let mut lengths = Vec::with_capacity(messages.len());
        // The values of each column in each message, message by message.
        let mut values: Vec<&[u8]> = Vec::with_capacity(messages.len() * widths.len());
        for message in messages {
            lengths.push(plain_values(message, &widths, &self.limits, &mut values)?);
        }
        let rows: usize = lengths.iter().sum();
        if rows > ROWS_MAX {
            return None;
        }
        let columns = (0..widths.len()).map(|column| values[column..].iter().copied().step_by(widths.len()));
        Some((plain.framed(&widths, rows, columns), lengths))
    }
}

/// The batches as one, if they are few rows; each by itself otherwise.
fn concatenated(batches: Vec<RecordBatch>) -> Vec<Together> {
    let lengths: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    if batches.len() > 1
        && lengths.iter().sum::<usize>() <= ROWS_MAX
        && let Ok(rows) = concat_batches(batches[0].schema_ref(), &batches)
    {
        return vec![Together { rows, lengths }];
    }
    batches.into_iter().map(|rows| Together { lengths: vec![rows.num_rows()], rows }).collect()
}

/// Adds the values of each column of `message` to `values`; its rows, or `None` if it is not plain and well formed.
fn plain_values<'a>(
    message: &'a FlightData,
    widths: &[usize],
    limits: &Limits,
    values: &mut Vec<&'a [u8]>,
) -> Option<usize> {
    let header = root_as_message(&message.data_header).ok()?;
    check::version(header.version()).ok()?;
    let batch = header.header_as_record_batch()?;
    check::batch(batch, &message.data_body, limits.decoded_bytes_max, limits).ok()?;
    let (nodes, buffers) = (batch.nodes()?, batch.buffers()?);
    let rows = usize::try_from(batch.length()).ok()?;
    let body = &message.data_body[..];
    let row_bytes: usize = widths.iter().sum();
    let fits = nodes.len() == widths.len()
        && buffers.len() == 2 * widths.len()
        && batch.compression().is_none()
        && rows.checked_mul(row_bytes)? <= body.len();
    if !fits {
        return None;
    }
    for (column, width) in widths.iter().enumerate() {
        let (node, buffer) = (nodes.get(column), buffers.get(2 * column + 1));
        if node.null_count() != 0 || node.length() != batch.length() {
            return None;
        }
        let start = usize::try_from(buffer.offset()).ok()?;
        let length = usize::try_from(buffer.length()).ok().filter(|length| *length >= width * rows)?;
        values.push(&body.get(start..start.checked_add(length)?)?[..width * rows]);
    }
    Some(rows)
}
