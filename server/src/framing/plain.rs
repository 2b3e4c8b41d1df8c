//! Messages of plain columns, fixed width and without nulls: what most lookups answer.
//!
//! Their Arrow IPC header depends on the number of rows alone, so it is made once and kept; a message then costs one
//! copy of its values. Everything else goes through the stock generator.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, downcast_primitive_array};
use arrow_buffer::Buffer;
use arrow_flight::FlightData;
use arrow_ipc::{FieldNode, MessageBuilder, MessageHeader, MetadataVersion, RecordBatchBuilder};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use firn_storage::read::PlainAnswer;
use firn_storage::read::plain::ALIGNMENT;
use flatbuffers::FlatBufferBuilder;

/// Headers that are kept for one stream.
const HEADERS_MAX: usize = 64;

/// The headers of one stream's messages.
#[derive(Debug)]
pub(super) struct Plain {
    /// The bytes of a value in each column; `None` if some column is never plain.
    widths: Option<Arc<[usize]>>,
    headers: HashMap<usize, Bytes>,
}

impl Plain {
    /// For batches with `schema`.
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let widths = schema.fields().iter().map(|field| field.data_type().primitive_width());
        Self { widths: widths.collect(), headers: HashMap::new() }
    }

    /// How many of `rows` rows of `batch` a header and body of `bytes_max` bytes hold; `None` if the batch is not plain
    /// or not even one row fits.
    pub(super) fn rows_that_fit(&self, batch: &RecordBatch, rows: usize, bytes_max: usize) -> Option<usize> {
        let widths = self.widths().filter(|_| batch.columns().iter().all(|column| column.null_count() == 0))?;
        let fit = rows_max(&widths, bytes_max);
        (fit > 0).then(|| fit.min(rows))
    }

    /// The bytes of a value in each column; `None` if some column is never plain.
    pub(super) fn widths(&self) -> Option<Arc<[usize]>> {
        self.widths.clone()
    }

    /// The message of the rows `row .. row + rows` of a plain batch.
    pub(super) fn message(&mut self, batch: &RecordBatch, row: usize, rows: usize) -> FlightData {
        let widths = self.widths().expect("the caller asked whether the batch is plain");
        let columns = batch.columns().iter().zip(&*widths);
        let values = columns.map(|(column, width)| [&values_of(column)[row * width..(row + rows) * width]].into_iter());
        self.framed(&widths, rows, values)
    }

    /// The message of an answer, if a header and body of `bytes_max` bytes hold it.
    pub(super) fn whole(&mut self, answer: &PlainAnswer, bytes_max: usize) -> Option<FlightData> {
        let rows = answer.rows();
        let widths = self.widths().filter(|widths| rows <= rows_max(widths, bytes_max))?;
        let body: Bytes = match answer.slabs() {
            [slab] => Bytes::from_owner(Body(slab.clone())),
            slabs => slabs.iter().map(Buffer::as_slice).collect::<Vec<_>>().concat().into(),
        };
        Some(self.message_of(&widths, rows, body))
    }

    /// The message of `rows` rows. `values` are those of each column, in as many parts as they come.
    pub(super) fn framed<'a>(
        &mut self,
        widths: &[usize],
        rows: usize,
        values: impl Iterator<Item = impl Iterator<Item = &'a [u8]>>,
    ) -> FlightData {
        let mut body = Vec::with_capacity(body_bytes(widths, rows));
        for column in values {
            column.for_each(|part| body.extend_from_slice(part));
            body.resize(body.len().next_multiple_of(ALIGNMENT), 0);
        }
        self.message_of(widths, rows, body.into())
    }

    fn message_of(&mut self, widths: &[usize], rows: usize, body: Bytes) -> FlightData {
        assert_eq!(body.len(), body_bytes(widths, rows), "every column has a value of every row");
        if self.headers.len() >= HEADERS_MAX {
            self.headers.clear();
        }
        let header = self.headers.entry(rows).or_insert_with(|| header(widths, rows)).clone();
        FlightData { flight_descriptor: None, data_header: header, app_metadata: Bytes::new(), data_body: body }
    }
}

/// A block as the body of a message.
struct Body(Buffer);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// How many rows a header and body of `bytes_max` bytes hold.
fn rows_max(widths: &[usize], bytes_max: usize) -> usize {
    // 16 bytes per column and per buffer, the frame around them, and what fills the body's buffers up.
    let overhead = 256 + widths.len() * (48 + ALIGNMENT);
    bytes_max.saturating_sub(overhead) / widths.iter().sum::<usize>().max(1)
}

fn body_bytes(widths: &[usize], rows: usize) -> usize {
    widths.iter().map(|width| (width * rows).next_multiple_of(ALIGNMENT)).sum()
}

/// The values of a primitive column as bytes.
fn values_of(column: &ArrayRef) -> &[u8] {
    downcast_primitive_array! {
        column => column.values().inner().as_slice(),
        other => unreachable!("a plain column is primitive, not {other}")
    }
}

/// The header of `rows` rows: <https://arrow.apache.org/docs/format/Columnar.html#recordbatch-message>.
fn header(widths: &[usize], rows: usize) -> Bytes {
    let mut nodes = Vec::with_capacity(widths.len());
    let mut buffers = Vec::with_capacity(widths.len() * 2);
    let mut offset = 0;
    for width in widths {
        let length = width * rows;
        nodes.push(FieldNode::new(rows as i64, 0));
        // Without nulls there is no bitmap.
        buffers.push(arrow_ipc::Buffer::new(offset as i64, 0));
        buffers.push(arrow_ipc::Buffer::new(offset as i64, length as i64));
        offset += length.next_multiple_of(ALIGNMENT);
    }
    let mut builder = FlatBufferBuilder::new();
    let nodes = builder.create_vector(&nodes);
    let buffers = builder.create_vector(&buffers);
    let mut batch = RecordBatchBuilder::new(&mut builder);
    batch.add_length(rows as i64);
    batch.add_nodes(nodes);
    batch.add_buffers(buffers);
    let batch = batch.finish().as_union_value();
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::RecordBatch);
    message.add_bodyLength(offset as i64);
    message.add_header(batch);
    let message = message.finish();
    builder.finish(message, None);
    Bytes::copy_from_slice(builder.finished_data())
}
