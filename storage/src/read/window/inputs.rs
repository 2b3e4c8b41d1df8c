//! The columns that aggregates read, and their cells of a block of events as arrays.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray, TimestampMicrosecondArray};
use arrow_schema::DataType;

use super::super::fill::{Patience, wait_for};
use super::super::walk::BoundedRun;
use super::events::Events;
use crate::column::Column;
use crate::error::Result;
use crate::gather::{CellOrigin, gather};
use crate::model::aggregate::{Aggregate, Input, feature_of};
use crate::model::catalog::Table;
use crate::model::key;

/// The distinct columns that some aggregates read.
#[derive(Debug)]
pub(super) struct Inputs {
    all: Vec<Input>,
    /// The features among them, in the order in which they come.
    pub(super) features: Vec<u32>,
}

impl Inputs {
    /// Those of `aggregates`.
    pub(super) fn of<'a>(aggregates: impl Iterator<Item = &'a Aggregate>) -> Self {
        let (mut all, mut features) = (Vec::new(), Vec::new());
        for aggregate in aggregates {
            let looked_at = aggregate.conditions.iter().map(|condition| Input::Feature(condition.feature));
            for input in aggregate.of.iter().copied().chain(looked_at) {
                if !all.contains(&input) {
                    all.push(input);
                    features.extend(match input {
                        Input::Feature(feature) => Some(feature),
                        Input::EventTime | Input::RowId(_) => None,
                    });
                }
            }
        }
        Self { all, features }
    }

    /// Where `input` is among them.
    pub(super) fn place(&self, input: Input) -> usize {
        self.all.iter().position(|known| *known == input).expect("the inputs of all aggregates were taken")
    }

    /// Whether row ids are read.
    pub(super) fn row_ids(&self) -> bool {
        self.all.iter().any(|input| matches!(input, Input::RowId(_)))
    }

    /// The cells of `events` of each, null where there is none, as they are stored; cells that are away come first, all at once.
    pub(super) fn gather(
        &self,
        table: &Table,
        runs: &[BoundedRun<'_>],
        events: &Events<'_>,
        patience: Patience,
    ) -> Result<Vec<ArrayRef>> {
        let chunks = || runs.iter().flat_map(|bounded| &bounded.run.chunks);
        let columns: Vec<Vec<Option<&Column>>> =
            self.features.iter().map(|feature| chunks().map(|chunk| chunk.column(*feature)).collect()).collect();
        bring(&columns, &events.cells, patience)?;
        let row_ids = match &events.row_ids {
            Some(row_ids) => key::decode(&table.row_id, row_ids.iter().map(Vec::as_slice))?,
            None => Vec::new(),
        };
        let mut features = columns.iter().zip(&events.cells);
        let array = |input: &Input| match *input {
            Input::Feature(feature) => {
                let (columns, cells) = features.next().expect("features come in their order");
                for (column, cell) in cells.iter().filter_map(|cell| Some((columns.get(cell.column as usize)?, cell))) {
                    column.iter().try_for_each(|column| column.check(cell.position))?;
                }
                gather(&feature_of(table, feature).stored_type(), columns, cells)
            }
            Input::EventTime => {
                let times = TimestampMicrosecondArray::from(events.event_times.clone()).with_timezone("UTC");
                Ok(Arc::new(times) as ArrayRef)
            }
            Input::RowId(place) => Ok(Arc::clone(&row_ids[place])),
        };
        self.all.iter().map(array).collect()
    }
}

/// Brings the cells that are away.
fn bring(columns: &[Vec<Option<&Column>>], cells: &[Vec<CellOrigin>], patience: Patience) -> Result<()> {
    let mut lacks = Vec::new();
    for (columns, cells) in columns.iter().zip(cells) {
        for (number, column) in columns.iter().enumerate() {
            let Some(column) = column.filter(|column| column.is_away()) else { continue };
            let here = cells.iter().filter(|cell| cell.column as usize == number);
            let mut positions: Vec<u32> = here.map(|cell| cell.position).collect();
            positions.sort_unstable();
            lacks.extend(column.lack_at(positions.into_iter())?);
        }
    }
    wait_for(lacks, patience)
}

/// `array` with one bit pattern for all NaN, the greatest, and one for both zeros: so that floats compare as numbers do. Any other
/// array is what it was.
pub(super) fn comparable(array: &ArrayRef) -> ArrayRef {
    fn with<T: ArrowPrimitiveType>(array: &ArrayRef, of: impl Fn(T::Native) -> T::Native) -> ArrayRef {
        let array: &PrimitiveArray<T> = array.as_primitive();
        Arc::new(array.unary::<_, T>(of))
    }
    match array.data_type() {
        DataType::Float16 => with::<Float16Type>(array, |value| match value {
            value if value.is_nan() => half::f16::NAN,
            value if value == half::f16::ZERO => half::f16::ZERO,
            value => value,
        }),
        DataType::Float32 => with::<Float32Type>(array, |value| match value {
            value if value.is_nan() => f32::NAN,
            0.0 => 0.0,
            value => value,
        }),
        DataType::Float64 => with::<Float64Type>(array, |value| match value {
            value if value.is_nan() => f64::NAN,
            0.0 => 0.0,
            value => value,
        }),
        _ => Arc::clone(array),
    }
}
