//! Casts at the door: a client's column as the type that its feature is stored in, where every value fits.
//!
//! A cast never changes a value: any type is accepted for any other of its kind (numbers, that is booleans, integers,
//! floats and decimals; dates and timestamps; times of day; durations; text; bytes; lists; structs; maps) as long as each
//! value survives the way there and back; the rows whose value does not are reported one by one. The one exception is a
//! float for a narrower float, which is rounded to the nearest unless the table says that it is not ([`Floats`]). Text is
//! also taken for dates, times of day and timestamps, in every spelling of ISO 8601. A dictionary counts as its values, a
//! column without any value as nulls of any type, a field that a struct lacks as null. Everything else is refused as a whole.
//! A column that already has the type is passed on without a copy. Whatever the way, a value beyond the type that it ends
//! in does not fit (`beyond.rs`).

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, Date32Array, FixedSizeListArray, Int64Array, LargeListArray, ListArray, MapArray, StructArray,
    new_null_array,
};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, OffsetBuffer};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_cast::{CastOptions, can_cast_types, cast_with_options};
use arrow_schema::{
    DECIMAL32_MAX_PRECISION, DECIMAL64_MAX_PRECISION, DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType,
    Field, FieldRef, Fields, TimeUnit,
};

use super::beyond::{beyond, either, of_lists, within_valid};
use super::catalog::listed;
use super::key::KeyColumn;
use super::types::{integer, map_fields, print_type};
use super::value::time_number;
use crate::error::{Error, Result};

/// A column as cast at the door.
#[derive(Debug, Clone)]
pub struct Cast {
    /// The column in its stored type; what stands in the rows that do not fit means nothing.
    pub values: ArrayRef,
    /// The rows whose value does not fit; `None` if all do.
    pub misfits: Option<BooleanBuffer>,
}

impl Cast {
    fn whole(values: ArrayRef) -> Self {
        Self { values, misfits: None }
    }

    fn checked(values: ArrayRef, misfits: BooleanBuffer) -> Self {
        let misfits = (misfits.count_set_bits() > 0).then_some(misfits);
        Self { values, misfits }
    }

    /// The same, where values beyond the type they now have do not fit either.
    fn within_type(self) -> Self {
        let misfits = either(self.misfits, beyond(&self.values));
        Self { misfits, ..self }
    }

    /// The column, if every row fits; else an error that names the first that does not.
    pub fn into_whole(self, given: &dyn Array, to: &DataType) -> Result<ArrayRef> {
        match self.misfits.as_ref().and_then(|misfits| misfits.set_indices().next()) {
            None => Ok(self.values),
            Some(row) => Err(Error::invalid(format!("row {row}: {}", misfit_reason(given, row, to))).of_row(row)),
        }
    }
}

/// The values of the key column `key` of `entity`, each of which names an entity, in its type. `what` says what they are, for
/// errors: `column "user"`.
pub fn key_values(given: &ArrayRef, entity: &str, key: &KeyColumn, what: &dyn Fn() -> String) -> Result<ArrayRef> {
    if let Some(nulls) = given.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
        let row = nulls.iter().position(|valid| !valid).expect("a null was counted");
        let said = format!(
            "row {row}: {}, the key column {} of entity {entity}, is null; every row needs a key",
            what(),
            key.name
        );
        return Err(Error::invalid(said).of_row(row));
    }
    let cast = door_cast(given, &key.data_type, Floats::Exact)
        .and_then(|cast| cast.into_whole(given.as_ref(), &key.data_type));
    cast.map_err(|error| error.at(what()))
}

/// Why the value of `given` at `row` was reported by [`door_cast`] as a misfit.
pub fn misfit_reason(given: &dyn Array, row: usize, to: &DataType) -> String {
    // A nested value of the very type is wrong only in what is beyond it inside.
    let text = if given.data_type() == to && to.is_nested() { INSIDE.to_owned() } else { text(given, row) };
    let text = match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    };
    format!("{text} does not fit {}", print_type(to))
}

/// The text of a value, also of one that is beyond its type.
fn text(given: &dyn Array, row: usize) -> String {
    let options = FormatOptions::new().with_display_error(false);
    let printed = |data_type: DataType| {
        let data = given.to_data().into_builder().data_type(data_type).build()?;
        ArrayFormatter::try_new(&arrow_array::make_array(data), &options)?.value(row).try_to_string()
    };
    let whole = printed(match *given.data_type() {
        // More digits than the precision would not be shown.
        DataType::Decimal32(_, scale) => DataType::Decimal32(DECIMAL32_MAX_PRECISION, scale),
        DataType::Decimal64(_, scale) => DataType::Decimal64(DECIMAL64_MAX_PRECISION, scale),
        DataType::Decimal128(_, scale) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale),
        DataType::Decimal256(_, scale) => DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale),
        ref same => same.clone(),
    });
    // What no calendar or clock prints is shown as its number, in the unit of its type.
    whole.unwrap_or_else(|_| match given.data_type() {
        DataType::Date32 | DataType::Time32(_) => printed(DataType::Int32).unwrap_or_default(),
        data_type if data_type.is_temporal() => printed(DataType::Int64).unwrap_or_default(),
        _ => INSIDE.to_owned(),
    })
}

