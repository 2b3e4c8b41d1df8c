//! The sum of the distinct values among integers, exact: DataFusion's own wraps.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::sum::{each, integer};

/// The distinct values so far.
#[derive(Debug)]
pub(super) struct DistinctSum {
    data_type: DataType,
    /// How often each was met.
    counts: HashMap<i128, usize>,
}

impl DistinctSum {
    /// None yet, of a sum that is answered in `data_type`.
    pub(super) fn new(data_type: DataType) -> Self {
        Self { data_type, counts: HashMap::new() }
    }
}

impl Accumulator for DistinctSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(&values[0], |_, value| *self.counts.entry(value).or_default() += 1);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        (0..lists.len()).filter(|&row| lists.is_valid(row)).try_for_each(|row| self.update_batch(&[lists.value(row)]))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(&values[0], |_, value| {
            let count = self.counts.get_mut(&value).expect("only what was met leaves again");
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&value);
            }
        });
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        // Fewer than 2^64 values of 64 bits each: their sum has at most 128.
        integer((!self.counts.is_empty()).then(|| self.counts.keys().sum()), &self.data_type)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = self.counts.keys().map(|&value| integer(Some(value), &self.data_type));
        let values: Vec<ScalarValue> = values.collect::<Result<_>>()?;
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.data_type))])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * size_of::<(i128, usize)>()
    }
}
