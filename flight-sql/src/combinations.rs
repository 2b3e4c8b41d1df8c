//! Every combination of some values of several columns: the entities that lists of key values name together.

use arrow_array::{ArrayRef, UInt32Array};
use arrow_select::take::take;
use datafusion::scalar::ScalarValue;
use firn_storage::error::{Error, Result};

use crate::error::from_datafusion;

/// So many entities are named at most by lists of their key values.
pub(crate) const ENTITIES_MAX: usize = 100_000;

/// The combinations of `columns`, each of at least one value, as one array for each column.
pub(crate) fn combinations(columns: Vec<Vec<ScalarValue>>) -> Result<Vec<ArrayRef>> {
    let all = columns.iter().try_fold(1_usize, |all, values| all.checked_mul(values.len()));
    let all = all.filter(|all| *all <= ENTITIES_MAX).ok_or_else(|| {
        Error::exhausted(format!(
            "the lists of key values name more than {ENTITIES_MAX} entities together: name fewer with one statement"
        ))
    })?;
    let mut repeat = all;
    let mut arrays = Vec::with_capacity(columns.len());
    for values in columns {
        let length = values.len();
        repeat /= length;
        let distinct = ScalarValue::iter_to_array(values).map_err(|error| from_datafusion(&error))?;
        let picks: UInt32Array = (0..all).map(|row| (row / repeat % length) as u32).collect();
        arrays.push(take(&distinct, &picks, None)?);
    }
    Ok(arrays)
}
