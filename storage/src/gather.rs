//! Gathering cells: from the columns where they lie to one array, or to rows of bytes. The one way for reads, merges and
//! packs.
//!
//! Values of fixed width are copied as bytes. All others are remembered as an array and a position there, and
//! interleaved when all are known; those of a column whose type is older than the feature's are cast then, and only
//! those. Nothing is checked for damage here: that is the caller's, who knows how much of a column it will read.

use std::collections::HashMap;

use arrow_array::{Array, ArrayRef, UInt32Array, new_empty_array, new_null_array};
use arrow_buffer::BooleanBuffer;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;
use arrow_select::{interleave::interleave, take::take};

use crate::column::Column;
use crate::error::Result;
use crate::fixed_values::{Fixed, FixedValues};

/// Where a cell is: which of several columns holds it, and which of its values it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CellOrigin {
    pub(crate) column: u32,
    pub(crate) position: u32,
}

impl CellOrigin {
    /// No cell: zeros among bytes, null in an array.
    pub(crate) const ABSENT: Self = Self { column: u32::MAX, position: 0 };
}

/// Where the cells of one feature go among rows of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells {
    /// Bytes of a cell.
    pub(crate) width: usize,
    /// Bytes from one row to the next.
    pub(crate) stride: usize,
    /// Where the cell starts in its row.
    pub(crate) start: usize,
}

impl Cells {
    /// One after another.
    pub(crate) fn alone(width: usize) -> Self {
        Self { width, stride: width, start: 0 }
    }
}

/// Copies values to the rows of `bytes`: of each of `moves`, to which row, from where, and which value.
#[inline]
pub(crate) fn copy<'a>(
    bytes: &mut [u8],
    cells: Cells,
    moves: impl Iterator<Item = (usize, &'a FixedValues<'a>, usize)>,
) {
    match cells.width {
        1 => copy_width::<1>(bytes, cells, moves),
        2 => copy_width::<2>(bytes, cells, moves),
        4 => copy_width::<4>(bytes, cells, moves),
        8 => copy_width::<8>(bytes, cells, moves),
        16 => copy_width::<16>(bytes, cells, moves),
        width => moves.for_each(|(row, from, position)| {
            bytes[row * cells.stride + cells.start..][..width].copy_from_slice(from.value(position));
        }),
    }
}

/// One width known to the compiler: a cell is one load and one store.
#[inline]
fn copy_width<'a, const WIDTH: usize>(
    bytes: &mut [u8],
    cells: Cells,
    moves: impl Iterator<Item = (usize, &'a FixedValues<'a>, usize)>,
) {
    if cells.stride == WIDTH {
        let (bytes, _) = bytes.as_chunks_mut::<WIDTH>();
        moves.for_each(|(row, from, position)| bytes[row] = from.sized(position));
        return;
    }
    for (row, from, position) in moves {
        let to = bytes[row * cells.stride + cells.start..].first_chunk_mut::<WIDTH>();
        *to.expect("a cell lies inside of its row") = from.sized(position);
    }
}

/// The values of fixed width of several columns of one feature.
#[derive(Debug)]
pub(crate) struct FixedColumns<'a> {
    of: Vec<Option<FixedValues<'a>>>,
    any_nulls: bool,
}

impl<'a> FixedColumns<'a> {
    /// The values of `columns`.
    pub(crate) fn new(columns: &[Option<&'a Column>]) -> Self {
        let of: Vec<_> = columns.iter().map(|column| column.and_then(Column::fixed)).collect();
        let any_nulls = of.iter().flatten().any(|of| of.nulls.is_some());
        Self { of, any_nulls }
    }

    /// Copies the values at `origins` to the rows of `bytes`, in order; nothing where there is none.
    pub(crate) fn copy(&self, origins: &[CellOrigin], bytes: &mut [u8], cells: Cells) {
        let from = |(row, origin): (usize, &CellOrigin)| {
            let from = self.of.get(origin.column as usize)?.as_ref()?;
            Some((row, from, origin.position as usize))
        };
        copy(bytes, cells, origins.iter().enumerate().filter_map(from));
    }

    /// Whether a value of a column may be null.
    pub(crate) fn any_nulls(&self) -> bool {
        self.any_nulls
    }

    /// Whether there is no null at `origin`.
    pub(crate) fn is_valid(&self, origin: CellOrigin) -> bool {
        let nulls = self.of.get(origin.column as usize).and_then(|of| of.as_ref()?.nulls);
        !nulls.is_some_and(|nulls| nulls.is_null(origin.position as usize))
    }

    /// The values at `origins`, which are `width` bytes each; zeros where there is none.
    pub(crate) fn gather(&self, origins: &[CellOrigin], width: usize) -> Fixed {
        let mut bytes = vec![0; origins.len() * width];
        self.copy(origins, &mut bytes, Cells::alone(width));
        let is_valid = |origin: &CellOrigin| self.is_valid(*origin);
        let valid: Option<BooleanBuffer> =
            (self.any_nulls && !origins.iter().all(is_valid)).then(|| origins.iter().map(is_valid).collect());
        Fixed { width, stride: width, bytes: bytes.into(), valid }
    }
}

/// A cell of an array that was added to a [`Gathering`]: which array, and where in it.
pub(crate) type Added = (usize, usize);

/// Arrays that hold the cells that are gathered.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    arrays: Vec<ArrayRef>,
}