/// How a value is called that is wrong in a part of it.
const INSIDE: &str = "a value inside it";

/// What becomes of a float that a narrower type does not hold exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floats {
    /// It is rounded to the nearest, but never to infinity.
    Nearest,
    /// It does not fit.
    Exact,
}

/// `given` as `to`, the stored type of a feature or the type of a key column; an error if no value of its type could
/// ever fit.
pub fn door_cast(given: &ArrayRef, to: &DataType, floats: Floats) -> Result<Cast> {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView};
    let from = given.data_type();
    if from == to {
        return Ok(Cast { values: given.clone(), misfits: beyond(given) });
    }
    match (from, to) {
        // What has no value is nulls of any type, whatever type its writer thought of.
        _ if given.logical_null_count() == given.len() => Ok(Cast::whole(new_null_array(to, given.len()))),
        (DataType::Dictionary(..), _) => {
            let dictionary = given.as_any_dictionary();
            let values = arrow_select::take::take(dictionary.values(), dictionary.keys(), None)?;
            door_cast(&values, to, floats)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => cast_struct(given, fields, floats),
        (DataType::Map(..), DataType::Map(..)) => cast_map(given, to, floats),
        (List(item) | LargeList(item), DataType::Map(..)) if is_entry(item.data_type()) => {
            door_cast(&entries_as_map(given)?, to, floats)
        }
        (
            List(_) | LargeList(_) | ListView(_) | LargeListView(_) | FixedSizeList(..),
            List(item) | LargeList(item) | FixedSizeList(item, _),
        ) => cast_list(given, to, item, floats),
        _ => match (Kind::of(from), Kind::of(to)) {
            (Some(Kind::Text), Some(Kind::Moment | Kind::TimeOfDay)) => text_as_times(given, to).map(Cast::within_type),
            (Some(Kind::Moment), Some(Kind::Moment)) => cast_moments(given, to).map(Cast::within_type),
            (Some(Kind::Number), Some(Kind::Number)) if floats == Floats::Nearest && narrows(from, to) => {
                nearest(given, to)
            }
            (Some(Kind::Bytes), Some(Kind::Bytes)) => bytes(given, to),
            (Some(from_kind), Some(to_kind)) if from_kind == to_kind && can_cast_types(from, to) => {
                there_and_back(given, to).map(Cast::within_type)
            }
            _ => Err(refused(from, to)),
        },
    }
}

/// Whether values are pairs: a library without maps writes one as a list of them.
fn is_entry(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Struct(fields) if fields.len() == 2)
}

/// Lists of pairs as maps of the first to the second.
fn entries_as_map(given: &ArrayRef) -> Result<ArrayRef> {
    let item = match given.data_type() {
        DataType::List(item) | DataType::LargeList(item) => item,
        other => return Err(Error::invalid(format!("{} is no list", print_type(other)))),
    };
    let lists = arrow_cast::cast(given, &DataType::List(Arc::clone(item)))?;
    let lists = lists.as_list::<i32>();
    let entries = lists.values().as_struct();
    if entries.null_count() > 0 || entries.column(0).logical_null_count() > 0 {
        return Err(Error::invalid("a map given as a list of pairs has a pair without a key"));
    }
    let [key, value] = [0, 1].map(|place| Arc::clone(entries.column(place)));
    let fields = Fields::from(vec![
        Field::new("key", key.data_type().clone(), false),
        Field::new("value", value.data_type().clone(), true),
    ]);
    let pairs = StructArray::try_new(fields.clone(), vec![key, value], None)?;
    let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    let map = MapArray::try_new(field, lists.offsets().clone(), pairs, lists.nulls().cloned(), false)?;
    Ok(Arc::new(map))
}

fn refused(from: &DataType, to: &DataType) -> Error {
    Error::invalid(format!(
        "has type {}, but is declared as {}; cast it before sending",
        print_type(from),
        print_type(to)
    ))
}

/// Plain types of which a value of one may be a value of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Moment,
    TimeOfDay,
    Duration,
    Text,
    Bytes,
}

