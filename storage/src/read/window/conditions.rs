//! Which events of a block count for an aggregate: those that meet all of its conditions.

use arrow_array::{Array, ArrayRef, BooleanArray, Datum, Scalar};
use arrow_buffer::BooleanBuffer;
use arrow_ord::cmp;
use arrow_schema::{ArrowError, DataType};
use serde_json::Value;

use super::inputs::{Inputs, comparable};
use crate::error::{Error, Result};
use crate::model::aggregate::{Condition, Input, Test, feature_of};
use crate::model::catalog::Table;
use crate::model::value::one_from_json;

/// The events that meet `conditions` of an aggregate of `table`; `None` if there are no conditions, and all do.
pub(super) fn met(
    table: &Table,
    conditions: &[Condition],
    inputs: &Inputs,
    cells: &[ArrayRef],
) -> Result<Option<BooleanBuffer>> {
    let mut met: Option<BooleanBuffer> = None;
    for Condition { feature, test } in conditions {
        let cells = &cells[inputs.place(Input::Feature(*feature))];
        let passes = passes(test, cells, &feature_of(table, *feature).stored_type())?;
        met = Some(match met {
            Some(met) => &met & &passes,
            None => passes,
        });
    }
    Ok(met)
}

/// The cells that `test` lets through. Null and absent pass nothing but a test for them.
fn passes(test: &Test, cells: &ArrayRef, stored: &DataType) -> Result<BooleanBuffer> {
    let compared = comparable(cells);
    let with = |value: &Value, compare: fn(&dyn Datum, &dyn Datum) -> Compared| {
        let value = Scalar::new(comparable(&one_from_json(value, stored)?));
        Ok::<_, Error>(compare(&compared, &value)?)
    };
    let any = |values: &[Value]| {
        let mut any = BooleanBuffer::new_unset(cells.len());
        for value in values {
            any = &any | &is_true(&with(value, cmp::eq)?);
        }
        Ok::<_, Error>(any)
    };
    Ok(match test {
        Test::Is(value) => is_true(&with(value, cmp::eq)?),
        Test::Ne(value) => is_true(&with(value, cmp::neq)?),
        Test::Lt(value) => is_true(&with(value, cmp::lt)?),
        Test::Le(value) => is_true(&with(value, cmp::lt_eq)?),
        Test::Gt(value) => is_true(&with(value, cmp::gt)?),
        Test::Ge(value) => is_true(&with(value, cmp::gt_eq)?),
        Test::In(values) => any(values)?,
        Test::NotIn(values) => {
            let none = !&any(values)?;
            &none & &!&is_null(cells)
        }
        Test::IsNull(true) => is_null(cells),
        Test::IsNull(false) => !&is_null(cells),
    })
}

type Compared = std::result::Result<BooleanArray, ArrowError>;

fn is_true(compared: &BooleanArray) -> BooleanBuffer {
    match compared.nulls() {
        Some(nulls) => compared.values() & nulls.inner(),
        None => compared.values().clone(),
    }
}

fn is_null(cells: &ArrayRef) -> BooleanBuffer {
    match cells.logical_nulls() {
        Some(nulls) => !nulls.inner(),
        None => BooleanBuffer::new_unset(cells.len()),
    }
}
