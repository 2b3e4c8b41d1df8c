//! Tests of what is beyond each type, and that whatever is not can be printed.

use std::sync::Arc;

use arrow_array::{
    Array, Date32Array, Date64Array, Decimal128Array, DurationMillisecondArray, DurationSecondArray,
    FixedSizeListArray, Int64Array, ListArray, StringArray, StructArray, Time32MillisecondArray, Time32SecondArray,
    Time64MicrosecondArray, Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray,
};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::Field;
use proptest::prelude::*;

use super::*;
use crate::model::value::to_json;

const DAY_MS: i64 = DAY_SECONDS * 1_000;

fn rows(array: impl Array + 'static) -> Vec<usize> {
    let array: ArrayRef = Arc::new(array);
    beyond(&array).map(|marks| marks.set_indices().collect()).unwrap_or_default()
}

fn decimals(values: Vec<Option<i128>>) -> Decimal128Array {
    Decimal128Array::from(values).with_data_type(DataType::Decimal128(4, 2))
}

#[test]
fn a_value_beyond_its_type_is_found_in_every_type() {
    assert_eq!(rows(decimals(vec![Some(9_999), Some(10_000), None, Some(-10_000), Some(-9_999)])), [1, 3]);
    assert_eq!(rows(Time32SecondArray::from(vec![0, 86_399, 86_400, -1])), [2, 3]);
    assert_eq!(rows(Time32MillisecondArray::from(vec![86_399_999, 86_400_000])), [1]);
    assert_eq!(rows(Time64MicrosecondArray::from(vec![86_399_999_999, 86_400_000_000])), [1]);
    assert_eq!(rows(Time64NanosecondArray::from(vec![86_399_999_999_999, 86_400_000_000_000])), [1]);
    assert_eq!(rows(Date64Array::from(vec![DAY_MS, 1, -DAY_MS, i64::MAX - i64::MAX % DAY_MS])), [1, 3]);
    assert_eq!(rows(Date32Array::from(vec![0, DAY_MAX as i32, DAY_MAX as i32 + 1, i32::MIN])), [2, 3]);
    assert_eq!(rows(TimestampSecondArray::from(vec![0, i64::MAX, -i64::MAX])), [1, 2]);
    assert_eq!(rows(TimestampMillisecondArray::from(vec![0, i64::MAX])), [1]);
    let micros = TimestampMicrosecondArray::from(vec![Some(0), None, Some(i64::MAX), Some(i64::MIN)]);
    assert_eq!(rows(micros.with_timezone("UTC")), [2, 3]);
    assert_eq!(rows(TimestampNanosecondArray::from(vec![i64::MIN, i64::MAX])), [0_usize; 0]);
    assert_eq!(rows(DurationSecondArray::from(vec![i64::MAX / 1_000, i64::MAX, i64::MIN])), [1, 2]);
    assert_eq!(rows(DurationMillisecondArray::from(vec![i64::MAX, i64::MIN])), [1]);
    assert_eq!(rows(Int64Array::from(vec![i64::MAX, i64::MIN])), [0_usize; 0]);
}

#[test]
fn nested_values_are_looked_through_and_what_lies_under_a_null_is_none() {
    let times = || Arc::new(Time32SecondArray::from(vec![1, 86_400, 86_400, 2, 3, 4]));
    let item = || Arc::new(Field::new("item", times().data_type().clone(), true));
    let offsets = || arrow_buffer::OffsetBuffer::new(vec![0, 1, 2, 3, 6].into());
    let valid = || Some(NullBuffer::from(vec![true, true, false, true]));
    let list = ListArray::new(item(), offsets(), times(), valid());
    assert_eq!(rows(list.clone()), [1]);
    assert_eq!(rows(list.slice(1, 3)), [0]);
    assert_eq!(rows(list.slice(2, 2)), [0_usize; 0]);
    let fixed = FixedSizeListArray::new(item(), 2, times(), Some(NullBuffer::from(vec![true, false, true])));
    assert_eq!(rows(fixed.clone()), [0]);
    assert_eq!(rows(fixed.slice(1, 2)), [0_usize; 0]);
    let fields = vec![Field::new("at", times().data_type().clone(), true)];
    let inner = StructArray::new(fields.into(), vec![Arc::new(times().slice(0, 4))], valid());
    assert_eq!(rows(inner.clone()), [1]);
    let entries = vec![Field::new("key", DataType::Utf8, false), Field::new("value", inner.data_type().clone(), true)];
    let keys = Arc::new(StringArray::from(vec!["a", "b", "c", "d"]));
    let entries = StructArray::new(entries.into(), vec![keys, Arc::new(inner)], None);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let offsets = arrow_buffer::OffsetBuffer::new(vec![0, 1, 4].into());
    assert_eq!(rows(arrow_array::MapArray::new(field, offsets, entries, None, false)), [1]);
}

/// Every type that can be exceeded, over the same numbers.
fn of_all_types(number: i64, decimal: i128) -> Vec<ArrayRef> {
    let small = number as i32;
    vec![
        Arc::new(Date32Array::from(vec![small])),
        Arc::new(Date64Array::from(vec![number])),
        Arc::new(Date64Array::from(vec![number - number % DAY_MS])),
        Arc::new(Time32SecondArray::from(vec![small])),
        Arc::new(Time32MillisecondArray::from(vec![small])),
        Arc::new(Time64MicrosecondArray::from(vec![number])),
        Arc::new(Time64NanosecondArray::from(vec![number])),
        Arc::new(TimestampSecondArray::from(vec![number])),
        Arc::new(TimestampMillisecondArray::from(vec![number])),
        Arc::new(TimestampMicrosecondArray::from(vec![number]).with_timezone("+14:00")),
        Arc::new(TimestampNanosecondArray::from(vec![number])),
        Arc::new(DurationSecondArray::from(vec![number])),
        Arc::new(DurationMillisecondArray::from(vec![number])),
        Arc::new(decimals(vec![Some(decimal)])),
    ]
}

proptest! {
    #[test]
    fn what_is_not_beyond_its_type_can_be_printed(
        number in prop_oneof![
            any::<i64>(), -100_000..100_000_i64, (DAY_MIN - 3..DAY_MIN + 3), (DAY_MAX - 3..DAY_MAX + 3),
            (-3..3_i64, prop_oneof![Just(DAY_MIN), Just(DAY_MAX)], prop_oneof![Just(1), Just(1_000), Just(1_000_000)])
                .prop_map(|(near, day, per)| day * DAY_SECONDS * per + near * DAY_SECONDS * per / 2),
            (0..4_u32).prop_map(|power| DAY_SECONDS * 1_000_i64.pow(power)),
        ],
        decimal in prop_oneof![-20_000..20_000_i128, any::<i128>()],
    ) {
        for array in of_all_types(number, decimal) {
            if beyond(&array).is_none() {
                let options = FormatOptions::new().with_display_error(false);
                let text = ArrayFormatter::try_new(&array, &options).and_then(|text| text.value(0).try_to_string());
                prop_assert!(text.is_ok(), "{:?}: {:?}", array, text);
                prop_assert!(to_json(&array, 0).is_ok(), "{:?}", array);
            }
        }
    }
}
