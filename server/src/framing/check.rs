//! Checks on the headers of Arrow IPC messages, before anything is decoded or allocated.
//!
//! The IPC reader trusts lengths: it slices by them and allocates what a compressed buffer declares. So every length
//! is proven here against the message's own size and the budget first.

use arrow_ipc::{BodyCompressionMethod, Field, MetadataVersion, RecordBatch, Schema, Type};
use tonic::Status;

use crate::config::Limits;
use crate::refusal::{exhausted, invalid};

/// The version check of every message.
pub(super) fn version(version: MetadataVersion) -> Result<(), Status> {
    match version {
        MetadataVersion::V4 | MetadataVersion::V5 => Ok(()),
        _ => Err(invalid("the Arrow IPC metadata version must be V4 or V5")),
    }
}

/// Proves that a schema is little-endian, small and shallow enough, and has only types that can be served.
pub(super) fn schema(schema: Schema<'_>, limits: &Limits) -> Result<(), Status> {
    if schema.endianness() != arrow_ipc::Endianness::Little {
        return Err(invalid("big-endian Arrow data is not accepted"));
    }
    let mut counted = 0;
    for column in schema.fields().into_iter().flatten() {
        field(column, 1, &mut counted, limits)?;
    }
    Ok(())
}

fn field(column: Field<'_>, depth: usize, counted: &mut usize, limits: &Limits) -> Result<(), Status> {
    let name = column.name().unwrap_or_default();
    *counted += 1;
    if *counted > limits.columns_max {
        return Err(exhausted(format!(
            "the message has more than {} columns, nested ones counted (columns-max)",
            limits.columns_max
        )));
    }
    if depth > limits.depth_max {
        return Err(exhausted(format!("column `{name}` nests deeper than {} levels (depth-max)", limits.depth_max)));
    }
    if matches!(column.type_type(), Type::Union | Type::RunEndEncoded | Type::ListView | Type::LargeListView) {
        return Err(invalid(format!(
            "column `{name}` has the type {}, which is not accepted; send plain arrays or dictionaries",
            column.type_type().variant_name().unwrap_or("unknown")
        )));
    }
    column.children().into_iter().flatten().try_for_each(|child| field(child, depth + 1, counted, limits))
}

/// Proves the lengths of a record batch (or of a dictionary's values) and returns the bytes that it will take once
/// decoded, which are at most `budget`.
pub(super) fn batch(batch: RecordBatch<'_>, body: &[u8], budget: u64, limits: &Limits) -> Result<u64, Status> {
    let rows = batch.length();
    if rows < 0 {
        return Err(invalid("the batch has a negative number of rows"));
    }
    if rows as u64 > limits.message_rows_max {
        let most = limits.message_rows_max;
        return Err(exhausted(format!("the batch has {rows} rows; one message may have {most} (message-rows-max)")));
    }
    // A value takes at least one bit, but for types of no width, whose number is bounded all the same.
    let values_max = budget.saturating_mul(8).max(limits.message_rows_max);
    for node in batch.nodes().into_iter().flatten() {
        let length = u64::try_from(node.length()).ok().filter(|length| *length <= values_max);
        if length.is_none() || !(0..=node.length()).contains(&node.null_count()) {
            return Err(invalid("an array of the batch has an impossible length or number of nulls"));
        }
    }
    if batch.variadicBufferCounts().into_iter().flatten().any(|count| count < 0) {
        return Err(invalid("a view array of the batch has a negative number of buffers"));
    }
    let compressed = match batch.compression() {
        None => false,
        Some(compression) if compression.method() == BodyCompressionMethod::BUFFER => true,
        Some(_) => return Err(invalid("the compression of the batch is unknown; use LZ4 or ZSTD per buffer")),
    };
    let mut total = 0_u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let bytes = range.and_then(|(offset, length)| body.get(offset..offset.checked_add(length)?));
        let bytes = bytes.ok_or_else(|| invalid("a buffer of the batch lies outside the message"))?;
        total = total.saturating_add(decoded_length(bytes, compressed)?);
        if total > budget {
            return Err(exhausted(format!(
                "the message would take more than {} bytes once decoded (decoded-bytes-max); send smaller batches",
                limits.decoded_bytes_max
            )));
        }
    }
    Ok(total)
}

/// What a buffer declares to become.
fn decoded_length(bytes: &[u8], compressed: bool) -> Result<u64, Status> {
    if !compressed || bytes.is_empty() {
        return Ok(bytes.len() as u64);
    }
    let Some(prefix) = bytes.first_chunk::<8>() else {
        return Err(invalid("a compressed buffer is too short to say its length"));
    };
    match i64::from_le_bytes(*prefix) {
        -1 => Ok(bytes.len() as u64 - 8),
        length => u64::try_from(length).map_err(|_| invalid("a compressed buffer declares a negative length")),
    }
}
