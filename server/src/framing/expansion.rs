//! How large dictionaries and views become when they are cast to plain arrays at the door.
//!
//! One long value that a million keys or views point to fits a small message, and would take terabytes as a plain
//! array. So the size is counted from the keys before anybody casts.

use arrow_array::cast::AsArray;
use arrow_array::types::ByteViewType;
use arrow_array::{Array, ArrayRef, GenericByteViewArray, RecordBatch};
use arrow_schema::DataType;
use tonic::Status;

use crate::config::Limits;
use crate::refusal::exhausted;

/// Refuses a batch whose dictionaries and views would become larger than a message may.
pub(super) fn check(batch: &RecordBatch, limits: &Limits) -> Result<(), Status> {
    let limit = limits.decoded_bytes_max;
    if bytes(batch) <= limit {
        return Ok(());
    }
    let columns = batch.columns().iter().zip(batch.schema_ref().fields());
    let (_, largest) =
        columns.max_by_key(|(column, _)| expanded(column)).expect("a batch that becomes large has a column");
    Err(exhausted(format!(
        "dictionaries and views would take more than {limit} bytes as plain arrays, column `{}` the most \
         (decoded-bytes-max); send smaller batches",
        largest.name()
    )))
}

/// Bytes of the values that dictionaries and views of a batch stand for.
pub(super) fn bytes(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(expanded).fold(0, u64::saturating_add)
}

/// Bytes of the values that dictionaries and views inside `array` stand for; 0 where there are none.
fn expanded(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::Utf8View => viewed(array.as_string_view()),
        DataType::BinaryView => viewed(array.as_binary_view()),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let sizes = value_sizes(dictionary.values());
            let keys = dictionary.normalized_keys_or_none();
            keys.map(|key| sizes.of(key)).fold(0, u64::saturating_add)
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(expanded).fold(0, u64::saturating_add),
        DataType::List(_) => expanded(array.as_list::<i32>().values()),
        DataType::LargeList(_) => expanded(array.as_list::<i64>().values()),
        DataType::FixedSizeList(_, _) => expanded(array.as_fixed_size_list().values()),
        DataType::Map(_, _) => array.as_map().entries().columns().iter().map(expanded).fold(0, u64::saturating_add),
        _ => 0,
    }
}

fn viewed<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>) -> u64 {
    // The low 32 bits of a view are the length of its value.
    array.views().iter().map(|view| u64::from(*view as u32)).fold(0, u64::saturating_add)
}

/// The keys of a dictionary as places among its values, nulls left out.
trait Keys {
    fn normalized_keys_or_none(&self) -> Box<dyn Iterator<Item = usize> + '_>;
}

impl Keys for dyn arrow_array::AnyDictionaryArray + '_ {
    fn normalized_keys_or_none(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        if self.values().is_empty() {
            return Box::new(std::iter::empty());
        }
        let keys = self.keys();
        let places = self.normalized_keys();
        Box::new(places.into_iter().enumerate().filter(|(row, _)| keys.is_valid(*row)).map(|(_, place)| place))
    }
}

/// The size of each value of a dictionary.
enum ValueSizes {
    /// All alike.
    Same(u64),
    /// One by one.
    Each(Vec<u64>),
}

impl ValueSizes {
    fn of(&self, place: usize) -> u64 {
        match self {
            Self::Same(size) => *size,
            Self::Each(sizes) => sizes.get(place).copied().unwrap_or_default(),
        }
    }
}

fn value_sizes(values: &ArrayRef) -> ValueSizes {
    fn differences<T: Copy + Into<i64>>(offsets: &[T]) -> ValueSizes {
        ValueSizes::Each(offsets.windows(2).map(|pair| (pair[1].into() - pair[0].into()) as u64).collect())
    }
    match values.data_type() {
        DataType::Utf8 => differences(values.as_string::<i32>().value_offsets()),
        DataType::Binary => differences(values.as_binary::<i32>().value_offsets()),
        DataType::LargeUtf8 => differences(values.as_string::<i64>().value_offsets()),
        DataType::LargeBinary => differences(values.as_binary::<i64>().value_offsets()),
        data_type => match data_type.primitive_width() {
            Some(width) => ValueSizes::Same(width as u64),
            // Nested values: count each as if it were all of them, which errs on the safe side.
            None => ValueSizes::Same(values.get_buffer_memory_size() as u64 + expanded(values)),
        },
    }
}
