//! Cells of any width: remembered as a cell of a gathering, and made one array when the answer is finished.

use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_schema::DataType;

use super::statuses::Status;
use crate::column::{Column, PositionHint};
use crate::error::Result;
use crate::gather::{Added, Gathering, Opened};

/// The default of the feature, or null: the first array of every gathering.
const DEFAULT: Added = (0, 0);
/// Null: the second.
const NULL: Added = (1, 0);

/// The cells of one column of an answer, by row.
#[derive(Debug)]
pub(crate) struct Picked {
    gathering: Gathering,
    cells: Vec<Added>,
}

impl Picked {
    /// So many rows of `data_type`, none of which has a cell; `default` has one row.
    pub(crate) fn new(data_type: &DataType, default: &ArrayRef, rows: usize) -> Self {
        let mut gathering = Gathering::default();
        assert_eq!((gathering.add(ArrayRef::clone(default)), default.len()), (DEFAULT.0, 1));
        assert_eq!(gathering.add(new_null_array(data_type, 1)), NULL.0);
        Self { gathering, cells: vec![DEFAULT; rows] }
    }

    /// The arrays that the cells lie in; the first holds the default, the second null.
    pub(crate) fn arrays(&self) -> &[ArrayRef] {
        self.gathering.arrays()
    }

    /// Where the cell of each row is.
    pub(crate) fn cells(&self) -> &[Added] {
        &self.cells
    }

    /// Puts in values of `array`: (place, position).
    pub(crate) fn add(&mut self, array: ArrayRef, cells: impl Iterator<Item = (u32, u32)>) {
        let array = self.gathering.add(array);
        cells.for_each(|(place, position)| self.cells[place as usize] = (array, position as usize));
    }

    /// Puts in the cells of `winners` (place, row) that `column` has, and notes the status of each.
    pub(crate) fn pick(
        &mut self,
        column: &Column,
        winners: impl Iterator<Item = (u32, u32)>,
        mut note: impl FnMut(u32, Status),
    ) -> Result<()> {
        if column.fixed().is_some() {
            return self.pick_fixed(column, winners, note);
        }
        let mut opened = Opened::new(column);
        let mut hint = PositionHint::default();
        for (place, row) in winners {
            let Some(position) = column.position_from(&mut hint, row)? else { continue };
            let cell = opened.find(position, &mut self.gathering)?;
            self.cells[place as usize] = cell;
            note(place, if self.gathering.is_null(cell) { Status::Null } else { Status::Value });
        }
        Ok(())
    }

    /// [`Picked::pick`] of a column of fixed width, whose values are checked one by one: they become an array of their
    /// own.
    fn pick_fixed(
        &mut self,
        column: &Column,
        winners: impl Iterator<Item = (u32, u32)>,
        mut note: impl FnMut(u32, Status),
    ) -> Result<()> {
        let (mut places, mut positions) = (Vec::new(), Vec::new());
        let mut hint = PositionHint::default();
        for (place, row) in winners {
            if let Some(position) = column.position_from(&mut hint, row)? {
                places.push(place);
                positions.push(position);
            }
        }
        let values = column.take(&positions)?;
        for (at, &place) in places.iter().enumerate() {
            note(place, if values.is_null(at) { Status::Null } else { Status::Value });
        }
        self.add(values, places.into_iter().zip(0u32..));
        Ok(())
    }

    /// The cells as one array of `data_type`: those whose `status` is value; the default for statuses that are answered
    /// with it.
    pub(crate) fn finish(&self, data_type: &DataType, status: impl Fn(usize) -> u8) -> Result<ArrayRef> {
        let cell = |(row, cell): (usize, &Added)| match status(row) {
            value if value == Status::Value as u8 => *cell,
            null if null == Status::Null as u8 => NULL,
            _ => DEFAULT,
        };
        let mut cells: Vec<Added> = self.cells.iter().enumerate().map(cell).collect();
        self.gathering.finish(data_type, &mut cells)
    }
}
