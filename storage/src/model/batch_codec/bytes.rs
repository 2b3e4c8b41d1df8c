//! Small values and Arrow buffers as bytes, and back without belief.
//!
//! Small values go into the head, buffers behind it, in the order in which they are written; a reader asks for them in
//! the same order. An array is a flag byte (whether a null bitmap follows) and the buffers of its layout with all
//! offsets counted from zero, then its children.

use arrow_array::cast::AsArray;
use arrow_array::{Array, BinaryArray, downcast_primitive_array};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_data::{ArrayData, ArrayDataBuilder};
use arrow_schema::DataType;

use crate::error::{Error, Kind, Result};
use crate::model::types::print_type;

/// Every buffer starts at a multiple of this.
const ALIGNMENT: usize = 8;

/// The error of bytes that are no batch.
pub(super) fn damaged(what: &str) -> Error {
    Error::new(Kind::Corrupt, format!("a logged batch {what}"))
}

/// Bytes as they are written.
#[derive(Default)]
pub(super) struct Writer {
    head: Vec<u8>,
    parts: Vec<Buffer>,
}

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.head.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.head.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.head.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) -> Result<()> {
        let length = u16::try_from(text.len()).map_err(|_| Error::invalid("a name is longer than 65535 bytes"))?;
        self.head.extend_from_slice(&length.to_le_bytes());
        self.head.extend_from_slice(text.as_bytes());
        Ok(())
    }

    pub(super) fn buffer(&mut self, buffer: &Buffer) {
        self.parts.push(buffer.clone());
    }

    pub(super) fn bits(&mut self, bits: &BooleanBuffer) {
        self.parts.push(bits.sliced().slice_with_length(0, bits.len().div_ceil(8)));
    }

    pub(super) fn byte_strings(&mut self, array: &BinaryArray) {
        let range = self.offsets(array.value_offsets());
        self.parts.push(array.values().slice_with_length(range.start, range.len()));
    }

    /// Offsets counted from zero; the range of items that they span.
    fn offsets<O: ArrowNativeType + std::ops::Sub<Output = O>>(&mut self, offsets: &[O]) -> std::ops::Range<usize> {
        let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return 0..0 };
        self.parts.push(offsets.iter().map(|offset| *offset - *first).collect());
        first.as_usize()..last.as_usize()
    }

    /// An array of a stored type.
    pub(super) fn array(&mut self, array: &dyn Array) -> Result<()> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        self.u8(u8::from(nulls.is_some()));
        nulls.into_iter().for_each(|nulls| self.bits(nulls.inner()));
        downcast_primitive_array! {
            array => self.parts.push(array.values().inner().clone()),
            DataType::Boolean => self.bits(array.as_boolean().values()),
            DataType::Utf8 | DataType::Binary => self.variable::<i32>(&array.to_data()),
            DataType::LargeUtf8 | DataType::LargeBinary => self.variable::<i64>(&array.to_data()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let range = self.offsets(list.offsets());
                self.array(&list.values().slice(range.start, range.len()))?;
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let range = self.offsets(list.offsets());
                self.array(&list.values().slice(range.start, range.len()))?;
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let range = self.offsets(map.offsets());
                self.array(&map.entries().slice(range.start, range.len()))?;
            }
            DataType::FixedSizeList(..) => self.array(array.as_fixed_size_list().values())?,
            DataType::Struct(_) => array.as_struct().columns().iter().try_for_each(|column| self.array(column))?,
            DataType::FixedSizeBinary(width) => {
                let data = array.to_data();
                let width = *width as usize;
                self.parts.push(data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width));
            }
            other => return Err(Error::invalid(format!("{} is not stored", print_type(other)))),
        }
        Ok(())
    }

    /// The offsets and bytes of strings or binaries.
    fn variable<O: ArrowNativeType + std::ops::Sub<Output = O>>(&mut self, data: &ArrayData) {
        let range = self.offsets(&data.buffer::<O>(0)[..=data.len()]);
        self.parts.push(data.buffers()[1].slice_with_length(range.start, range.len()));
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let parts: usize = self.parts.iter().map(|part| part.len().next_multiple_of(ALIGNMENT)).sum();
        let mut bytes = Vec::with_capacity((4 + self.head.len()).next_multiple_of(ALIGNMENT) + parts);
        bytes.extend_from_slice(&(self.head.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.head);
        for part in std::iter::once(&Buffer::default()).chain(&self.parts) {
            bytes.extend_from_slice(part);
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        }
        bytes
    }
}

/// The bytes of each value of a stored type that has one buffer of them.
fn width(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
        other => other.primitive_width(),
    }
}