impl Kind {
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            _ if integer(data_type).is_some() => Some(Self::Number),
            DataType::Boolean
            | DataType::Float16
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Some(Self::Number),
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Some(Self::Moment),
            DataType::Time32(_) | DataType::Time64(_) => Some(Self::TimeOfDay),
            DataType::Duration(_) => Some(Self::Duration),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Text),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Some(Self::Bytes)
            }
            _ => None,
        }
    }
}

/// Whether both are floats, and `to` holds less.
fn narrows(from: &DataType, to: &DataType) -> bool {
    match (from.is_floating(), to.is_floating()) {
        (true, true) => to.primitive_width() < from.primitive_width(),
        _ => false,
    }
}

/// Floats as narrower ones, each as the nearest; one that is finite does not fit where it would no longer be.
fn nearest(given: &ArrayRef, to: &DataType) -> Result<Cast> {
    let values = arrow_cast::cast(given, to)?;
    let wide = [given, &values].map(|array| arrow_cast::cast(array, &DataType::Float64));
    let [before, after] = wide;
    let (before, after) = (before?, after?);
    let (before, after) = (before.as_primitive::<Float64Type>(), after.as_primitive::<Float64Type>());
    let lost = |row: usize| before.is_valid(row) && before.value(row).is_finite() && !after.value(row).is_finite();
    let misfits = BooleanBuffer::collect_bool(given.len(), lost);
    Ok(Cast::checked(values, misfits))
}

/// Dates and timestamps as each other: a date is its midnight, and a time without a zone is UTC.
fn cast_moments(given: &ArrayRef, to: &DataType) -> Result<Cast> {
    let plain = match given.data_type() {
        DataType::Timestamp(unit, _) => relabel(given, &DataType::Timestamp(*unit, None))?,
        // In seconds no date is too far away.
        DataType::Date32 if !matches!(to, DataType::Date64) => {
            arrow_cast::cast(given, &DataType::Timestamp(TimeUnit::Second, None))?
        }
        DataType::Date64 if !matches!(to, DataType::Date32) => {
            relabel(given, &DataType::Timestamp(TimeUnit::Millisecond, None))?
        }
        _ => return there_and_back(given, to),
    };
    match to {
        DataType::Timestamp(unit, _) => {
            let cast = there_and_back(&plain, &DataType::Timestamp(*unit, None))?;
            Ok(Cast { values: relabel(&cast.values, to)?, misfits: cast.misfits })
        }
        _ => whole_days(&plain, to),
    }
}

/// Timestamps without a zone as dates: those that are a midnight.
fn whole_days(plain: &ArrayRef, to: &DataType) -> Result<Cast> {
    let DataType::Timestamp(unit, _) = plain.data_type() else { return Err(refused(plain.data_type(), to)) };
    let day = match unit {
        TimeUnit::Second => 86_400,
        TimeUnit::Millisecond => 86_400_000,
        TimeUnit::Microsecond => 86_400_000_000,
        TimeUnit::Nanosecond => 86_400_000_000_000,
    };
    let days = |time: i64| if time % day == 0 { i32::try_from(time / day).ok() } else { None };
    let times = relabel(plain, &DataType::Int64)?;
    let times = times.as_primitive::<Int64Type>();
    let misfits =
        BooleanBuffer::collect_bool(times.len(), |row| times.is_valid(row) && days(times.value(row)).is_none());
    let dates: Date32Array = times.iter().map(|time| time.and_then(days)).collect();
    Ok(Cast::checked(arrow_cast::cast(&dates, to)?, misfits))
}

/// Text as dates, times of day or timestamps; what is not such a text, or does not fit exactly, is a misfit.
fn text_as_times(given: &ArrayRef, to: &DataType) -> Result<Cast> {
    let text = arrow_cast::cast(given, &DataType::LargeUtf8)?;
    let numbers: Int64Array =
        text.as_string::<i64>().iter().map(|text| text.and_then(|text| time_number(text.trim(), to))).collect();
    let misfits = BooleanBuffer::collect_bool(given.len(), |row| given.is_valid(row) && numbers.is_null(row));
    let numbers: ArrayRef = match to {
        DataType::Date32 | DataType::Time32(_) => arrow_cast::cast(&numbers, &DataType::Int32)?,
        _ => Arc::new(numbers),
    };
    Ok(Cast::checked(relabel(&numbers, to)?, misfits))
}

