//! The cells of one feature in one segment that a merge writes.
//!
//! First which rows have a cell, then the values, window by window, from wherever they are. Values of fixed width are
//! copied as bytes; all others, and those of a type that was widened since, go through Arrow's `interleave`.

use arrow_array::{Array, ArrayRef};
use arrow_buffer::{BooleanBufferBuilder, bit_util};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;
use arrow_select::interleave::interleave;
use hashbrown::HashMap;

use super::output::{NO_CHUNK, Output, WINDOW_ROWS};
use crate::column::{Column, Fixed, FixedValues, fixed_width};
use crate::error::Result;
use crate::run::Origin;
use crate::segment::directory::ranks;
use crate::segment::format::SectionKind;
use crate::segment::window;
use crate::segment::writer::SegmentWriter;

/// Bytes of a cell in a strip, at most: wider ones gain nothing from neighbours.
pub(super) const CELL_BYTES_MAX: usize = 64;
/// Bytes of a window of values of variable width, about.
const WINDOW_BYTES: u64 = 1 << 20;
/// The binary logarithm of values per window, at least and at most.
const WINDOW_SHIFTS: std::ops::RangeInclusive<u32> = 4..=WINDOW_ROWS.ilog2();

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
    match fixed {
        Some(width) if same_type => {
            let mut source = Copied::new(width, &columns)?;
            write_fixed(feature, &picks, writer, go_on, |picked| source.copy(picked))?;
        }
        Some(_) => {
            let mut source = Interleaved::new(data_type, &columns);
            write_fixed(feature, &picks, writer, go_on, |picked| {
                let array = source.interleave(picked)?;
                Ok(Fixed::of(array.as_ref()).expect("a cast between fixed widths makes no null inside of a value"))
            })?;
        }
        None => {
            let shift = window_shift(data_type, &columns);
            write_windows(feature, &picks, writer, go_on, shift, &mut Interleaved::new(data_type, &columns))?;
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

/// A value to be written: which column, by chunk, and which of its values. [`NO_CHUNK`] is a zero.
type Pick = (u32, u32);

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

    /// Hands out all values, `window` at a time.
    fn each(&self, window: usize, mut then: impl FnMut(&[Pick]) -> Result<()>) -> Result<()> {
        let mut picked = Vec::with_capacity(window.min(self.origins.len()));
        for origin in self.origins {
            match position(self.columns, origin)? {
                Some(position) => picked.push((origin.chunk, position)),
                None if self.fill => picked.push((NO_CHUNK, 0)),
                None => {}
            }
            if picked.len() == window {
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
    mut values: impl FnMut(&[Pick]) -> Result<Fixed>,
) -> Result<()> {
    let mut valid: Option<BooleanBufferBuilder> = None;
    let mut written = 0;
    writer.begin(SectionKind::Values, feature)?;
    picks.each(WINDOW_ROWS, |picked| {
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
    let mut bits = BooleanBufferBuilder::new(count + WINDOW_ROWS);
    bits.append_n(count, true);
    bits
}

fn write_windows(
    feature: u32,
    picks: &Picks<'_>,
    writer: &mut SegmentWriter<'_>,
    go_on: &dyn Fn() -> Result<()>,
    shift: u32,
    source: &mut Interleaved<'_>,
) -> Result<()> {
    let mut offsets = vec![0u64];
    let mut bytes = Vec::new();
    writer.begin(SectionKind::Windows, feature)?;
    picks.each(1 << shift, |picked| {
        go_on()?;
        bytes.clear();
        window::encode(&source.interleave(picked)?, &mut bytes)?;
        writer.append_bytes(&bytes)?;
        offsets.push(writer.section_length());
        Ok(())
    })?;
    writer.end(picks.count(), shift);
    writer.section(SectionKind::WindowOffsets, feature, &offsets)
}

/// How many values make a window of about [`WINDOW_BYTES`], as a binary logarithm.
fn window_shift(data_type: &DataType, columns: &[Option<&Column>]) -> u32 {
    let bytes: u64 = columns.iter().flatten().map(|column| column.bytes() as u64).sum();
    let values: u64 = columns.iter().flatten().map(|column| u64::from(column.len())).sum();
    let average = bytes.div_ceil(values.max(1)).max(1);
    let shift = (WINDOW_BYTES / average).max(1).ilog2().clamp(*WINDOW_SHIFTS.start(), *WINDOW_SHIFTS.end());
    // A window must not hold more different values than the keys of a dictionary can tell apart.
    match data_type {
        DataType::Dictionary(key, _) => match key.primitive_width() {
            Some(1) => shift.min(7),
            Some(2) => shift.min(15),
            _ => shift,
        },
        _ => shift,
    }
}

/// Values of fixed width, copied from where they are.
struct Copied<'a> {
    width: usize,
    sources: Vec<Option<FixedValues<'a>>>,
    any_nulls: bool,
}

impl<'a> Copied<'a> {
    fn new(width: usize, columns: &[Option<&'a Column>]) -> Result<Self> {
        // Nearly all values will be copied, so all are checked at once instead of each on its own.
        columns.iter().flatten().try_for_each(|column| column.verify())?;
        let sources: Vec<_> = columns.iter().map(|column| column.and_then(Column::fixed)).collect();
        let any_nulls = sources.iter().flatten().any(|source| source.nulls.is_some());
        Ok(Self { width, sources, any_nulls })
    }

    fn copy(&mut self, picked: &[Pick]) -> Result<Fixed> {
        let mut bytes = vec![0; picked.len() * self.width];
        match self.width {
            1 => self.copy_width::<1>(picked, &mut bytes),
            2 => self.copy_width::<2>(picked, &mut bytes),
            4 => self.copy_width::<4>(picked, &mut bytes),
            8 => self.copy_width::<8>(picked, &mut bytes),
            16 => self.copy_width::<16>(picked, &mut bytes),
            width => {
                for (to, &(source, position)) in bytes.chunks_exact_mut(width).zip(picked) {
                    if let Some(from) = self.source(source) {
                        to.copy_from_slice(from.value(position as usize));
                    }
                }
            }
        }
        let is_valid = |&(source, position): &Pick| {
            let nulls = self.source(source).and_then(|from| from.nulls);
            !nulls.is_some_and(|nulls| nulls.is_null(position as usize))
        };
        let valid = (self.any_nulls && !picked.iter().all(is_valid)).then(|| picked.iter().map(is_valid).collect());
        Ok(Fixed { width: self.width, stride: self.width, bytes: bytes.into(), valid })
    }

    fn source(&self, source: u32) -> Option<&FixedValues<'a>> {
        self.sources.get(source as usize).and_then(Option::as_ref)
    }

    /// The common widths are single moves.
    fn copy_width<const WIDTH: usize>(&self, picked: &[Pick], bytes: &mut [u8]) {
        for (to, &(source, position)) in bytes.as_chunks_mut::<WIDTH>().0.iter_mut().zip(picked) {
            if let Some(from) = self.source(source) {
                *to = from.sized(position as usize);
            }
        }
    }
}

/// Values that Arrow gathers, cast where their column has an older type.
struct Interleaved<'a> {
    data_type: &'a DataType,
    columns: &'a [Option<&'a Column>],
    /// Cast windows that the last output used, by column and window: the next one most likely starts in them.
    cast: HashMap<(u32, u32), ArrayRef>,
}

impl<'a> Interleaved<'a> {
    fn new(data_type: &'a DataType, columns: &'a [Option<&'a Column>]) -> Self {
        Self { data_type, columns, cast: HashMap::new() }
    }

    fn interleave(&mut self, picked: &[Pick]) -> Result<ArrayRef> {
        let mut arrays: Vec<ArrayRef> = Vec::new();
        let mut of_window: HashMap<(u32, u32), usize> = HashMap::new();
        let mut last = None;
        let mut indices = Vec::with_capacity(picked.len());
        for &(source, position) in picked {
            let column = self.columns[source as usize].expect("a picked value has a column");
            let (window, index) = column.locate(position);
            let key = (source, window);
            let array = match last {
                Some((last_key, array)) if last_key == key => array,
                _ => match of_window.get(&key) {
                    Some(&array) => array,
                    None => {
                        arrays.push(self.window(column, key)?);
                        of_window.insert(key, arrays.len() - 1);
                        arrays.len() - 1
                    }
                },
            };
            last = Some((key, array));
            indices.push((array, index as usize));
        }
        self.cast.retain(|key, _| of_window.contains_key(key));
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        Ok(interleave(&arrays, &indices)?)
    }

    fn window(&mut self, column: &Column, key: (u32, u32)) -> Result<ArrayRef> {
        if column.fixed().is_some() {
            column.verify()?;
        }
        let array = column.window(key.1)?;
        if array.data_type() == self.data_type {
            return Ok(array);
        }
        if let Some(array) = self.cast.get(&key) {
            return Ok(ArrayRef::clone(array));
        }
        // A value that does not fit must not become null: features are only ever widened.
        let exact = CastOptions { safe: false, ..CastOptions::default() };
        let array = cast_with_options(&array, self.data_type, &exact)?;
        self.cast.insert(key, ArrayRef::clone(&array));
        Ok(array)
    }
}
