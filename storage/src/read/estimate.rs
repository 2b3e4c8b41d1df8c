//! What rows of an answer take in memory: on average, to reserve it before they are read, and in fact, once it is known
//! which cells they have.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;

use crate::column::fixed_width;
use crate::view::TableView;

/// Chunks whose values are looked at for an average.
const CHUNKS_MAX: usize = 16;
/// Of a value without a fixed width where none is stored, with what leads to it.
const UNKNOWN_BYTES: u64 = 32;
/// What leads to a value without a fixed width: an offset, and a note of where it comes from.
const OFFSET_BYTES: u64 = 24;

/// The bytes of a row of features, given their numbers and stored types, of the table that `view` is of: those of a fixed
/// width count as they are, all others with the average of what is stored.
pub(crate) fn row_bytes<'a>(features: impl Iterator<Item = (u32, &'a DataType)>, view: &TableView) -> u64 {
    features.map(|(feature, stored)| value_bytes(feature, stored, view)).sum()
}

fn value_bytes(feature: u32, stored: &DataType, view: &TableView) -> u64 {
    if let Some(width) = fixed_width(stored) {
        return width as u64;
    }
    if *stored == DataType::Boolean {
        return 1;
    }
    let runs = view.buckets.iter().flat_map(|bucket| bucket.runs());
    let chunks = runs.flat_map(|run| &run.chunks);
    let columns = chunks.filter_map(|chunk| chunk.column(feature)).filter(|column| !column.is_empty());
    let (bytes, values) = columns
        .take(CHUNKS_MAX)
        .fold((0, 0), |(bytes, values), column| (bytes + column.bytes() as u64, values + u64::from(column.len())));
    bytes.checked_div(values).map_or(UNKNOWN_BYTES, |average| average + OFFSET_BYTES)
}

/// The bytes of the values of one array, by position.
pub(crate) enum ValueBytes<'a> {
    /// By offsets into bytes or elements, each of which takes so many bytes.
    Offsets { offsets: Offsets<'a>, element: u64 },
    /// All about as many.
    Same(u64),
}

/// The offsets of an array, of either size.
pub(crate) enum Offsets<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
}

impl<'a> ValueBytes<'a> {
    /// Of the values of `array`.
    pub(crate) fn of(array: &'a ArrayRef) -> Self {
        let small = |offsets: &'a [i32], element| Self::Offsets { offsets: Offsets::Small(offsets), element };
        let large = |offsets: &'a [i64], element| Self::Offsets { offsets: Offsets::Large(offsets), element };
        match array.data_type() {
            DataType::Utf8 => small(array.as_string::<i32>().value_offsets(), 1),
            DataType::Binary => small(array.as_binary::<i32>().value_offsets(), 1),
            DataType::LargeUtf8 => large(array.as_string::<i64>().value_offsets(), 1),
            DataType::LargeBinary => large(array.as_binary::<i64>().value_offsets(), 1),
            DataType::List(_) => {
                small(array.as_list::<i32>().value_offsets(), average(array.as_list::<i32>().values()))
            }
            DataType::LargeList(_) => {
                large(array.as_list::<i64>().value_offsets(), average(array.as_list::<i64>().values()))
            }
            _ => Self::Same(average(array.as_ref())),
        }
    }

    /// The bytes of the value at `position`.
    #[inline]
    pub(crate) fn at(&self, position: usize) -> u64 {
        match self {
            Self::Offsets { offsets: Offsets::Small(offsets), element } => {
                (offsets[position + 1] - offsets[position]).as_usize() as u64 * element
            }
            Self::Offsets { offsets: Offsets::Large(offsets), element } => {
                (offsets[position + 1] - offsets[position]).as_usize() as u64 * element
            }
            Self::Same(bytes) => *bytes,
        }
    }
}

/// What a value of `array` takes on average, at least 1.
fn average(array: &dyn Array) -> u64 {
    (array.to_data().get_slice_memory_size().unwrap_or_default() as u64).div_ceil(array.len().max(1) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int64Type;
    use arrow_array::{Float64Array, ListArray, StringArray};

    use super::*;

    #[test]
    fn values_count_as_long_as_they_are() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("four"), None, Some("")]));
        let lists = vec![Some(vec![Some(1), Some(2), Some(3)]), Some(vec![])];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
        let of = |array: &ArrayRef| (0..2).map(|at| ValueBytes::of(array).at(at)).collect::<Vec<_>>();
        assert_eq!((of(&texts), of(&numbers)), (vec![4, 0], vec![8, 8]));
        assert!(of(&lists)[0] >= 24 && of(&lists)[1] == 0);
    }
}
