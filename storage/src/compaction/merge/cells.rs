//! The cells of one feature in one segment that a merge writes.
//!
//! First which rows have a cell, then the values, stretch by stretch, from wherever they are ([`crate::gather`]).

use arrow_array::ArrayRef;
use arrow_buffer::{BooleanBufferBuilder, bit_util};
use arrow_schema::DataType;

use super::output::{NO_CHUNK, Output, STRETCH_ROWS};
use crate::column::{Column, Fixed, fixed_width};
use crate::error::Result;
use crate::gather::{CellOrigin, FixedColumns, gather};
use crate::run::Origin;
use crate::segment::directory::ranks;
use crate::segment::format::SectionKind;
use crate::segment::stretch;
use crate::segment::writer::SegmentWriter;

/// Bytes of a cell in a strip, at most: wider ones gain nothing from neighbours.
pub(super) const CELL_BYTES_MAX: usize = 64;
/// Bytes of a stretch of values of variable width, about.
const STRETCH_BYTES: u64 = 1 << 20;
/// The binary logarithm of values per stretch, at least and at most.
const STRETCH_SHIFTS: std::ops::RangeInclusive<u32> = 4..=STRETCH_ROWS.ilog2();

/// Writes the sections of `feature`, none if no row has a cell. If every write row has one, of a type that fits into a
/// strip, nothing is written yet: the answer is how wide a cell is, for `strip::write`.
pub(super) fn write(
    feature: u32,
    data_type: &DataType,
    output: &Output<'_>,
    writer: &mut SegmentWriter<'_>,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Option<usize>> {
    let columns: Vec<Option<&Column>> = output.chunks.iter().map(|chunk| chunk.column(feature)).collect();
    let Some(present) = Present::of(&columns, output)? else {
        return Ok(None);
    };
    // A list with a null inside of it has no fixed width, so one such column is enough.
    let fixed = fixed_width(data_type).filter(|_| columns.iter().flatten().all(|column| column.fixed().is_some()));
    let same_type = columns.iter().flatten().all(|column| column.data_type() == data_type);
    // Where every write row has a cell, a bitmap would only mark the tombstones; a zero in their place costs less.
    let fill = fixed.is_some() && same_type && present.cells + output.tombstones == output.origins.len() as u32;
    if let Some(width) = fixed.filter(|&width| fill && width <= CELL_BYTES_MAX) {
        return Ok(Some(width));
    }
    let dense = fill || present.cells as usize == output.origins.len();
    let picks = Picks { columns: &columns, origins: &output.origins, present: &present, fill };

    writer.feature(feature, data_type.clone());
    if !dense {
        let words: Vec<u64> = present.words();
        writer.section(SectionKind::Present, feature, &words)?;
        writer.section(SectionKind::PresentRanks, feature, &ranks(&words))?;
    }
    // Nearly all values will be copied, so all are checked at once instead of each on its own.
    columns.iter().flatten().filter(|column| column.fixed().is_some()).try_for_each(|column| column.verify())?;
    match fixed {
        Some(width) if same_type => {
            let source = FixedColumns::new(&columns);
            write_fixed(feature, &picks, writer, go_on, width, |picked| Ok(source.gather(picked, width)))?;
        }
        Some(width) => write_fixed(feature, &picks, writer, go_on, width, |picked| {
            let array = gather(data_type, &columns, picked)?;
            Ok(Fixed::of(array.as_ref()).expect("a cast between fixed widths makes no null inside of a value"))
        })?,
        None => {
            let shift = stretch_shift(data_type, &columns);
            write_stretches(feature, &picks, writer, go_on, shift, |picked| gather(data_type, &columns, picked))?;
        }
    }
    Ok(None)
}

/// Which rows of the segment have a cell.
struct Present {
    /// A bit per row; `None` if every write row has one.
    bits: Option<BooleanBufferBuilder>,
    cells: u32,
}

impl Present {
    /// `None` if no row has a cell.
    fn of(columns: &[Option<&Column>], output: &Output<'_>) -> Result<Option<Self>> {
        let rows = output.origins.len();
        let writes = rows as u32 - output.tombstones;
        let sparse = |column: &Option<&Column>| column.is_none_or(|column| !column.is_dense());
        if columns.iter().all(Option::is_none) || writes == 0 {
            return Ok(None);
        }
        if output.tombstones == 0 && !columns.iter().any(sparse) {
            return Ok(Some(Self { bits: None, cells: writes }));
        }
        let mut bits = BooleanBufferBuilder::new(rows);
        bits.append_n(rows, false);
        let mut cells = 0;
        for (row, origin) in output.origins.iter().enumerate() {
            if position(columns, origin)?.is_some() {
                bits.set_bit(row, true);
                cells += 1;
            }
        }
        Ok((cells > 0).then_some(Self { bits: Some(bits), cells }))
    }

