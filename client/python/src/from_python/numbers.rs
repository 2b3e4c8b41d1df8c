//! Numbers: floats, integers and Decimals, each exactly, and mixed ones where that is possible.

use std::sync::Arc;

use arrow_array::{ArrayRef, Decimal128Array, Decimal256Array, Float64Array, Int64Array, UInt64Array};
use arrow_buffer::i256;
use arrow_schema::DataType;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};

use super::{Builder, Cell, shown};
use crate::to_python::imported;

/// Every integer up to this has a float64 of its own.
const EXACT_IN_FLOAT: i128 = 1 << 53;

impl<'py> Builder<'_, 'py> {
    /// Floats alone, which are most of what there is, in one pass.
    pub(super) fn floats(&self, cells: &[Cell<'py>], declared: Option<&DataType>) -> PyResult<Option<ArrayRef>> {
        let gaps = self.missing || declared.is_some_and(|declared| !declared.is_floating());
        let mut values = Vec::with_capacity(cells.len());
        let mut any = false;
        for cell in cells {
            let Some(value) = &cell.value else {
                values.push(None);
                continue;
            };
            if value.is_none() {
                values.push(None);
            } else if let Ok(float) = value.cast_exact::<PyFloat>() {
                any = true;
                values.push(Some(float.extract::<f64>()?).filter(|float| !(gaps && float.is_nan())));
            } else {
                return Ok(None);
            }
        }
        let whole =
            any && values.iter().any(Option::is_some) && !matches!(declared, Some(nested) if nested.is_nested());
        Ok(whole.then(|| Arc::new(Float64Array::from(values)) as ArrayRef))
    }

    pub(super) fn integers(&self, cells: &[Cell<'py>]) -> PyResult<ArrayRef> {
        if let Ok(values) = self.each(cells, |_, value| value.extract::<i64>()) {
            return Ok(Arc::new(Int64Array::from(values)));
        }
        match self.each(cells, |_, value| value.extract::<u64>()) {
            Ok(values) => Ok(Arc::new(UInt64Array::from(values))),
            Err(_) => self.decimals(cells),
        }
    }

    /// Integers and floats: floats, unless integers were declared and all are whole.
    pub(super) fn mixed_numbers(&self, cells: &[Cell<'py>], declared: Option<&DataType>) -> PyResult<ArrayRef> {
        let mut inexact = None;
        let floats = self.each(cells, |row, value| {
            if value.is_instance_of::<PyInt>()
                && value.extract::<i128>().is_ok_and(|whole| whole.abs() > EXACT_IN_FLOAT)
            {
                inexact.get_or_insert(row);
            }
            match value.extract::<f64>() {
                Err(error) if error.is_instance_of::<PyOverflowError>(self.py) => {
                    inexact.get_or_insert(row);
                    Ok(f64::INFINITY)
                }
                float => float,
            }
        })?;
        let Some(row) = inexact else { return Ok(Arc::new(Float64Array::from(floats))) };
        let whole = self.each(cells, |_, value| {
            let float = value.extract::<f64>()?;
            if value.is_instance_of::<PyFloat>() && float.fract() == 0.0 {
                Ok(Some(float as i64))
            } else {
                Ok(value.extract::<i64>().ok())
            }
        })?;
        let integers: Option<Vec<Option<i64>>> =
            whole.into_iter().map(|value| value.map_or(Some(None), |value| value.map(Some))).collect();
        match integers {
            Some(values) if declared.is_some_and(DataType::is_integer) => Ok(Arc::new(Int64Array::from(values))),
            _ => {
                Err(self
                    .refused(row, "among floats an integer this large is not exact; give all as ints or as Decimals"))
            }
        }
    }

    pub(super) fn decimals(&self, cells: &[Cell<'py>]) -> PyResult<ArrayRef> {
        let parts = imported(self.py, "firndb.plain", "decimal_parts")?;
        let parts = self.each(cells, |row, value| {
            let (digits, scale): (String, i16) = parts
                .call1((value,))?
                .extract::<Option<_>>()?
                .ok_or_else(|| self.refused(row, format!("{} is no number with up to 76 digits", shown(value))))?;
            Ok((row, digits, scale))
        })?;
        let scale = parts.iter().flatten().map(|(_, _, scale)| *scale).max().unwrap_or(0).max(0);
        let mut values = Vec::with_capacity(parts.len());
        for part in parts {
            let Some((row, digits, own)) = part else {
                values.push(None);
                continue;
            };
            let digits = format!("{digits}{}", "0".repeat((scale - own) as usize));
            let long = digits.trim_start_matches('-').len() > 76;
            let value = if long { None } else { i256::from_string(&digits) };
            let value = value
                .ok_or_else(|| self.refused(row, "the column needs more than 76 digits for all of its Decimals"))?;
            values.push(Some(value));
        }
        if let Some(narrow) = narrowed(&values, scale) {
            return Ok(narrow);
        }
        let array = Decimal256Array::from(values).with_precision_and_scale(76, i8::try_from(scale).unwrap_or(i8::MAX));
        Ok(Arc::new(array.map_err(crate::table::wrong)?))
    }
}

/// Decimals of 38 digits at most, which most are.
fn narrowed(values: &[Option<i256>], scale: i16) -> Option<ArrayRef> {
    let narrow = values.iter().map(|value| match value {
        None => Some(None),
        Some(value) => value.to_i128().map(Some),
    });
    let array: Decimal128Array = narrow.collect::<Option<Vec<Option<i128>>>>()?.into();
    let array = array.with_precision_and_scale(38, i8::try_from(scale).ok()?).ok()?;
    array.validate_decimal_precision(38).ok()?;
    Some(Arc::new(array))
}
