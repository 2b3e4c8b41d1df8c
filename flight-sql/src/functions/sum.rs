//! Sums of integers that do not fit are an error: DataFusion's own sum wraps.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Decimal128Array, Int64Array, UInt64Array};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};
use datafusion::scalar::ScalarValue;

use super::distinct_sum::DistinctSum;
use crate::error::{invalid, through};
use crate::types;

/// What a sum is kept in until it is answered: no number of rows makes it wrap.
const STATE: DataType = DataType::Decimal128(38, 0);

/// `sum`, exact for integers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ExactSum {
    inner: Arc<AggregateUDF>,
}

impl ExactSum {
    /// In place of `inner`, which sums whatever is no integer.
    pub(super) fn new(inner: Arc<AggregateUDF>) -> Self {
        Self { inner }
    }
}

/// Whether sums that are answered in `data_type` are ours.
fn is_ours(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::UInt64)
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        match is_ours(arguments.return_field.data_type()) && !arguments.is_distinct {
            true => Ok(vec![Arc::new(Field::new(format!("{}[sum]", arguments.name), STATE, true))]),
            false => self.inner.state_fields(arguments),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let data_type = arguments.return_field.data_type().clone();
        match is_ours(&data_type) {
            true if arguments.is_distinct => Ok(Box::new(DistinctSum::new(data_type))),
            true => Ok(Box::new(Sum { data_type, sum: 0, count: 0 })),
            false => self.inner.accumulator(arguments),
        }
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match is_ours(arguments.return_field.data_type()) {
            true => self.accumulator(arguments),
            false => self.inner.create_sliding_accumulator(arguments),
        }
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        match is_ours(arguments.return_field.data_type()) {
            true => !arguments.is_distinct,
            false => self.inner.groups_accumulator_supported(arguments),
        }
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let data_type = arguments.return_field.data_type().clone();
        match is_ours(&data_type) {
            true => Ok(Box::new(Sums { data_type, sums: Vec::new(), seen: Vec::new() })),
            false => self.inner.create_groups_accumulator(arguments),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// The integers of `array`, or sums as they are kept.
pub(super) fn each(array: &ArrayRef, mut add: impl FnMut(usize, i128)) {
    macro_rules! all {
        ($kind:ty) => {{
            let values = array.as_primitive::<$kind>();
            match values.nulls() {
                None => values.values().iter().enumerate().for_each(|(row, value)| add(row, i128::from(*value))),
                Some(nulls) => nulls.valid_indices().for_each(|row| add(row, i128::from(values.value(row)))),
            }
        }};
    }
    match array.data_type() {
        DataType::Int64 => all!(Int64Type),
        DataType::UInt64 => all!(UInt64Type),
        _ => all!(Decimal128Type),
    }
}

fn too_great(sum: i128, data_type: &DataType) -> datafusion::error::DataFusionError {
    let name = types::name(data_type);
    through(invalid(format!("the sum is {sum}, which no {name} can be: sum CAST(… AS DECIMAL(38, 0))")))
}

/// A sum as it is answered; an error if it is none of `data_type`.
pub(super) fn integer(sum: Option<i128>, data_type: &DataType) -> Result<ScalarValue> {
    let too_great = |_| too_great(sum.unwrap_or_default(), data_type);
    Ok(match data_type {
        DataType::UInt64 => ScalarValue::UInt64(sum.map(u64::try_from).transpose().map_err(too_great)?),
        _ => ScalarValue::Int64(sum.map(i64::try_from).transpose().map_err(too_great)?),
    })
}

/// One sum.
#[derive(Debug)]
struct Sum {
    data_type: DataType,
    sum: i128,
    count: usize,
}

impl Accumulator for Sum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Self { sum, count, .. } = self;
        *count += values[0].len() - values[0].null_count();
        each(&values[0], |_, value| *sum += value);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Self { sum, count, .. } = self;
        *count -= values[0].len() - values[0].null_count();
        each(&values[0], |_, value| *sum -= value);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        integer((self.count > 0).then_some(self.sum), &self.data_type)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Decimal128((self.count > 0).then_some(self.sum), 38, 0)])
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// A sum of each group.
#[derive(Debug)]
struct Sums {
    data_type: DataType,
    sums: Vec<i128>,
    seen: Vec<bool>,
}

impl Sums {
    fn take(&mut self, emit_to: EmitTo) -> impl Iterator<Item = Option<i128>> {
        let (sums, seen) = (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.seen));
        sums.into_iter().zip(seen).map(|(sum, seen)| seen.then_some(sum))
    }
}

impl GroupsAccumulator for Sums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums.resize(total_num_groups, 0);
        self.seen.resize(total_num_groups, false);
        each(&values[0], |row, value| {
            if opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)) {
                self.sums[group_indices[row]] += value;
                self.seen[group_indices[row]] = true;
            }
        });
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let data_type = self.data_type.clone();
        let sums = self.take(emit_to);
        Ok(match data_type {
            DataType::UInt64 => {
                let fits = |sum: i128| u64::try_from(sum).map_err(|_| too_great(sum, &data_type));
                Arc::new(sums.map(|sum| sum.map(fits).transpose()).collect::<Result<UInt64Array>>()?)
            }
            _ => {
                let fits = |sum: i128| i64::try_from(sum).map_err(|_| too_great(sum, &data_type));
                Arc::new(sums.map(|sum| sum.map(fits).transpose()).collect::<Result<Int64Array>>()?)
            }
        })
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let sums: Decimal128Array = self.take(emit_to).collect();
        Ok(vec![Arc::new(sums.with_precision_and_scale(38, 0)?)])
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut sums = vec![None; values[0].len()];
        each(&values[0], |row, value| {
            if opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)) {
                sums[row] = Some(value);
            }
        });
        Ok(vec![Arc::new(Decimal128Array::from(sums).with_precision_and_scale(38, 0)?)])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.seen.capacity()
    }
}
