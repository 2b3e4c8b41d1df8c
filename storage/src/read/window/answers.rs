//! The answers of one output, as its windows end: values, statuses, and the event times of what counted last.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Decimal128Array, Decimal256Array, Float64Array, Int64Array, ListArray, StructArray, UInt32Array,
    UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, i256};
use arrow_cast::cast;
use arrow_schema::{DataType, Field};
use arrow_select::take::take;

use super::inputs::comparable;
use super::reckon::{Reckoned, Sum};
use crate::error::{Error, Result};
use crate::model::aggregate::{Aggregate, Function};
use crate::model::types::{as_declared, print_type};

/// What came of the windows that ended in a block, in their order.
#[derive(Debug)]
pub(super) enum Answers {
    Floats(Vec<Option<f64>>),
    Integers(Vec<Option<i256>>),
    /// Places of events of the block, for each window.
    Picks(Vec<Vec<u32>>),
}

impl Answers {
    /// None yet of windows that are reckoned as `reckoned` is.
    pub(super) fn new(aggregate: &Aggregate, reckoned: &Reckoned) -> Self {
        match (&reckoned.sum, &aggregate.function) {
            (Sum::Picks(_), _) => Self::Picks(Vec::new()),
            (Sum::Floats(_), _) | (_, Function::Avg) => Self::Floats(Vec::new()),
            (Sum::Count(_) | Sum::Integers(_), _) => Self::Integers(Vec::new()),
        }
    }

    /// Puts in what a window came to; `scale` is that of the input if it is a decimal.
    pub(super) fn end(&mut self, reckoned: Reckoned, function: &Function, scale: i8) {
        let counted = reckoned.newest.is_some();
        match (self, reckoned.sum) {
            (Self::Picks(all), Sum::Picks(mut picks)) => {
                if matches!(function, Function::First(_)) {
                    picks.reverse();
                }
                all.push(picks);
            }
            (Self::Floats(all), Sum::Floats(sum)) if *function == Function::Avg => all.push(sum.average()),
            (Self::Floats(all), Sum::Floats(sum)) => all.push(counted.then(|| sum.sum())),
            (Self::Floats(all), Sum::Integers(sum)) => all.push(sum.average(scale)),
            (Self::Integers(all), Sum::Count(count)) => all.push(Some(i256::from_i128(i128::from(count)))),
            // What 256 bits do not hold, no type does.
            (Self::Integers(all), Sum::Integers(sum)) => all.push(counted.then(|| sum.total().unwrap_or(i256::MAX))),
            (all, sum) => unreachable!("{sum:?} is no answer of {all:?}"),
        }
    }

    /// The answers as an array of `data_type`; `cells` are those of the events, of each input of `aggregate`. Errs with the window
    /// whose answer the type does not hold.
    pub(super) fn finish(
        self,
        aggregate: &Aggregate,
        data_type: &DataType,
        cells: &[ArrayRef],
    ) -> Result<std::result::Result<ArrayRef, usize>> {
        Ok(match self {
            Self::Floats(values) => Ok(Arc::new(Float64Array::from(values))),
            Self::Integers(values) => integers(&values, data_type)?,
            Self::Picks(picks) => Ok(picked(aggregate, data_type, cells, &picks)?),
        })
    }
}

/// Whole numbers as `data_type`, or the place of one that it does not hold.
fn integers(values: &[Option<i256>], data_type: &DataType) -> Result<std::result::Result<ArrayRef, usize>> {
    let fits = |value: i256| match data_type {
        DataType::UInt64 => value.to_i128().is_some_and(|value| u64::try_from(value).is_ok()),
        DataType::Decimal128(..) => value.to_i128().is_some_and(|value| value.unsigned_abs() < 10u128.pow(38)),
        DataType::Decimal256(..) => {
            let limit = i256::from_i128(10).checked_pow(76).expect("10 to the 76 fits");
            value < limit && value > -limit
        }
        _ => value.to_i128().is_some_and(|value| i64::try_from(value).is_ok()),
    };
    if let Some(place) = values.iter().position(|value| value.is_some_and(|value| !fits(value))) {
        return Ok(Err(place));
    }
    let narrow = || values.iter().map(|value| value.and_then(i256::to_i128));
    Ok(Ok(match data_type {
        DataType::UInt64 => Arc::new(narrow().map(|value| value.map(|value| value as u64)).collect::<UInt64Array>()),
        DataType::Decimal128(precision, scale) => {
            Arc::new(narrow().collect::<Decimal128Array>().with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Decimal256(precision, scale) => {
            let values = values.iter().copied().collect::<Decimal256Array>();
            Arc::new(values.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Int64 => Arc::new(narrow().map(|value| value.map(|value| value as i64)).collect::<Int64Array>()),
        duration => {
            let micros = narrow().map(|value| value.map(|value| value as i64)).collect::<Int64Array>();
            cast(&micros, duration)?
        }
    }))
}

/// The cells of the events that were picked, by themselves or as lists.
fn picked(aggregate: &Aggregate, data_type: &DataType, cells: &[ArrayRef], picks: &[Vec<u32>]) -> Result<ArrayRef> {
    let (one, lists) = match data_type {
        DataType::List(item) if aggregate.lists() => (item.data_type(), true),
        one => (one, false),
    };
    let places: UInt32Array = match lists {
        true => picks.iter().flatten().copied().map(Some).collect(),
        false => picks.iter().map(|picks| picks.first().copied()).collect(),
    };
    // What is listed once stands for all that equal it.
    let taken = |cells: &ArrayRef| {
        let taken = take(cells, &places, None)?;
        Ok::<_, Error>(if aggregate.is_distinct() { comparable(&taken) } else { taken })
    };
    let values = match (cells, one) {
        ([cells], one) => as_declared(taken(cells)?, one)?,
        (cells, DataType::Struct(fields)) => {
            let columns = cells.iter().zip(fields).map(|(cells, field)| as_declared(taken(cells)?, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let nulls = places.nulls().map(|nulls| NullBuffer::new(nulls.inner().clone()));
            Arc::new(StructArray::try_new(fields.clone(), columns, nulls)?)
        }
        _ => unreachable!("several columns are a struct"),
    };
    if !lists {
        return Ok(values);
    }
    let offsets = OffsetBuffer::from_lengths(picks.iter().map(Vec::len));
    let item = Arc::new(Field::new("item", one.clone(), true));
    Ok(Arc::new(ListArray::try_new(item, offsets, values, None)?))
}

/// The error for a sum that its type does not hold.
pub(super) fn too_large(row: u32, name: &str, data_type: &DataType) -> Error {
    let hint = match data_type {
        DataType::Int64 | DataType::UInt64 => "; declare the sum with \"type\":\"decimal128(38, 0)\"",
        _ => "",
    };
    Error::out_of_range(format!("row {row}: {name} is a sum that {} does not hold{hint}", print_type(data_type)))
}