    fn words(&self) -> Vec<u64> {
        let bytes = self.bits.as_ref().map_or(&[][..], BooleanBufferBuilder::as_slice);
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        bytes.chunks(8).map(word).collect()
    }
}

pub(super) fn position(columns: &[Option<&Column>], origin: &Origin) -> Result<Option<u32>> {
    if origin.chunk == NO_CHUNK {
        return Ok(None);
    }
    match columns[origin.chunk as usize] {
        Some(column) => column.position(origin.row),
        None => Ok(None),
    }
}

/// The values to be written, in order.
struct Picks<'a> {
    columns: &'a [Option<&'a Column>],
    origins: &'a [Origin],
    present: &'a Present,
    /// Whether rows without a cell get a zero.
    fill: bool,
}

impl Picks<'_> {
    fn count(&self) -> u32 {
        if self.fill { self.origins.len() as u32 } else { self.present.cells }
    }

    /// Hands out all values, `stretch` at a time.
    fn each(&self, stretch: usize, mut then: impl FnMut(&[CellOrigin]) -> Result<()>) -> Result<()> {
        let mut picked = Vec::with_capacity(stretch.min(self.origins.len()));
        for origin in self.origins {
            match position(self.columns, origin)? {
                Some(position) => picked.push(CellOrigin { column: origin.chunk, position }),
                None if self.fill => picked.push(CellOrigin::ABSENT),
                None => {}
            }
            if picked.len() == stretch {
                then(&picked)?;
                picked.clear();
            }
        }
        if picked.is_empty() { Ok(()) } else { then(&picked) }
    }
}

fn write_fixed(
    feature: u32,
    picks: &Picks<'_>,
    writer: &mut SegmentWriter<'_>,
    go_on: &dyn Fn() -> Result<()>,
    width: usize,
    values: impl Fn(&[CellOrigin]) -> Result<Fixed>,
) -> Result<()> {
    let mut valid: Option<BooleanBufferBuilder> = None;
    let mut written = 0;
    writer.begin(SectionKind::Values, feature)?;
    let rows_max = (STRETCH_BYTES as usize / width).clamp(1 << STRETCH_SHIFTS.start(), STRETCH_ROWS);
    picks.each(rows_max, |picked| {
        go_on()?;
        let fixed = values(picked)?;
        writer.append_bytes(&fixed.bytes)?;
        if let Some(bits) = &fixed.valid {
            let valid = valid.get_or_insert_with(|| ones(written));
            valid.append_buffer(bits);
        } else if let Some(valid) = &mut valid {
            valid.append_n(picked.len(), true);
        }
        written += picked.len();
        Ok(())
    })?;
    assert_eq!(written, picks.count() as usize);
    writer.end(written as u32, 0);
    if let Some(mut valid) = valid {
        let valid = valid.finish();
        writer.section(SectionKind::Valid, feature, &valid.values()[..bit_util::ceil(written, 8)])?;
    }
    Ok(())
}

fn ones(count: usize) -> BooleanBufferBuilder {
    let mut bits = BooleanBufferBuilder::new(count + STRETCH_ROWS);
    bits.append_n(count, true);
    bits
}

fn write_stretches(
    feature: u32,
    picks: &Picks<'_>,
    writer: &mut SegmentWriter<'_>,
    go_on: &dyn Fn() -> Result<()>,
    shift: u32,
    values: impl Fn(&[CellOrigin]) -> Result<ArrayRef>,
) -> Result<()> {
    let mut offsets = vec![0u64];
    let mut bytes = Vec::new();
    writer.begin(SectionKind::Stretches, feature)?;
    picks.each(1 << shift, |picked| {
        go_on()?;
        bytes.clear();
        stretch::encode(&values(picked)?, &mut bytes)?;
        writer.append_bytes(&bytes)?;
        offsets.push(writer.section_length());
        Ok(())
    })?;
    writer.end(picks.count(), shift);
    writer.section(SectionKind::StretchOffsets, feature, &offsets)
}

/// How many values make a stretch of about [`STRETCH_BYTES`], as a binary logarithm.
fn stretch_shift(data_type: &DataType, columns: &[Option<&Column>]) -> u32 {
    let bytes: u64 = columns.iter().flatten().map(|column| column.bytes() as u64).sum();
    let values: u64 = columns.iter().flatten().map(|column| u64::from(column.len())).sum();
    let average = bytes.div_ceil(values.max(1)).max(1);
    let shift = (STRETCH_BYTES / average).max(1).ilog2().clamp(*STRETCH_SHIFTS.start(), *STRETCH_SHIFTS.end());
    // A stretch must not hold more different values than the keys of a dictionary can tell apart.
    match data_type {
        DataType::Dictionary(key, _) => match key.primitive_width() {
            Some(1) => shift.min(7),
            Some(2) => shift.min(15),
            _ => shift,
        },
        _ => shift,
    }
}
