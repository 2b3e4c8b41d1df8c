//! One array of any Arrow type as bytes.
//!
//! ```text
//! words u64 | per array, depth first: length u64, validity bytes u64, buffers u64, bytes of each buffer u64,
//!             children u64, then each child | padding | validity and buffers of each array, each padded to 64
//! ```
//!
//! `words` counts the u64s that follow it before the padding. The types are not in the bytes: the caller knows them.
//! Decoding checks every number before it is used, has Arrow validate the array, and copies no values.

use arrow_array::{ArrayRef, make_array};
use arrow_buffer::Buffer;
use arrow_data::transform::MutableArrayData;
use arrow_data::{ArrayData, BufferSpec, layout};
use arrow_schema::{ArrowError, DataType};

use crate::segment::format::{ALIGNMENT, padding};

/// Appends `array` to `to`, which starts aligned.
pub(crate) fn encode(array: &ArrayRef, to: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut data = array.to_data();
    if !starts_at_zero(&data) {
        let mut copy = MutableArrayData::new(vec![&data], false, data.len());
        copy.try_extend(0, 0, data.len())?;
        data = copy.freeze();
    }
    let mut words = Vec::new();
    let mut buffers = Vec::new();
    describe(&data, &mut words, &mut buffers);
    to.extend_from_slice(&(words.len() as u64).to_le_bytes());
    words.iter().for_each(|word| to.extend_from_slice(&word.to_le_bytes()));
    to.resize(to.len() + padding(to.len() as u64), 0);
    for buffer in buffers {
        to.extend_from_slice(&buffer);
        to.resize(to.len() + padding(to.len() as u64), 0);
    }
    Ok(())
}

fn starts_at_zero(data: &ArrayData) -> bool {
    data.offset() == 0 && data.child_data().iter().all(starts_at_zero)
}

fn describe(data: &ArrayData, words: &mut Vec<u64>, buffers: &mut Vec<Buffer>) {
    words.push(data.len() as u64);
    let valid = data.nulls().map(|nulls| nulls.inner().sliced());
    words.push(valid.as_ref().map_or(0, |valid| valid.len() as u64));
    buffers.extend(valid);
    words.push(data.buffers().len() as u64);
    words.extend(data.buffers().iter().map(|buffer| buffer.len() as u64));
    buffers.extend(data.buffers().iter().cloned());
    words.push(data.child_data().len() as u64);
    data.child_data().iter().for_each(|child| describe(child, words, buffers));
}

/// The array of `len` values of `data_type` in `bytes`, or what is wrong with them.
pub(crate) fn decode(bytes: &Buffer, data_type: &DataType, len: usize) -> Result<ArrayRef, String> {
    let count = bytes.get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let count = count.filter(|&count| count <= bytes.len() as u64 / 8).ok_or("a stretch is too short")?;
    let described = bytes.get(8..8 + count as usize * 8).ok_or("a stretch is too short")?;
    let words = described.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes)).collect();
    let described_end = 8 + count as usize * 8;
    let at = described_end + padding(described_end as u64);
    let mut reader = Reader { words, word: 0, bytes, at };
    let data = reader.array(data_type)?;
    if data.len() != len {
        return Err(format!("a stretch has {} values instead of {len}", data.len()));
    }
    Ok(make_array(data))
}

struct Reader<'a> {
    words: Vec<u64>,
    word: usize,
    bytes: &'a Buffer,
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<usize, String> {
        let word = self.words.get(self.word).ok_or("a stretch's description is too short")?;
        self.word += 1;
        usize::try_from(*word).map_err(|error| error.to_string())
    }

    fn buffer(&mut self, length: usize) -> Result<Buffer, String> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or("a buffer lies outside of its stretch")?;
        let buffer = self.bytes.slice_with_length(self.at, length);
        self.at = end.saturating_add(padding(end as u64));
        Ok(buffer)
    }

    fn array(&mut self, data_type: &DataType) -> Result<ArrayData, String> {
        let len = self.next()?;
        let valid_bytes = self.next()?;
        let buffers = self.next()?;
        if buffers > self.words.len() {
            return Err("a stretch's description is too short".to_string());
        }
        let lengths: Vec<usize> = (0..buffers).map(|_| self.next()).collect::<Result<_, _>>()?;
        // Arrow takes for granted that a buffer holds whole elements.
        let whole = layout(data_type).buffers.iter().zip(&lengths).all(|(spec, length)| match spec {
            BufferSpec::FixedWidth { byte_width, .. } => length % (*byte_width).max(1) == 0,
            _ => true,
        });
        if !whole {
            return Err("a buffer ends within an element".to_string());
        }
        let valid = if valid_bytes == 0 { None } else { Some(self.buffer(valid_bytes)?) };
        let buffers: Vec<Buffer> = lengths.into_iter().map(|length| self.buffer(length)).collect::<Result<_, _>>()?;
        let types = child_types(data_type);
        if self.next()? != types.len() {
            return Err(format!("a stretch does not hold values of type {data_type}"));
        }
        let children: Vec<ArrayData> = types.into_iter().map(|child| self.array(child)).collect::<Result<_, _>>()?;
        ArrayData::try_new(data_type.clone(), len, valid, 0, buffers, children).map_err(|error| error.to_string())
    }
}

/// The types of the arrays inside of an array of `data_type`.
fn child_types(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => vec![item.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        DataType::Dictionary(_, value) => vec![value],
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    }
}

const _: () = assert!(ALIGNMENT == 64, "the layout above says 64");
