//! Casts at the door: a client's column as the type that its feature is stored in, where every value fits.
//!
//! A cast never changes a value. Within a family (integers, floats, strings, binaries, decimals, dates, times,
//! timestamps, durations, lists, structs, maps) any type is accepted for any other as long as each value survives the
//! way there and back; the rows whose value does not are reported one by one. A dictionary counts as its values and a
//! column of type `null` as nulls of any type. Everything else is refused as a whole. A column that already has the
//! type is passed on without a copy. Whatever the way, a value beyond the type that it ends in does not fit
//! (`beyond.rs`).

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, LargeListArray, ListArray, MapArray, StructArray, new_null_array,
};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, OffsetBuffer};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{
    DECIMAL32_MAX_PRECISION, DECIMAL64_MAX_PRECISION, DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType,
    FieldRef,
};

use super::beyond::{beyond, either, of_lists, within_valid};
use super::key::KeyColumn;
use super::types::{integer, map_fields, print_type};
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
            Some(row) => Err(Error::invalid(format!("row {row}: {}", misfit_reason(given, row, to)))),
        }
    }
}

/// The values of the key column `key` of `entity`, each of which names an entity, in its type. `what` says what they are, for
/// errors: `column "user"`.
pub fn key_values(given: &ArrayRef, entity: &str, key: &KeyColumn, what: &dyn Fn() -> String) -> Result<ArrayRef> {
    if let Some(nulls) = given.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
        let row = nulls.iter().position(|valid| !valid).expect("a null was counted");
        return Err(Error::invalid(format!(
            "row {row}: {}, the key column {} of entity {entity}, is null; every row needs a key",
            what(),
            key.name
        )));
    }
    let cast = door_cast(given, &key.data_type).and_then(|cast| cast.into_whole(given.as_ref(), &key.data_type));
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

/// `given` as `to`, the stored type of a feature or the type of a key column; an error if no value of its type could
/// ever fit.
pub fn door_cast(given: &ArrayRef, to: &DataType) -> Result<Cast> {
    let from = given.data_type();
    if from == to {
        return Ok(Cast { values: given.clone(), misfits: beyond(given) });
    }
    match (from, to) {
        (DataType::Null, _) => Ok(Cast::whole(new_null_array(to, given.len()))),
        (DataType::Dictionary(..), _) => {
            let dictionary = given.as_any_dictionary();
            let values = arrow_select::take::take(dictionary.values(), dictionary.keys(), None)?;
            door_cast(&values, to)
        }
        (DataType::Timestamp(from_unit, _), DataType::Timestamp(to_unit, _)) => {
            let plain = relabel(given, &DataType::Timestamp(*from_unit, None))?;
            let cast = there_and_back(&plain, &DataType::Timestamp(*to_unit, None))?;
            Ok(Cast { values: relabel(&cast.values, to)?, misfits: cast.misfits }.within_type())
        }
        (DataType::Struct(_), DataType::Struct(fields)) => cast_struct(given, fields),
        (DataType::Map(..), DataType::Map(..)) => cast_map(given, to),
        (
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::FixedSizeList(..),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
        ) => cast_list(given, to, item),
        _ if same_family(from, to) => there_and_back(given, to).map(Cast::within_type),
        _ => Err(refused(from, to)),
    }
}

fn refused(from: &DataType, to: &DataType) -> Error {
    Error::invalid(format!(
        "has type {}, but is declared as {}; cast it before sending",
        print_type(from),
        print_type(to)
    ))
}

/// Whether values of one plain type may fit another.
fn same_family(from: &DataType, to: &DataType) -> bool {
    let family = |data_type: &DataType| match data_type {
        _ if integer(data_type).is_some() => Some(0),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Some(1),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(2),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Some(3),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            Some(4)
        }
        DataType::Date32 | DataType::Date64 => Some(5),
        DataType::Time32(_) | DataType::Time64(_) => Some(6),
        DataType::Duration(_) => Some(7),
        _ => None,
    };
    family(from).is_some() && family(from) == family(to)
}

