//! Values beyond their own type: bytes that a layout can hold and its type has no meaning for.
//!
//! A decimal of more digits than its precision, a time of day from 24:00 on, a `date64` inside a day, a date, timestamp
//! or duration that no calendar or clock prints: Arrow takes them all, also from a client that never checked. Once
//! stored they could be neither exported nor compared with what others compute, so the door refuses them. Nested types
//! are looked through; what lies under a null is no value. Where nothing is wrong this costs one pass over the columns
//! of these types and none over others.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, DurationMillisecondType, DurationSecondType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, TimeUnit};

/// The first day that a date or timestamp may name: the first of the year −262,142, as far as calendars print.
const DAY_MIN: i64 = -96_464_928;
/// The last day: the end of the year 262,141.
const DAY_MAX: i64 = 95_025_871;
const DAY_SECONDS: i64 = 86_400;

/// The rows of `array` whose value is beyond its type; `None` if there is none.
pub(in crate::model) fn beyond(array: &ArrayRef) -> Option<BooleanBuffer> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    match array.data_type() {
        DataType::Decimal32(precision, _) => decimals::<Decimal32Type>(array, *precision),
        DataType::Decimal64(precision, _) => decimals::<Decimal64Type>(array, *precision),
        DataType::Decimal128(precision, _) => decimals::<Decimal128Type>(array, *precision),
        DataType::Decimal256(precision, _) => decimals::<Decimal256Type>(array, *precision),
        DataType::Date32 => unfit::<Date32Type>(array, |days| (DAY_MIN..=DAY_MAX).contains(&i64::from(days))),
        DataType::Date64 => {
            unfit::<Date64Type>(array, |millis| millis % (DAY_SECONDS * 1_000) == 0 && in_calendar(millis, 1_000))
        }
        DataType::Time32(Second) => unfit::<Time32SecondType>(array, |time| in_day(time.into(), 1)),
        DataType::Time32(_) => unfit::<Time32MillisecondType>(array, |time| in_day(time.into(), 1_000)),
        DataType::Time64(Microsecond) => unfit::<Time64MicrosecondType>(array, |time| in_day(time, 1_000_000)),
        DataType::Time64(_) => unfit::<Time64NanosecondType>(array, |time| in_day(time, 1_000_000_000)),
        DataType::Timestamp(Second, _) => unfit::<TimestampSecondType>(array, |time| in_calendar(time, 1)),
        DataType::Timestamp(Millisecond, _) => {
            unfit::<TimestampMillisecondType>(array, |time| in_calendar(time, 1_000))
        }
        DataType::Timestamp(Microsecond, _) => {
            unfit::<TimestampMicrosecondType>(array, |time| in_calendar(time, 1_000_000))
        }
        // All nanoseconds of 64 bits lie within three centuries of 1970.
        DataType::Timestamp(Nanosecond, _) => None,
        // The longest duration that clocks reckon with has 2^63 - 1 milliseconds.
        DataType::Duration(Second) => {
            unfit::<DurationSecondType>(array, |time| (-i64::MAX / 1_000..=i64::MAX / 1_000).contains(&time))
        }
        DataType::Duration(Millisecond) => unfit::<DurationMillisecondType>(array, |time| time != i64::MIN),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => in_lists(array),
        DataType::Struct(_) => {
            let columns = array.as_struct().columns().iter();
            within_valid(columns.map(beyond).fold(None, either), array.nulls())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let offsets = map.offsets();
            let entries = either(beyond(map.keys()), beyond(map.values()));
            within_valid(
                of_lists(entries, map.len(), |row| offsets[row] as usize..offsets[row + 1] as usize),
                map.nulls(),
            )
        }
        _ => None,
    }
}

fn in_lists(array: &ArrayRef) -> Option<BooleanBuffer> {
    let rows = array.len();
    let marks = match array.data_type() {
        DataType::FixedSizeList(_, length) => {
            let length = *length as usize;
            of_lists(beyond(array.as_fixed_size_list().values()), rows, |row| row * length..(row + 1) * length)
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let offsets = list.offsets();
            of_lists(beyond(list.values()), rows, |row| offsets[row] as usize..offsets[row + 1] as usize)
        }
        _ => {
            let list = array.as_list::<i32>();
            let offsets = list.offsets();
            of_lists(beyond(list.values()), rows, |row| offsets[row] as usize..offsets[row + 1] as usize)
        }
    };
    within_valid(marks, array.nulls())
}

fn decimals<T: DecimalType>(array: &ArrayRef, precision: u8) -> Option<BooleanBuffer> {
    unfit::<T>(array, |value| T::is_valid_decimal_precision(value, precision))
}

/// Whether `time`, in parts of a second, is before 24:00.
fn in_day(time: i64, per_second: i64) -> bool {
    (0..DAY_SECONDS * per_second).contains(&time)
}

/// Whether `time`, in parts of a second since 1970, is in a year that calendars know.
fn in_calendar(time: i64, per_second: i64) -> bool {
    let day = DAY_SECONDS * per_second;
    (DAY_MIN.saturating_mul(day)..(DAY_MAX + 1).saturating_mul(day)).contains(&time)
}

/// The rows that hold a value for which `fits` is false.
fn unfit<T: ArrowPrimitiveType>(array: &ArrayRef, fits: impl Fn(T::Native) -> bool) -> Option<BooleanBuffer> {
    let array = array.as_primitive::<T>();
    let values = array.values();
    // Without a branch the loop runs at the speed of memory; whether a value is null matters only if one does not fit.
    if values.iter().fold(true, |all, &value| all & fits(value)) {
        return None;
    }
    let marks = BooleanBuffer::collect_bool(values.len(), |row| !fits(values[row]) && array.is_valid(row));
    (marks.count_set_bits() > 0).then_some(marks)
}

/// The rows marked in either.
pub(super) fn either(left: Option<BooleanBuffer>, right: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (left, right) {
        (Some(left), Some(right)) => Some(&left | &right),
        (left, right) => left.or(right),
    }
}

/// Only those marks that stand in valid rows: what lies under a null is not a value.
pub(super) fn within_valid(marks: Option<BooleanBuffer>, nulls: Option<&NullBuffer>) -> Option<BooleanBuffer> {
    let marks = match (marks, nulls) {
        (Some(marks), Some(nulls)) => &marks & nulls.inner(),
        (marks, _) => marks?,
    };
    (marks.count_set_bits() > 0).then_some(marks)
}

/// The marks of items as marks of the lists they are in.
pub(super) fn of_lists(
    items: Option<BooleanBuffer>,
    rows: usize,
    range: impl Fn(usize) -> std::ops::Range<usize>,
) -> Option<BooleanBuffer> {
    let items = items?;
    Some(BooleanBuffer::collect_bool(rows, |row| range(row).any(|item| items.value(item))))
}

#[cfg(test)]
mod tests;