/// Casts to `to` and back; the rows that do not come back as they were are misfits.
fn there_and_back(given: &ArrayRef, to: &DataType) -> Result<Cast> {
    if given.data_type() == to {
        return Ok(Cast::whole(given.clone()));
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let from = given.data_type();
    let there = cast_with_options(given, to, &options)?;
    if matches!(to, DataType::Utf8 | DataType::LargeUtf8) {
        return Ok(Cast::whole(there));
    }
    let back = cast_with_options(&there, from, &options)?;
    let misfits = arrow_ord::cmp::distinct(&back, given)?;
    Ok(Cast::checked(there, misfits.values().clone()))
}

/// Bytes as bytes of another layout; those of another length than a fixed one do not fit.
fn bytes(given: &ArrayRef, to: &DataType) -> Result<Cast> {
    // Arrow casts between any layout and this one.
    let plain = arrow_cast::cast(given, &DataType::LargeBinary)?;
    match to {
        DataType::FixedSizeBinary(_) => fixed_binary(&plain, to),
        _ => Ok(Cast::whole(arrow_cast::cast(&plain, to)?)),
    }
}

/// A plain binary array as a fixed-size one.
fn fixed_binary(plain: &ArrayRef, to: &DataType) -> Result<Cast> {
    let DataType::FixedSizeBinary(width) = *to else { return Err(refused(plain.data_type(), to)) };
    let binary = plain.as_binary::<i64>();
    let mut bytes = Vec::with_capacity(binary.len() * width as usize);
    let mut misfits = BooleanBufferBuilder::new(binary.len());
    for row in 0..binary.len() {
        let value: &[u8] = if binary.is_null(row) { &[] } else { binary.value(row) };
        let fits = value.len() == width as usize;
        misfits.append(!fits && binary.is_valid(row));
        if fits {
            bytes.extend_from_slice(value);
        } else {
            bytes.resize(bytes.len() + width as usize, 0);
        }
    }
    let values = arrow_array::FixedSizeBinaryArray::try_new(width, bytes.into(), binary.nulls().cloned())?;
    Ok(Cast::checked(Arc::new(values), misfits.finish()))
}

/// The same bytes under another type of the same layout.
pub(super) fn relabel(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let data = array.to_data().into_builder().data_type(to.clone()).build()?;
    Ok(arrow_array::make_array(data))
}

fn cast_struct(given: &ArrayRef, fields: &arrow_schema::Fields, floats: Floats) -> Result<Cast> {
    let given = given.as_struct();
    let mut misfits: Option<BooleanBuffer> = None;
    let mut columns = Vec::with_capacity(fields.len());
    let unknown = given.fields().iter().filter(|field| fields.find(field.name()).is_none());
    let unknown: Vec<String> = unknown.map(|field| format!("`{}`", field.name())).collect();
    if !unknown.is_empty() {
        let declared = listed(fields.iter().map(|field| field.name().as_str()));
        let unknown = unknown.join(", ");
        return Err(Error::invalid(format!(
            "has the struct fields {unknown}, which are not declared; those are {declared}"
        )));
    }
    for field in fields {
        let named = given.fields().iter().filter(|given| given.name() == field.name()).count();
        if named > 1 {
            return Err(Error::invalid(format!("has the struct field `{}` twice", field.name())));
        }
        let Some(column) = given.column_by_name(field.name()) else {
            columns.push(new_null_array(field.data_type(), given.len()));
            continue;
        };
        let cast = door_cast(column, field.data_type(), floats)
            .map_err(|error| error.at(format!("struct field `{}`", field.name())))?;
        columns.push(cast.values);
        misfits = either(misfits, cast.misfits);
    }
    let values = StructArray::try_new_with_length(fields.clone(), columns, given.nulls().cloned(), given.len())?;
    let misfits = within_valid(misfits, given.nulls());
    Ok(Cast { values: Arc::new(values), misfits })
}

fn cast_list(given: &ArrayRef, to: &DataType, item: &FieldRef, floats: Floats) -> Result<Cast> {
    let in_items = |error: Error| error.at("list item");
    // Views come as lists first, so that there is one way from here on.
    if let DataType::ListView(field) | DataType::LargeListView(field) = given.data_type() {
        let plain = arrow_cast::cast(given, &DataType::LargeList(field.clone()))?;
        return cast_list(&plain, to, item, floats);
    }
    if let (Some(given), DataType::FixedSizeList(_, length)) = (given.as_fixed_size_list_opt(), to)
        && given.value_length() == *length
    {
        let cast = door_cast(given.values(), item.data_type(), floats).map_err(in_items)?;
        let length = *length as usize;
        let misfits = of_lists(cast.misfits, given.len(), |row| row * length..(row + 1) * length);
        let values = FixedSizeListArray::try_new(item.clone(), length as i32, cast.values, given.nulls().cloned())?;
        return Ok(Cast { values: Arc::new(values), misfits: within_valid(misfits, given.nulls()) });
    }
    let large = match given.data_type() {
        DataType::LargeList(_) => given.clone(),
        DataType::List(field) | DataType::FixedSizeList(field, _) => {
            arrow_cast::cast(given, &DataType::LargeList(field.clone()))?
        }
        other => return Err(refused(other, to)),
    };
    let large: &LargeListArray = large.as_list();
    let (offsets, nulls) = (large.offsets(), large.nulls().cloned());
    let cast = door_cast(large.values(), item.data_type(), floats).map_err(in_items)?;
    let range = |row: usize| offsets[row] as usize..offsets[row + 1] as usize;
    let misfits = within_valid(of_lists(cast.misfits, large.len(), range), nulls.as_ref());
    let values: ArrayRef = match to {
        DataType::LargeList(_) => Arc::new(LargeListArray::try_new(item.clone(), offsets.clone(), cast.values, nulls)?),
        DataType::List(_) => {
            let first = offsets.first().copied().unwrap_or(0);
            let last = offsets.last().copied().unwrap_or(0);
            if i32::try_from(last - first).is_err() {
                return Err(Error::invalid("has more list items than 2^31; send it in smaller batches"));
            }
            let narrow: Vec<i32> = offsets.iter().map(|offset| (offset - first) as i32).collect();
            let items = cast.values.slice(first as usize, (last - first) as usize);
            Arc::new(ListArray::try_new(item.clone(), OffsetBuffer::new(narrow.into()), items, nulls)?)
        }
        _ => return fixed_list(large, &cast.values, to, item, misfits),
    };
    Ok(Cast { values, misfits })
}

/// Lists of variable length as lists of one length: a list of any other length is a misfit.
fn fixed_list(
    large: &LargeListArray,
    items: &ArrayRef,
    to: &DataType,
    item: &FieldRef,
    misfits: Option<BooleanBuffer>,
) -> Result<Cast> {
    let DataType::FixedSizeList(_, length) = *to else { return Err(refused(large.data_type(), to)) };
    let offsets = large.offsets();
    let fits = |row: usize| offsets[row + 1] - offsets[row] == i64::from(length);
    let mut taken: Vec<Option<u64>> = Vec::with_capacity(large.len() * length as usize);
    for row in 0..large.len() {
        let usable = large.is_valid(row) && fits(row);
        taken.extend((0..i64::from(length)).map(|place| usable.then(|| (offsets[row] + place) as u64)));
    }
    let items = arrow_select::take::take(items, &arrow_array::UInt64Array::from(taken), None)?;
    let values = FixedSizeListArray::try_new(item.clone(), length, items, large.nulls().cloned())?;
    let wrong = BooleanBuffer::collect_bool(large.len(), |row| large.is_valid(row) && !fits(row));
    let misfits = either(misfits, Some(wrong)).filter(|misfits| misfits.count_set_bits() > 0);
    Ok(Cast { values: Arc::new(values), misfits })
}

fn cast_map(given: &ArrayRef, to: &DataType, floats: Floats) -> Result<Cast> {
    let DataType::Map(entries, sorted) = to else { return Err(refused(given.data_type(), to)) };
    let Some((key, value)) = map_fields(entries) else { return Err(refused(given.data_type(), to)) };
    let given = given.as_map();
    if *sorted && !matches!(given.data_type(), DataType::Map(_, true)) {
        return Err(refused(given.data_type(), to));
    }
    let keys = door_cast(given.keys(), key.data_type(), floats).map_err(|error| error.at("map key"))?;
    let values = door_cast(given.values(), value.data_type(), floats).map_err(|error| error.at("map value"))?;
    let offsets = given.offsets();
    let range = |row: usize| offsets[row] as usize..offsets[row + 1] as usize;
    // A key is never null: neither as it was sent, nor as what a misfit becomes.
    let null_keys = keys.values.nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| !nulls.inner());
    let misfits = either(either(keys.misfits, null_keys), values.misfits);
    let misfits = within_valid(of_lists(misfits, given.len(), range), given.nulls());
    let DataType::Struct(fields) = entries.data_type() else { return Err(refused(given.data_type(), to)) };
    let keys = arrow_array::make_array(keys.values.to_data().into_builder().nulls(None).build()?);
    let entries_array = StructArray::try_new(fields.clone(), vec![keys, values.values], None)?;
    let map = MapArray::try_new(entries.clone(), offsets.clone(), entries_array, given.nulls().cloned(), *sorted)?;
    Ok(Cast { values: Arc::new(map), misfits })
}

#[cfg(test)]
mod tests;
