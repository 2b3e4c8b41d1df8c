//! Fixed-width cells: which feature types have them, and the way between arrays and bytes.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, make_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;

use crate::error::Result;

/// Wider cells are kept behind offsets: a row should not be mostly one cell.
const CELL_BYTES_MAX: usize = 1 << 20;

/// The bytes of a cell of `data_type` in a row; `None` if it is kept behind offsets.
pub(super) fn cell_width(data_type: &DataType) -> Option<u32> {
    let width = match data_type {
        DataType::Boolean => 1,
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok()?,
        DataType::FixedSizeList(element, count) => {
            usize::try_from(*count).ok()?.checked_mul(element.data_type().primitive_width()?)?
        }
        other => other.primitive_width()?,
    };
    if (1..=CELL_BYTES_MAX).contains(&width) { Some(width as u32) } else { None }
}

/// The greatest power of two up to 8 that divides `width`: what its cells should be aligned to.
pub(super) fn cell_alignment(width: u32) -> u32 {
    1 << width.trailing_zeros().min(3)
}

/// The bytes of the values of a fixed-width array, one cell after another.
pub(super) fn cell_bytes(values: &ArrayRef, width: usize) -> Buffer {
    match values.data_type() {
        DataType::Boolean => values.as_boolean().values().iter().map(u8::from).collect::<Vec<u8>>().into(),
        DataType::FixedSizeList(element, _) => {
            let element_width = element.data_type().primitive_width().expect("elements have a width, or no cell has");
            sliced(&values.as_fixed_size_list().values().to_data(), element_width)
        }
        _ => sliced(&values.to_data(), width),
    }
}

fn sliced(data: &ArrayData, width: usize) -> Buffer {
    data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width)
}

/// Whether any list of a fixed-size list array has a null element, be the list itself null or not.
pub(super) fn may_have_null_elements(values: &ArrayRef) -> bool {
    values.as_fixed_size_list_opt().is_some_and(|lists| lists.values().null_count() > 0)
}

/// Whether the list at `index` of a fixed-size list array has a null element, which no cell can hold.
pub(super) fn has_null_element(values: &ArrayRef, index: usize) -> bool {
    let DataType::FixedSizeList(_, count) = values.data_type() else {
        return false;
    };
    let count = *count as usize;
    let elements = values.as_fixed_size_list().values();
    elements.nulls().is_some_and(|nulls| nulls.slice(index * count, count).null_count() > 0)
}

/// The array of `data_type` whose cells are `bytes`, which must be aligned as arrow wants it; what is not valid by
/// `nulls` is null.
pub fn array_of(data_type: &DataType, bytes: Buffer, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let width = cell_width(data_type).expect("only types with cells are made of cells") as usize;
    let length = bytes.len() / width;
    let builder = ArrayData::builder(data_type.clone()).len(length);
    Ok(match data_type {
        DataType::Boolean => {
            let bits = BooleanBuffer::collect_bool(length, |index| bytes[index] != 0);
            Arc::new(BooleanArray::new(bits, nulls))
        }
        DataType::FixedSizeList(element, count) => {
            let elements = ArrayData::builder(element.data_type().clone())
                .len(length * *count as usize)
                .add_buffer(bytes)
                .build()?;
            make_array(builder.add_child_data(elements).nulls(nulls).build()?)
        }
        _ => make_array(builder.add_buffer(bytes).nulls(nulls).build()?),
    })
}