/// Casts to `to` and back; the rows that do not come back as they were are misfits.
fn there_and_back(given: &ArrayRef, to: &DataType) -> Result<Cast> {
    if given.data_type() == to {
        return Ok(Cast::whole(given.clone()));
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let from = given.data_type();
    if let DataType::FixedSizeBinary(_) = to {
        let plain = cast_with_options(given, &DataType::Binary, &options)?;
        return fixed_binary(&plain, to);
    }
    let there = cast_with_options(given, to, &options)?;
    let layouts = matches!(
        to,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_)
    );
    if layouts {
        return Ok(Cast::whole(there));
    }
    let back = cast_with_options(&there, from, &options)?;
    let misfits = arrow_ord::cmp::distinct(&back, given)?;
    Ok(Cast::checked(there, misfits.values().clone()))
}

/// A plain binary array as a fixed-size one.
fn fixed_binary(plain: &ArrayRef, to: &DataType) -> Result<Cast> {
    let DataType::FixedSizeBinary(width) = *to else { return Err(refused(plain.data_type(), to)) };
    let binary = plain.as_binary::<i32>();
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

fn cast_struct(given: &ArrayRef, fields: &arrow_schema::Fields) -> Result<Cast> {
    let given = given.as_struct();
    let mut misfits: Option<BooleanBuffer> = None;
    let mut columns = Vec::with_capacity(fields.len());
    if let Some(unknown) = given.fields().iter().find(|field| fields.find(field.name()).is_none()) {
        return Err(Error::invalid(format!("has a struct field `{}` that is not declared", unknown.name())));
    }
    if given.num_columns() != fields.len() {
        let missing = fields.iter().find(|field| given.column_by_name(field.name()).is_none());
        let missing = missing.map_or("each once", |field| field.name());
        return Err(Error::invalid(format!("does not have the struct fields as declared: {missing}")));
    }
    for field in fields {
        let Some(column) = given.column_by_name(field.name()) else {
            return Err(Error::invalid(format!("lacks the struct field `{}`", field.name())));
        };
        let cast = door_cast(column, field.data_type())
            .map_err(|error| error.at(format!("struct field `{}`", field.name())))?;
        columns.push(cast.values);
        misfits = either(misfits, cast.misfits);
    }
    let values = StructArray::try_new_with_length(fields.clone(), columns, given.nulls().cloned(), given.len())?;
    let misfits = within_valid(misfits, given.nulls());
    Ok(Cast { values: Arc::new(values), misfits })
}

fn cast_list(given: &ArrayRef, to: &DataType, item: &FieldRef) -> Result<Cast> {
    let in_items = |error: Error| error.at("list item");
    // Views come as lists first, so that there is one way from here on.
    if let DataType::ListView(field) | DataType::LargeListView(field) = given.data_type() {
        let plain = arrow_cast::cast(given, &DataType::LargeList(field.clone()))?;
        return cast_list(&plain, to, item);
    }
    if let (Some(given), DataType::FixedSizeList(_, length)) = (given.as_fixed_size_list_opt(), to) {
        if given.value_length() != *length {
            return Err(refused(given.data_type(), to));
        }
        let cast = door_cast(given.values(), item.data_type()).map_err(in_items)?;
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
    let cast = door_cast(large.values(), item.data_type()).map_err(in_items)?;
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

fn cast_map(given: &ArrayRef, to: &DataType) -> Result<Cast> {
    let DataType::Map(entries, sorted) = to else { return Err(refused(given.data_type(), to)) };
    let Some((key, value)) = map_fields(entries) else { return Err(refused(given.data_type(), to)) };
    let given = given.as_map();
    if *sorted && !matches!(given.data_type(), DataType::Map(_, true)) {
        return Err(refused(given.data_type(), to));
    }
    let keys = door_cast(given.keys(), key.data_type()).map_err(|error| error.at("map key"))?;
    let values = door_cast(given.values(), value.data_type()).map_err(|error| error.at("map value"))?;
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
