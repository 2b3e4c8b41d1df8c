//! Arrow IPC files and streams: their messages, taken apart here and decoded as those of the wire are, with the same
//! proofs of every length and the same refusals.
//!
//! <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>

use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_schema::SchemaRef;
use bytes::Bytes;

use super::Result;
use super::content::Content;
use crate::config::{Config, Limits};
use crate::framing::{Decoded, Decoder};
use crate::guard::{CONTRADICTS, caught};

/// What a file begins and ends with; a stream does not.
const MAGIC: &[u8; 6] = b"ARROW1";
/// What stands before the length of a message; writers before 2019 left it out.
const CONTINUATION: u32 = 0xffff_ffff;
/// Magic at the end, and the length of the footer before it.
const TRAILER_BYTES: u64 = 10;
/// The first message of a file begins behind the magic, which writers fill up with zeros to a multiple of this.
const ALIGNMENT: u64 = 8;
/// And to one of this at most.
const ALIGNMENT_MAX: u64 = 64;
/// A batch that would take more is refused.
const DECODED_BYTES_MAX: u64 = 8 << 30;

/// An Arrow file or stream that is being read.
#[derive(Debug)]
pub(super) struct ArrowReader {
    file: BufReader<Content>,
    length: u64,
    decoder: Decoder,
    schema: SchemaRef,
    /// Where the messages of a file lie, the last first; none of a stream, whose messages follow one another.
    blocks: Option<Vec<u64>>,
}

impl ArrowReader {
    /// Reads the head of `file`.
    pub(super) fn open(file: Content) -> Result<Self> {
        let length = file.length();
        let mut file = BufReader::new(file);
        let mut magic = [0; MAGIC.len()];
        let is_file = fill(&mut file, &mut magic)? && magic == *MAGIC;
        let blocks = if is_file { Some(blocks(&mut file, length)?) } else { None };
        let first = if is_file { first_message(&mut file, length)? } else { 0 };
        seek(&mut file, first)?;
        let defaults = Config::new("").limits;
        let limits = Limits { decoded_bytes_max: DECODED_BYTES_MAX, message_rows_max: u64::from(u32::MAX), ..defaults };
        let mut decoder = Decoder::new(Arc::new(limits));
        let first = message(&mut file, length)?.ok_or("the file has no schema")?;
        let Decoded::Schema(schema) = decode(&mut decoder, first)? else {
            return Err("the file does not begin with a schema".to_owned());
        };
        Ok(Self { file, length, decoder, schema, blocks })
    }

    /// The columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(blocks) = &mut self.blocks {
                let Some(offset) = blocks.pop() else { return Ok(None) };
                seek(&mut self.file, offset)?;
            }
            let Some(message) = message(&mut self.file, self.length)? else { return Ok(None) };
            if let Decoded::Batch(batch) = decode(&mut self.decoder, message)? {
                return Ok(Some(batch));
            }
        }
    }
}

impl Iterator for ArrowReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

fn decode(decoder: &mut Decoder, message: FlightData) -> Result<Decoded> {
    decoder.decode(message).map_err(|status| status.message().to_owned())
}

fn seek(file: &mut BufReader<Content>, offset: u64) -> Result<()> {
    file.seek(SeekFrom::Start(offset)).map(|_| ()).map_err(|error| error.to_string())
}

/// `count` bytes; an error if the file, which has `length`, ends before.
fn bytes(file: &mut BufReader<Content>, count: u64, length: u64) -> Result<Vec<u8>> {
    let ends = || "the file ends inside a message".to_owned();
    let at = file.stream_position().map_err(|error| error.to_string())?;
    if at.checked_add(count).is_none_or(|end| end > length) {
        return Err(ends());
    }
    let mut bytes = vec![0; usize::try_from(count).map_err(|_| ends())?];
    if fill(file, &mut bytes)? { Ok(bytes) } else { Err(ends()) }
}

/// Reads as many bytes as `into` takes; false if the file ends before.
fn fill(file: &mut BufReader<Content>, into: &mut [u8]) -> Result<bool> {
    match file.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// The message that begins here; none at the end of the stream.
fn message(file: &mut BufReader<Content>, length: u64) -> Result<Option<FlightData>> {
    let at = file.stream_position().map_err(|error| error.to_string())?;
    if at >= length {
        return Ok(None);
    }
    let number = |bytes: Vec<u8>| bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let mut header_bytes = number(bytes(file, 4, length)?);
    if header_bytes == CONTINUATION {
        header_bytes = number(bytes(file, 4, length)?);
    }
    if header_bytes == 0 {
        return Ok(None);
    }
    let header = bytes(file, header_bytes.into(), length)?;
    let body_bytes = caught(|| arrow_ipc::root_as_message(&header).map(|message| message.bodyLength()));
    let body_bytes = body_bytes.ok_or(CONTRADICTS)?.map_err(|error| format!("a message cannot be read: {error}"))?;
    let body_bytes = u64::try_from(body_bytes).map_err(|_| CONTRADICTS)?;
    let body = bytes(file, body_bytes, length)?;
    let (data_header, data_body) = (Bytes::from(header), Bytes::from(body));
    Ok(Some(FlightData { flight_descriptor: None, data_header, app_metadata: Bytes::new(), data_body }))
}

/// Where the first message of a file begins.
fn first_message(file: &mut BufReader<Content>, length: u64) -> Result<u64> {
    for offset in (ALIGNMENT..=ALIGNMENT_MAX).step_by(ALIGNMENT as usize) {
        seek(file, offset)?;
        if bytes(file, ALIGNMENT, length)?.iter().any(|&byte| byte != 0) {
            return Ok(offset);
        }
    }
    Err("the file has no schema".to_owned())
}

/// Where the messages of a file lie by its footer, dictionaries before batches, the last first.
fn blocks(file: &mut BufReader<Content>, length: u64) -> Result<Vec<u64>> {
    let short = || "the file ends before its footer".to_owned();
    let trailer_at = length.checked_sub(TRAILER_BYTES).ok_or_else(short)?;
    seek(file, trailer_at)?;
    let trailer = bytes(file, TRAILER_BYTES, length)?;
    if trailer[4..] != *MAGIC {
        return Err(short());
    }
    let footer_bytes = u64::from(u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]));
    seek(file, trailer_at.checked_sub(footer_bytes).ok_or_else(short)?)?;
    let footer = bytes(file, footer_bytes, length)?;
    let found = caught(|| {
        let footer =
            arrow_ipc::root_as_footer(&footer).map_err(|error| format!("the footer cannot be read: {error}"))?;
        let lists = [footer.dictionaries(), footer.recordBatches()];
        let offsets = lists.into_iter().flatten().flat_map(|blocks| blocks.iter().map(|block| block.offset()));
        let mut offsets = offsets.map(|offset| u64::try_from(offset).map_err(|_| CONTRADICTS.to_owned()));
        offsets.by_ref().collect::<Result<Vec<u64>>>()
    });
    let mut offsets = found.ok_or(CONTRADICTS)??;
    offsets.reverse();
    Ok(offsets)
}
