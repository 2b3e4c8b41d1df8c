//! The columns of an answer while they are filled: cells, statuses, winners' event times.
//!
//! Cells of fixed width are copied as bytes to their place; all others are remembered as (source, position) and
//! interleaved at the end. What wins is decided before; here ages are compared and defaults put in, last.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, DictionaryArray, Int8Array, StringArray, TimestampMicrosecondArray, make_array, new_null_array};
use arrow_buffer::{BooleanBuffer, MutableBuffer, NullBuffer};
use arrow_cast::cast;
use arrow_data::ArrayData;
use arrow_schema::DataType;
use arrow_select::{interleave::interleave, take::take};

use super::bounds::RowBounds;
use super::plan::FeaturePart;
use super::resolve::is_expired;
use super::resolved::Resolved;
use crate::column::Column;
use crate::error::Result;
use crate::model::types::as_declared;
use crate::pack::gather;
use crate::time::Micros;

/// The status of a feature in an answer. The numbers index [`STATUSES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// A value won.
    Value = 0,
    /// An explicit null won.
    Null = 1,
    /// The winner is older than max age.
    Expired = 2,
    /// The entity was deleted before anything newer was written.
    Deleted = 3,
    /// Nothing was ever written within the bounds.
    Never = 4,
    /// The bound lies before the horizon.
    Forgotten = 5,
}

/// The names of the statuses on the wire, by number.
pub const STATUSES: [&str; 6] = ["value", "null", "expired", "deleted", "never", "forgotten"];

/// One feature's column of an answer.
#[derive(Debug)]
pub(crate) struct AnswerColumn<'a> {
    part: &'a FeaturePart,
    pub(crate) statuses: Vec<u8>,
    /// Kept only if ages or event times need them.
    pub(crate) event_times: Option<Vec<Micros>>,
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    Fixed { width: usize, cells: gather::Cells },
    Picks { sources: Vec<ArrayRef>, picks: Vec<(usize, usize)> },
}

impl Cells {
    /// The cells as picks. Bytes that were copied so far become a source: a list with a null inside has no bytes of
    /// its own, so one such value makes the whole column picks.
    fn as_picks(&mut self, stored: &DataType) -> Result<(&mut Vec<ArrayRef>, &mut Vec<(usize, usize)>)> {
        if let Self::Fixed { width, cells } = self {
            let rows = cells.bytes.len() / *width;
            let bytes = std::mem::replace(&mut cells.bytes, MutableBuffer::new(0));
            let copied = fixed_array(stored, rows, bytes.into(), None)?;
            *self = Self::Picks { sources: vec![copied], picks: (0..rows).map(|row| (0, row)).collect() };
        }
        match self {
            Self::Picks { sources, picks } => Ok((sources, picks)),
            Self::Fixed { .. } => unreachable!("cells were just made picks"),
        }
    }
}

/// Whether the values of all `columns` can be copied as bytes.
fn all_fixed(columns: &[Option<&Column>]) -> bool {
    columns.iter().flatten().all(|column| column.fixed().is_some())
}

impl<'a> AnswerColumn<'a> {
    /// A column of `rows` cells that nothing won; `fixed` if every source has the feature's type and a fixed width.
    pub(crate) fn new(part: &'a FeaturePart, rows: usize, fixed: Option<usize>, event_times: bool) -> Self {
        let cells = match fixed {
            Some(width) => Cells::Fixed { width, cells: gather::Cells::new(width, rows) },
            None => Cells::Picks { sources: Vec::new(), picks: vec![(usize::MAX, 0); rows] },
        };
        let keep_times = event_times || part.max_age.is_some();
        Self {
            part,
            statuses: vec![Status::Never as u8; rows],
            event_times: keep_times.then(|| vec![0; rows]),
            cells,
        }
    }

    /// The feature.
    pub(crate) fn part(&self) -> &FeaturePart {
        self.part
    }