impl Gathering {
    /// Adds `array`; its number.
    pub(crate) fn add(&mut self, array: ArrayRef) -> usize {
        self.arrays.push(array);
        self.arrays.len() - 1
    }

    /// The arrays, by number.
    pub(crate) fn arrays(&self) -> &[ArrayRef] {
        &self.arrays
    }

    /// Whether the cell is null.
    pub(crate) fn is_null(&self, (array, position): Added) -> bool {
        self.arrays[array].is_null(position)
    }

    /// The `cells` as one array of `data_type`. A value that does not fit is an error, for features are only ever
    /// widened.
    pub(crate) fn finish(&self, data_type: &DataType, cells: &mut [Added]) -> Result<ArrayRef> {
        if self.arrays.is_empty() {
            return Ok(new_empty_array(data_type));
        }
        let is_older = |array: &ArrayRef| array.data_type() != data_type;
        let mut moved: Vec<Option<Vec<u32>>> = self.arrays.iter().map(|array| is_older(array).then(Vec::new)).collect();
        if moved.iter().any(Option::is_some) {
            for (array, position) in cells.iter_mut() {
                if let Some(positions) = &mut moved[*array] {
                    positions.push(*position as u32);
                    *position = positions.len() - 1;
                }
            }
        }
        let exact = CastOptions { safe: false, ..CastOptions::default() };
        let cast = |(array, positions): (&ArrayRef, Option<Vec<u32>>)| match positions {
            None => Ok(ArrayRef::clone(array)),
            Some(positions) => {
                let taken = take(array, &UInt32Array::from(positions), None)?;
                Ok(cast_with_options(&taken, data_type, &exact)?)
            }
        };
        let arrays: Vec<ArrayRef> = self.arrays.iter().zip(moved).map(cast).collect::<Result<_>>()?;
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        Ok(interleave(&arrays, cells)?)
    }
}

/// A column some of whose values are gathered: only the stretches that these lie in are opened, for opening one checks
/// all of its bytes.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    column: &'a Column,
    added: HashMap<u32, usize>,
    /// The stretch of the last value, and its number: the next one is mostly in it.
    last: Option<(u32, usize)>,
}

impl<'a> Opened<'a> {
    /// `column`, of which nothing is opened.
    pub(crate) fn new(column: &'a Column) -> Self {
        Self { column, added: HashMap::new(), last: None }
    }

    /// The value at `position` as a cell of `gathering`, always the same one.
    pub(crate) fn find(&mut self, position: u32, gathering: &mut Gathering) -> Result<Added> {
        let (stretch, index) = self.column.locate(position);
        if let Some((last, array)) = self.last
            && last == stretch
        {
            return Ok((array, index as usize));
        }
        let array = match self.added.get(&stretch) {
            Some(&array) => array,
            None => {
                let array = gathering.add(self.column.stretch(stretch)?);
                self.added.insert(stretch, array);
                array
            }
        };
        self.last = Some((stretch, array));
        Ok((array, index as usize))
    }
}

/// Cells of several columns of one feature that were found, and are not yet one array.
#[derive(Debug)]
pub(crate) struct Found {
    gathering: Gathering,
    cells: Vec<Option<Added>>,
}

impl Found {
    /// The cells of `columns` at `origins`.
    pub(crate) fn new(columns: &[Option<&Column>], origins: &[CellOrigin]) -> Result<Self> {
        let mut gathering = Gathering::default();
        let mut opened: Vec<Option<Opened<'_>>> = columns.iter().map(|column| column.map(Opened::new)).collect();
        let mut cells = Vec::with_capacity(origins.len());
        for origin in origins {
            let column = opened.get_mut(origin.column as usize).and_then(Option::as_mut);
            cells.push(column.map(|column| column.find(origin.position, &mut gathering)).transpose()?);
        }
        Ok(Self { gathering, cells })
    }

    /// Whether the cell at `index` is null or absent.
    pub(crate) fn is_null(&self, index: usize) -> bool {
        self.cells[index].is_none_or(|cell| self.gathering.is_null(cell))
    }

    /// The cells as one array of `data_type`; null where there is none.
    pub(crate) fn finish(mut self, data_type: &DataType) -> Result<ArrayRef> {
        // An array with a null among its sources gets a bitmap, so one is added only if it is wanted.
        let absent = match self.cells.iter().all(Option::is_some) {
            true => (0, 0),
            false => (self.gathering.add(new_null_array(data_type, 1)), 0),
        };
        let mut cells: Vec<Added> = self.cells.into_iter().map(|cell| cell.unwrap_or(absent)).collect();
        self.gathering.finish(data_type, &mut cells)
    }
}

/// The values of `columns` at `origins` as one array of `data_type`; null where there is none.
pub(crate) fn gather(data_type: &DataType, columns: &[Option<&Column>], origins: &[CellOrigin]) -> Result<ArrayRef> {
    Found::new(columns, origins)?.finish(data_type)
}

#[cfg(test)]
mod tests;
