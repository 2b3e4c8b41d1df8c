//! Cells of any width: remembered as a source and a position, and interleaved when the answer is finished.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow_cast::cast;
use arrow_schema::DataType;
use arrow_select::{interleave::interleave, take::take};

use super::statuses::Status;
use crate::column::{Column, PositionHint};
use crate::error::Result;

/// Picks the cells of `winners` (place, row) that `column` has, and notes the status of each.
pub(crate) fn pick(
    sources: &mut Vec<ArrayRef>,
    picks: &mut [(usize, usize)],
    column: &Column,
    winners: impl Iterator<Item = (u32, u32)>,
    mut note: impl FnMut(u32, Status),
) -> Result<()> {
    if column.fixed().is_some() {
        return pick_fixed(sources, picks, column, winners, note);
    }
    // Only the windows that something won in are opened: opening one checks all of its bytes.
    let mut opened: HashMap<u32, usize> = HashMap::new();
    let mut hint = PositionHint::default();
    for (place, row) in winners {
        let Some(position) = column.position_from(&mut hint, row)? else { continue };
        let (window, position) = column.locate(position);
        let at = match opened.get(&window) {
            Some(&at) => at,
            None => {
                sources.push(column.window(window)?);
                opened.insert(window, sources.len() - 1);
                sources.len() - 1
            }
        };
        picks[place as usize] = (at, position as usize);
        note(place, if sources[at].is_null(position as usize) { Status::Null } else { Status::Value });
    }
    Ok(())
}

/// [`pick`] of a column of fixed width: the cells become a source of their own.
fn pick_fixed(
    sources: &mut Vec<ArrayRef>,
    picks: &mut [(usize, usize)],
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
    let source = column.take(&positions)?;
    for (at, place) in places.into_iter().enumerate() {
        picks[place as usize] = (sources.len(), at);
        note(place, if source.is_null(at) { Status::Null } else { Status::Value });
    }
    sources.push(source);
    Ok(())
}

/// The cells that `picks` name where the status is value, those of another type cast to `data_type`; the default for
/// statuses that are answered with it.
pub(crate) fn interleaved(
    data_type: &DataType,
    default: &ArrayRef,
    sources: &[ArrayRef],
    picks: &[(usize, usize)],
    status: impl Fn(usize) -> u8,
) -> Result<ArrayRef> {
    // Source 0 is the default, or null; source 1 is null. A feature that was widened has sources of older types: only
    // the picked positions of those are cast.
    let mut arrays: Vec<ArrayRef> = vec![Arc::clone(default), new_null_array(data_type, 1)];
    let mut moved: Vec<Option<Vec<u32>>> = Vec::with_capacity(sources.len());
    for source in sources {
        moved.push((source.data_type() != data_type).then(Vec::new));
        arrays.push(Arc::clone(source));
    }
    let mut chosen = Vec::with_capacity(picks.len());
    for (row, &(source, position)) in picks.iter().enumerate() {
        let status = status(row);
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
            let taken = take(&arrays[source + 2], &UInt32Array::from(positions), None)?;
            arrays[source + 2] = cast(&taken, data_type)?;
        }
    }
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    Ok(interleave(&arrays, &chosen)?)
}