    /// Whether cells are copied as bytes.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.cells, Cells::Fixed { .. })
    }

    /// Lends the cells out, if they are of fixed width, for [`AnswerColumn::give_cells`].
    pub(crate) fn lend_cells(&mut self) -> Option<gather::Cells> {
        match &mut self.cells {
            Cells::Fixed { cells, .. } => Some(std::mem::replace(cells, gather::Cells::new(0, 0))),
            Cells::Picks { .. } => None,
        }
    }

    /// Takes lent cells back.
    pub(crate) fn give_cells(&mut self, lent: gather::Cells) {
        if let Cells::Fixed { cells, .. } = &mut self.cells {
            *cells = lent;
        }
    }

    /// Puts in what `resolved` found; `slot` is the feature's place among the walked winners.
    pub(crate) fn fill(&mut self, resolved: &Resolved, slot: usize) -> Result<()> {
        let feature = self.part.feature.id;
        let columns: Vec<Option<&Column>> = resolved.sources.iter().map(|chunk| chunk.column(feature)).collect();
        let picked = resolved.picked.iter().map(|pick| (pick.place, Some((pick.source, pick.row, pick.event_time))));
        let walked = resolved.walked.iter().map(|item| (item.place, item.winners[slot]));
        match &mut self.cells {
            Cells::Fixed { width, cells } if all_fixed(&columns) => {
                let bytes = cells.bytes.as_slice_mut();
                let mut out = FixedOut { width: *width, bytes, statuses: &mut self.statuses };
                fill_fixed(&mut out, &columns, picked.clone().chain(walked.clone()))?;
            }
            _ => {
                let (sources, picks) = self.cells.as_picks(&self.part.stored)?;
                fill_picks(sources, picks, &mut self.statuses, &columns, picked.clone().chain(walked.clone()))?;
            }
        }
        if let Some(event_times) = &mut self.event_times {
            for (place, winner) in picked.chain(walked) {
                if let Some((.., time)) = winner {
                    event_times[place as usize] = time;
                }
            }
        }
        for item in resolved.walked.iter().filter(|item| item.deleted && item.winners[slot].is_none()) {
            self.statuses[item.place as usize] = Status::Deleted as u8;
        }
        Ok(())
    }

    /// Puts in cells that are values of `array` by position, as a latest pack has them for types without a fixed
    /// width: (place, position).
    pub(crate) fn pick(&mut self, array: &ArrayRef, cells: impl Iterator<Item = (u32, u32)>) {
        let Cells::Picks { sources, picks } = &mut self.cells else {
            unreachable!("a column of fixed width takes bytes");
        };
        let source = sources.len();
        sources.push(Arc::clone(array));
        cells.for_each(|(place, position)| picks[place as usize] = (source, position as usize));
    }

    /// Compares ages with max age: what is older is expired. `base` is the moment ages are measured from, per row.
    pub(crate) fn expire(&mut self, base: &RowBounds) {
        let (Some(max_age), Some(event_times)) = (self.part.max_age, &self.event_times) else { return };
        for (row, status) in self.statuses.iter_mut().enumerate() {
            let won = *status == Status::Value as u8 || *status == Status::Null as u8;
            if won && is_expired(base.of(row), event_times[row], Some(max_age)) {
                *status = Status::Expired as u8;
            }
        }
    }

    /// The finished cells, of the declared type.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef> {
        let default = &self.part.default;
        let has_default = default.is_valid(0);
        let statuses = &self.statuses;
        let uses_default = |status: u8| status >= Status::Expired as u8;
        let array = match &mut self.cells {
            Cells::Fixed { width, cells } => {
                if has_default {
                    let default = default.to_data();
                    let pattern = fixed_bytes_of(&default);
                    let places = statuses.iter().enumerate().filter(|(_, status)| uses_default(**status));
                    for (place, _) in places {
                        cells.bytes.as_slice_mut()[place * *width..(place + 1) * *width].copy_from_slice(pattern);
                    }
                }
                let nulls = nulls_of(statuses, has_default);
                let bytes = std::mem::replace(&mut cells.bytes, MutableBuffer::new(0));
                fixed_array(&self.part.stored, statuses.len(), bytes.into(), nulls)?
            }
            Cells::Picks { sources, picks } => {
                let statuses = statuses.iter().copied();
                interleaved(&self.part.stored, default, sources, picks, statuses)?
            }
        };
        as_declared(&array, &self.part.feature.data_type)
    }

    /// The status of each cell, by name.
    pub(crate) fn status_array(&self) -> ArrayRef {
        let names = Arc::new(StringArray::from(STATUSES.to_vec()));
        let keys = Int8Array::from(self.statuses.iter().map(|&status| status as i8).collect::<Vec<_>>());
        Arc::new(DictionaryArray::new(keys, names))
    }

    /// The event time of each winner; null where nothing won.
    pub(crate) fn event_time_array(&self) -> ArrayRef {
        let won: BooleanBuffer = self.statuses.iter().map(|&status| status <= Status::Expired as u8).collect();
        let times = self.event_times.clone().unwrap_or_default();
        Arc::new(TimestampMicrosecondArray::new(times.into(), Some(NullBuffer::new(won))).with_timezone("UTC"))
    }
}

/// The cells and statuses of a column of fixed width that are being filled.
struct FixedOut<'a> {
    width: usize,
    bytes: &'a mut [u8],
    statuses: &'a mut [u8],
}

type WinnerPlace = (u32, Option<(u32, u32, Micros)>);

fn fill_fixed(
    out: &mut FixedOut<'_>,
    columns: &[Option<&Column>],
    winners: impl Iterator<Item = WinnerPlace>,
) -> Result<()> {
    let sources: Vec<_> = columns
        .iter()
        .map(|column| column.and_then(|column| Some((column, column.fixed()?))))
        .collect();
    for (place, winner) in winners {
        let Some((source, row, _)) = winner else { continue };
        let Some((column, fixed)) = &sources[source as usize] else { continue };
        let Some(position) = column.position(row)? else { continue };
        column.check(position)?;
        let (place, position) = (place as usize, position as usize);
        if fixed.nulls.as_ref().is_some_and(|nulls| nulls.is_null(position)) {
            out.statuses[place] = Status::Null as u8;
            continue;
        }
        copy_cell(out.width, &mut out.bytes[place * out.width..], &fixed.bytes[position * out.width..]);
        out.statuses[place] = Status::Value as u8;
    }
    Ok(())
}

