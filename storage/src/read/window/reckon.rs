//! What an aggregate comes to: taken up event by event, the newest first, and answered once.
//!
//! Sums are exact (`firn_exact`), all else are places among the events of a block. So nothing depends on how events were cut into
//! blocks, or on the order of those that are equal.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Decimal256Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Decimal128Array, Decimal256Array, Float64Array};
use arrow_buffer::BooleanBuffer;
use arrow_cast::cast;
use arrow_ord::ord::{DynComparator, make_comparator};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{DataType, SortOptions};
use firn_exact::{FloatSum, IntegerSum};

use super::conditions::met;
use super::inputs::{Inputs, comparable};
use crate::error::Result;
use crate::model::aggregate::{Aggregate, Ends, Function, Input};
use crate::model::catalog::Table;
use crate::time::Micros;

/// An aggregate, with what a block of events has for it.
pub(super) struct Block<'a> {
    aggregate: &'a Aggregate,
    /// The events that count; all do if it is missing.
    counts: Option<BooleanBuffer>,
    values: Values,
}

/// What is looked at of each event.
enum Values {
    None,
    Floats(Float64Array),
    Integers(Decimal128Array),
    Wide(Decimal256Array),
    Ordered(DynComparator),
    /// Equal for values that are.
    Keys(Rows),
}

/// What an aggregate comes to so far.
#[derive(Debug, Clone)]
pub(super) enum Sum {
    Count(u64),
    Floats(Box<FloatSum>),
    Integers(Box<IntegerSum>),
    /// Places of events.
    Picks(Vec<u32>),
}

/// What a window came to so far.
#[derive(Debug, Clone)]
pub(super) struct Reckoned {
    pub(super) sum: Sum,
    /// The event time of the newest event that counted.
    pub(super) newest: Option<Micros>,
}

impl<'a> Block<'a> {
    /// Of the `cells` of the inputs of some events.
    pub(super) fn new(aggregate: &'a Aggregate, table: &Table, inputs: &Inputs, cells: &[ArrayRef]) -> Result<Self> {
        let of: Vec<&ArrayRef> = aggregate.of.iter().map(|input| &cells[inputs.place(*input)]).collect();
        let met = met(table, &aggregate.conditions, inputs, cells)?;
        let counts = match (met, present(aggregate, &of)) {
            (Some(met), Some(present)) => Some(&met & &present),
            (met, present) => met.or(present),
        };
        Ok(Self { aggregate, counts, values: Values::of(&aggregate.function, &of)? })
    }

    fn does_count(&self, event: usize) -> bool {
        self.counts.as_ref().is_none_or(|counts| counts.value(event))
    }

    /// Takes up the events `range` of the block, at `event_times`.
    pub(super) fn take_up(&self, reckoned: &mut Reckoned, range: Range<usize>, event_times: &[Micros]) {
        if reckoned.newest.is_none() {
            reckoned.newest = range.clone().find(|event| self.does_count(*event)).map(|event| event_times[event]);
        }
        let events = range.clone().filter(|event| self.does_count(*event));
        match (&mut reckoned.sum, &self.values) {
            (Sum::Count(count), _) => {
                *count += match &self.counts {
                    Some(counts) => counts.slice(range.start, range.len()).count_set_bits() as u64,
                    None => range.len() as u64,
                };
            }
            (Sum::Floats(sum), Values::Floats(values)) => events.for_each(|event| sum.add(values.value(event))),
            (Sum::Integers(sum), Values::Integers(values)) => events.for_each(|event| sum.add(values.value(event))),
            (Sum::Integers(sum), Values::Wide(values)) => events.for_each(|event| sum.add_wide(values.value(event))),
            (Sum::Picks(picks), values) => events.for_each(|event| self.pick(picks, event as u32, values)),
            (Sum::Floats(_) | Sum::Integers(_), _) => unreachable!("a sum takes up its own numbers"),
        }
    }

    fn pick(&self, picks: &mut Vec<u32>, event: u32, values: &Values) {
        let equal = |one: u32, other: u32| match values {
            Values::Keys(keys) => keys.row(one as usize) == keys.row(other as usize),
            _ => unreachable!("what is listed once has keys"),
        };
        match &self.aggregate.function {
            Function::Min | Function::Max => {
                let Values::Ordered(compare) = values else { unreachable!("what has an order is compared") };
                let wins = picks.first().is_none_or(|best| {
                    let order = compare(event as usize, *best as usize);
                    if self.aggregate.function == Function::Min { order.is_lt() } else { order.is_gt() }
                });
                if wins {
                    *picks = vec![event];
                }
            }
            Function::Last(Ends { n, distinct, .. }) => {
                let most = n.unwrap_or(1) as usize;
                if picks.len() < most && !(*distinct && picks.iter().any(|known| equal(*known, event))) {
                    picks.push(event);
                }
            }
            Function::First(Ends { n, distinct, .. }) => {
                if *distinct {
                    picks.retain(|known| !equal(*known, event));
                }
                picks.push(event);
                if picks.len() > n.unwrap_or(1) as usize {
                    picks.remove(0);
                }
            }
            Function::Count | Function::Sum { .. } | Function::Avg => unreachable!("numbers are added up"),
        }
    }
}

