//! Cells of fixed width: copied as bytes from columns to their places in an answer.

use arrow_array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray, downcast_primitive, make_array};
use arrow_buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use std::sync::Arc;

use super::resolved::Pick;
use super::statuses::Status;
use crate::column::{Column, PositionHint};
use crate::error::Result;
use crate::gather::{self, Cells};
use crate::prefetch::prefetch;

/// Copies the cells of `picks`, which `column` has for every write row and which are checked; the places of nulls go to
/// `nulls`.
pub(crate) fn copy_picks(cells: &mut [u8], column: &Column, picks: &[Pick], nulls: &mut Vec<u32>) {
    let fixed = column.fixed().expect("the caller chose columns of fixed width");
    let moves = picks.iter().map(|pick| (pick.place as usize, &fixed, pick.row as usize));
    gather::copy(cells, Cells::alone(fixed.width), moves);
    if let Some(known) = fixed.nulls {
        nulls.extend(picks.iter().filter(|pick| known.is_null(pick.row as usize)).map(|pick| pick.place));
    }
}

/// Rows whose cells are found, and asked for, before the first of them is copied.
const FOUND_ROWS: usize = 256;

/// Copies the cells of `picks` that `column` has, and notes the status of each.
pub(crate) fn copy(cells: &mut [u8], column: &Column, picks: &[Pick], mut note: impl FnMut(u32, Status)) -> Result<()> {
    let fixed = column.fixed().expect("the caller chose columns of fixed width");
    let mut found = Vec::with_capacity(FOUND_ROWS);
    let mut hint = PositionHint::default();
    for picks in picks.chunks(FOUND_ROWS) {
        found.clear();
        for pick in picks {
            if let Some(position) = column.position_from(&mut hint, pick.row)? {
                prefetch(fixed.value(position as usize));
                found.push((pick.place, position));
            }
        }
        column.check_all_of(found.iter().map(|(_, position)| *position))?;
        let is_null = |position: u32| fixed.nulls.is_some_and(|nulls| nulls.is_null(position as usize));
        let moves = found.iter().filter(|(_, position)| !is_null(*position));
        let moves = moves.map(|&(place, position)| (place as usize, &fixed, position as usize));
        gather::copy(cells, Cells::alone(fixed.width), moves);
        for &(place, position) in &found {
            note(place, if is_null(position) { Status::Null } else { Status::Value });
        }
    }
    Ok(())
}

/// Puts `default`, an array of one value, at the places where `wanted` says so.
pub(crate) fn put_default(cells: &mut [u8], width: usize, default: &ArrayRef, wanted: impl Iterator<Item = bool>) {
    let default = default.to_data();
    let pattern = bytes_of(&default);
    for (place, _) in wanted.enumerate().filter(|(_, wanted)| *wanted) {
        cells[place * width..(place + 1) * width].copy_from_slice(pattern);
    }
}

/// The bytes of the one row of `data`, which has a fixed width.
fn bytes_of(data: &ArrayData) -> &[u8] {
    match data.data_type() {
        DataType::FixedSizeList(..) => bytes_of(&data.child_data()[0]),
        _ => data.buffers()[0].as_slice(),
    }
}

/// An array of a type of fixed width from its bytes.
pub(crate) fn array(data_type: &DataType, rows: usize, cells: Buffer, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    macro_rules! primitive {
        ($type:ty) => {
            Ok(primitive_array::<$type>(data_type, rows, cells, nulls))
        };
    }
    downcast_primitive! {
        data_type => (primitive),
        DataType::FixedSizeList(item, size) => {
            let items = array(item.data_type(), rows * *size as usize, cells, None)?;
            let build = ArrayData::builder(data_type.clone()).len(rows).nulls(nulls);
            Ok(make_array(build.add_child_data(items.to_data()).build()?))
        }
        _ => Ok(make_array(ArrayData::builder(data_type.clone()).len(rows).nulls(nulls).add_buffer(cells).build()?)),
    }
}

fn primitive_array<T: ArrowPrimitiveType>(
    data_type: &DataType,
    rows: usize,
    cells: Buffer,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    assert_eq!(cells.len(), rows * size_of::<T::Native>(), "a column has a cell per row");
    let array = PrimitiveArray::<T>::new(ScalarBuffer::from(cells), nulls);
    Arc::new(array.with_data_type(data_type.clone()))
}