/// Copies one cell; the common widths are single moves.
fn copy_cell(width: usize, to: &mut [u8], from: &[u8]) {
    match width {
        8 => to[..8].copy_from_slice(&from[..8]),
        4 => to[..4].copy_from_slice(&from[..4]),
        2 => to[..2].copy_from_slice(&from[..2]),
        1 => to[0] = from[0],
        _ => to[..width].copy_from_slice(&from[..width]),
    }
}

fn fill_picks(
    sources: &mut Vec<ArrayRef>,
    picks: &mut [(usize, usize)],
    statuses: &mut [u8],
    columns: &[Option<&Column>],
    winners: impl Iterator<Item = WinnerPlace>,
) -> Result<()> {
    // Only the windows that something won in are opened: opening one of variable width checks all of its bytes.
    let mut opened: HashMap<(u32, u32), usize> = HashMap::new();
    for (place, winner) in winners {
        let Some((source, row, _)) = winner else { continue };
        let Some(column) = columns[source as usize] else { continue };
        let Some(position) = column.position(row)? else { continue };
        column.check(position)?;
        let (window, position) = column.locate(position);
        let at = match opened.get(&(source, window)) {
            Some(&at) => at,
            None => {
                sources.push(Arc::clone(column.window(window)?));
                opened.insert((source, window), sources.len() - 1);
                sources.len() - 1
            }
        };
        let null = sources[at].is_null(position as usize);
        picks[place as usize] = (at, position as usize);
        statuses[place as usize] = if null { Status::Null as u8 } else { Status::Value as u8 };
    }
    Ok(())
}

/// Which cells are not null, or `None` if all are.
fn nulls_of(statuses: &[u8], has_default: bool) -> Option<NullBuffer> {
    if statuses.iter().all(|&status| status == Status::Value as u8) {
        return None;
    }
    let valid = |&status: &u8| status == Status::Value as u8 || (has_default && status >= Status::Expired as u8);
    let valid: BooleanBuffer = statuses.iter().map(valid).collect();
    Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0)
}

/// An array of a fixed-width type from its bytes.
fn fixed_array(
    data_type: &DataType,
    rows: usize,
    bytes: arrow_buffer::Buffer,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let mut build = ArrayData::builder(data_type.clone()).len(rows).nulls(nulls);
    build = match data_type {
        DataType::FixedSizeList(item, size) => {
            let items = fixed_array(item.data_type(), rows * *size as usize, bytes, None)?;
            build.add_child_data(items.to_data())
        }
        _ => build.add_buffer(bytes),
    };
    Ok(make_array(build.build()?))
}

/// The bytes of the one row of `data`, which has a fixed width.
fn fixed_bytes_of(data: &ArrayData) -> &[u8] {
    match data.data_type() {
        DataType::FixedSizeList(..) => fixed_bytes_of(&data.child_data()[0]),
        _ => data.buffers()[0].as_slice(),
    }
}

/// The cells that `picks` name, those of another type cast to the declared one.
fn interleaved(
    data_type: &DataType,
    default: &ArrayRef,
    sources: &[ArrayRef],
    picks: &[(usize, usize)],
    statuses: impl Iterator<Item = u8>,
) -> Result<ArrayRef> {
    // Source 0 is the default, or null; source 1 is null. A feature that was widened has sources of older types: only the picked
    // positions of those are cast.
    let mut arrays: Vec<ArrayRef> = vec![Arc::clone(default), new_null_array(data_type, 1)];
    let mut moved: Vec<Option<Vec<u32>>> = Vec::with_capacity(sources.len());
    for source in sources {
        moved.push((source.data_type() != data_type).then(Vec::new));
        arrays.push(Arc::clone(source));
    }
    let mut chosen = Vec::with_capacity(picks.len());
    for (&(source, position), status) in picks.iter().zip(statuses) {
        if status != Status::Value as u8 {
            chosen.push((usize::from(status == Status::Null as u8), 0));
            continue;
        }
        match &mut moved[source] {
            None => chosen.push((source + 2, position)),
            Some(positions) => {
                chosen.push((source + 2, positions.len()));
                positions.push(position as u32);
            }
        }
    }
    for (source, positions) in moved.into_iter().enumerate() {
        if let Some(positions) = positions {
            let taken = take(&arrays[source + 2], &arrow_array::UInt32Array::from(positions), None)?;
            arrays[source + 2] = cast(&taken, data_type)?;
        }
    }
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    Ok(interleave(&arrays, &chosen)?)
}