impl Reckoned {
    /// Nothing of `aggregate` yet, whose input is stored as `stored`, if it has one.
    pub(super) fn new(aggregate: &Aggregate, stored: Option<&DataType>) -> Self {
        let sum = match &aggregate.function {
            Function::Count => Sum::Count(0),
            Function::Sum { .. } | Function::Avg if stored.is_some_and(DataType::is_floating) => {
                Sum::Floats(Box::default())
            }
            Function::Sum { .. } | Function::Avg => Sum::Integers(Box::default()),
            _ => Sum::Picks(Vec::new()),
        };
        Self { sum, newest: None }
    }

    /// The places of the events that it holds on to.
    pub(super) fn places(&self) -> impl Iterator<Item = u32> + '_ {
        let picks = match &self.sum {
            Sum::Picks(picks) => picks.as_slice(),
            _ => &[],
        };
        picks.iter().copied()
    }

    /// The events that were `kept`, in their order, are all that is left.
    pub(super) fn moved(&mut self, kept: &[u32]) {
        if let Sum::Picks(picks) = &mut self.sum {
            for pick in picks {
                *pick = kept.binary_search(pick).expect("what it holds on to was kept") as u32;
            }
        }
    }
}

/// The events that have what is reckoned of; `None` if all have.
fn present(aggregate: &Aggregate, of: &[&ArrayRef]) -> Option<BooleanBuffer> {
    if let Function::First(Ends { nulls: true, .. }) | Function::Last(Ends { nulls: true, .. }) = aggregate.function {
        return None;
    }
    let features = aggregate.of.iter().zip(of).filter(|(input, _)| matches!(input, Input::Feature(_)));
    let mut any: Option<BooleanBuffer> = None;
    for (_, cells) in features {
        let valid = cells.logical_nulls()?.inner().clone();
        any = Some(any.map_or_else(|| valid.clone(), |any| &any | &valid));
    }
    any.or_else(|| {
        // An event has its time; it may have no row id.
        let [cells] = of[..] else { return None };
        cells.logical_nulls().map(|nulls| nulls.inner().clone())
    })
}

impl Values {
    fn of(function: &Function, of: &[&ArrayRef]) -> Result<Self> {
        Ok(match (function, of) {
            (Function::Sum { .. } | Function::Avg, [cells]) => Self::numbers(cells)?,
            (Function::Min | Function::Max, [cells]) => Self::Ordered(order_of(cells)?),
            (Function::First(Ends { distinct: true, .. }) | Function::Last(Ends { distinct: true, .. }), of) => {
                let comparable: Vec<ArrayRef> = of.iter().map(|cells| comparable(cells)).collect();
                let fields = comparable.iter().map(|cells| SortField::new(cells.data_type().clone()));
                Self::Keys(RowConverter::new(fields.collect())?.convert_columns(&comparable)?)
            }
            _ => Self::None,
        })
    }

    fn numbers(cells: &ArrayRef) -> Result<Self> {
        Ok(match cells.data_type() {
            DataType::Decimal128(..) => Self::Integers(cells.as_primitive::<Decimal128Type>().clone()),
            DataType::Decimal256(..) => Self::Wide(cells.as_primitive::<Decimal256Type>().clone()),
            floating if floating.is_floating() => {
                Self::Floats(cast(cells, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            DataType::UInt64 => {
                let wide = cast(cells, &DataType::Decimal128(38, 0))?;
                Self::Integers(wide.as_primitive::<Decimal128Type>().clone())
            }
            // Durations and all other integers.
            _ => {
                let whole = cast(cells, &DataType::Int64)?;
                Self::Integers(whole.as_primitive::<Int64Type>().unary::<_, Decimal128Type>(i128::from))
            }
        })
    }
}

/// How the values of `cells` are ordered, none of which is null: NaN above all others and by their bits, negative zero below zero.
fn order_of(cells: &ArrayRef) -> Result<DynComparator> {
    if !cells.data_type().is_floating() {
        return Ok(make_comparator(cells, cells, SortOptions::default())?);
    }
    let values = cast(cells, &DataType::Float64)?.as_primitive::<Float64Type>().clone();
    Ok(Box::new(move |one, other| {
        let (one, other) = (values.value(one), values.value(other));
        match (one.is_nan(), other.is_nan()) {
            (false, false) => one.total_cmp(&other),
            (true, true) => one.to_bits().cmp(&other.to_bits()),
            (one, other) => one.cmp(&other),
        }
    }))
}
