//! Small messages of one stream, decoded together.
//!
//! Decoding a message costs the same however few rows it has. So the values of plain columns are put one after the
//! other first, and decoded as one message; whatever is not plain is decoded message by message. What a message holds
//! is checked as always, and the rows before the first one that cannot be read are answered.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_ipc::root_as_message;
use arrow_select::concat::concat_batches;
use tonic::Status;

use super::decode::{Decoded, Decoder};
use super::{check, expansion};
use crate::config::Limits;

/// Rows that are worth putting together.
const ROWS_MAX: usize = 512;
/// The decoded bytes that are worth it, and about the most that is held at once.
const BYTES_MAX: u64 = 1 << 20;

/// The rows of messages that followed each other.
#[derive(Debug)]
pub struct Together {
    /// The rows.
    pub rows: RecordBatch,
    /// How many rows each message had.
    pub lengths: Vec<usize>,
}

impl Together {
    /// The rows of each message.
    pub fn parts(&self) -> impl Iterator<Item = RecordBatch> {
        let starts = self.lengths.iter().scan(0, |row, length| Some(std::mem::replace(row, *row + length)));
        starts.zip(&self.lengths).map(|(row, length)| self.rows.slice(row, *length))
    }
}

impl Decoder {
    /// Takes messages from the front of `messages` and answers their rows, put together if they are few; and the error
    /// of the first message that cannot be read, after which none is. So that little is held at once, some messages
    /// may be left.
    pub fn decode_together(&mut self, messages: &mut VecDeque<FlightData>) -> (Vec<Together>, Result<(), Status>) {
        if messages.len() > 1
            && let Some((message, lengths)) = self.join(messages.make_contiguous())
            && let Ok(Decoded::Batch(rows)) = self.decode(message)
        {
            messages.clear();
            return (vec![Together { rows, lengths }], Ok(()));
        }
        let mut batches = Vec::with_capacity(messages.len());
        let (mut end, mut bytes) = (Ok(()), 0);
        while let (Some(message), true) = (messages.front(), bytes <= BYTES_MAX) {
            match self.decode(message.clone()) {
                Ok(Decoded::Batch(batch)) => {
                    bytes += expansion::bytes(&batch) + batch.get_array_memory_size() as u64;
                    batches.push(batch);
                }
                Ok(_) => {}
                Err(status) => {
                    end = Err(status);
                    break;
                }
            }
            messages.pop_front();
        }
        (concatenated(batches, bytes), end)
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

/// The batches, of `bytes` in all, as one, if they are small; each by itself otherwise.
fn concatenated(batches: Vec<RecordBatch>, bytes: u64) -> Vec<Together> {
    let lengths: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    if batches.len() > 1
        && bytes <= BYTES_MAX
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