/// Bytes as they are read: the rest of the head and the rest of the buffers.
pub(super) struct Reader<'a> {
    head: &'a [u8],
    buffers: Buffer,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| damaged("ends early"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let head = rest.get(..length).ok_or_else(|| damaged("ends early"))?;
        let buffers = bytes.get((4 + length).next_multiple_of(ALIGNMENT)..).ok_or_else(|| damaged("ends early"))?;
        Ok(Self { head, buffers: Buffer::from(buffers) })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.head.split_first_chunk::<N>().ok_or_else(|| damaged("ends early"))?;
        self.head = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.take::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        let length = usize::from(u16::from_le_bytes(self.take()?));
        let (text, rest) = self.head.split_at_checked(length).ok_or_else(|| damaged("ends early"))?;
        self.head = rest;
        std::str::from_utf8(text).map_err(|_| damaged("has a text that is not UTF-8"))
    }

    /// A buffer of `count` values of `width` bytes.
    pub(super) fn buffer(&mut self, count: usize, width: usize) -> Result<Buffer> {
        let length = count.checked_mul(width).ok_or_else(|| damaged("ends early"))?;
        let padded = length.checked_next_multiple_of(ALIGNMENT).filter(|padded| *padded <= self.buffers.len());
        let padded = padded.ok_or_else(|| damaged("ends early"))?;
        let buffer = self.buffers.slice_with_length(0, length);
        self.buffers = self.buffers.slice(padded);
        Ok(buffer)
    }

    pub(super) fn numbers<T: ArrowNativeType>(&mut self, count: usize) -> Result<ScalarBuffer<T>> {
        let buffer = self.buffer(count, size_of::<T>())?;
        Ok(ScalarBuffer::new(buffer, 0, count))
    }

    pub(super) fn bits(&mut self, count: usize) -> Result<BooleanBuffer> {
        Ok(BooleanBuffer::new(self.buffer(count.div_ceil(8), 1)?, 0, count))
    }

    pub(super) fn byte_strings(&mut self, count: usize) -> Result<BinaryArray> {
        let (offsets, length) = self.offsets::<i32>(count)?;
        let values = self.buffer(length, 1)?;
        BinaryArray::try_new(OffsetBuffer::new(offsets), values, None).map_err(|_| damaged("has wrong offsets"))
    }

    /// Offsets that start at zero and never decrease, and the number of items that they span.
    fn offsets<O: ArrowNativeType + PartialOrd>(&mut self, count: usize) -> Result<(ScalarBuffer<O>, usize)> {
        let offsets: ScalarBuffer<O> = self.numbers(count + 1)?;
        let ordered = offsets[0] == O::default() && offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        match offsets.last().filter(|_| ordered).and_then(|last| last.to_usize()) {
            Some(length) => Ok((offsets, length)),
            None => Err(damaged("has wrong offsets")),
        }
    }

    /// An array of `data_type` with `rows` rows.
    pub(super) fn array(&mut self, data_type: &DataType, rows: usize) -> Result<ArrayData> {
        let nulls = match self.u8()? {
            0 => None,
            1 => Some(NullBuffer::new(self.bits(rows)?)),
            _ => return Err(damaged("has unknown flags")),
        };
        let builder = ArrayDataBuilder::new(data_type.clone()).len(rows).nulls(nulls).align_buffers(true);
        let builder = match data_type {
            DataType::Boolean => builder.add_buffer(self.bits(rows)?.into_inner()),
            DataType::Utf8 | DataType::Binary => {
                let (offsets, length) = self.offsets::<i32>(rows)?;
                builder.add_buffer(offsets.into_inner()).add_buffer(self.buffer(length, 1)?)
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                let (offsets, length) = self.offsets::<i64>(rows)?;
                builder.add_buffer(offsets.into_inner()).add_buffer(self.buffer(length, 1)?)
            }
            DataType::List(item) | DataType::Map(item, _) => {
                let (offsets, length) = self.offsets::<i32>(rows)?;
                builder.add_buffer(offsets.into_inner()).add_child_data(self.array(item.data_type(), length)?)
            }
            DataType::LargeList(item) => {
                let (offsets, length) = self.offsets::<i64>(rows)?;
                builder.add_buffer(offsets.into_inner()).add_child_data(self.array(item.data_type(), length)?)
            }
            DataType::FixedSizeList(item, length) => {
                let items = rows.checked_mul(*length as usize).ok_or_else(|| damaged("ends early"))?;
                builder.add_child_data(self.array(item.data_type(), items)?)
            }
            DataType::Struct(fields) => {
                let children = fields.iter().map(|field| self.array(field.data_type(), rows));
                builder.child_data(children.collect::<Result<_>>()?)
            }
            other => {
                let width = width(other).ok_or_else(|| damaged("has a column of a type that is not stored"))?;
                builder.add_buffer(self.buffer(rows, width)?)
            }
        };
        builder.build().map_err(|error| damaged(&format!("has a wrong column: {error}")))
    }

    /// Refuses bytes that nobody asked for.
    pub(super) fn finish(self) -> Result<()> {
        if self.head.is_empty() && self.buffers.is_empty() {
            return Ok(());
        }
        Err(damaged("has bytes after its end"))
    }
}
