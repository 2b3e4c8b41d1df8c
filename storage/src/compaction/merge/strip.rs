//! Strips of a segment that a merge writes: the cells of several features row by row.
//!
//! Most features of a table are written together and read together. Side by side, the cells of a row cost one or two
//! cache misses instead of one each. Only features of which every write row has a cell, of one narrow fixed width, are
//! in strips; a tombstone's cells are zeros.

use arrow_buffer::{BooleanBufferBuilder, bit_util};
use arrow_schema::DataType;

use super::cells::position;
use super::output::{NO_CHUNK, Output};
use crate::column::{Column, FixedValues};
use crate::error::Result;
use crate::run::Origin;
use crate::segment::format::SectionKind;
use crate::segment::writer::SegmentWriter;

/// Bytes of a strip's row, at most, so that reading one feature does not mean to read a thousand.
const ROW_BYTES_MAX: usize = 512;
/// Rows that are gathered before they are appended.
const GATHERED_ROWS: usize = 2048;

/// A feature of a strip.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) feature: u32,
    pub(super) data_type: DataType,
    /// Bytes of a cell.
    pub(super) width: usize,
}

/// Writes the cells of `members`, all of which every write row has, in as many strips as they need.
pub(super) fn write_all(
    members: &[Member],
    output: &Output<'_>,
    writer: &mut SegmentWriter<'_>,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let mut rest = members;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|member| {
            bytes += member.width;
            bytes <= ROW_BYTES_MAX
        });
        let (strip, after) = rest.split_at(fits.count());
        write(strip, output, writer, go_on)?;
        rest = after;
    }
    Ok(())
}

/// Writes one strip, and after it which cells are not null.
fn write(
    members: &[Member],
    output: &Output<'_>,
    writer: &mut SegmentWriter<'_>,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let stride: usize = members.iter().map(|member| member.width).sum();
    let mut cells: Vec<Cells<'_>> = Vec::with_capacity(members.len());
    let mut start = 0;
    for member in members {
        writer.feature(member.feature, member.data_type.clone());
        cells.push(Cells::new(member, start, output)?);
        start += member.width;
    }
    writer.begin(SectionKind::Strip, members[0].feature)?;
    let mut bytes = Vec::new();
    for origins in output.origins.chunks(GATHERED_ROWS) {
        go_on()?;
        bytes.clear();
        bytes.resize(origins.len() * stride, 0);
        cells.iter_mut().try_for_each(|of| of.gather(origins, &mut bytes, stride))?;
        writer.append_bytes(&bytes)?;
    }
    let rows = output.origins.len();
    writer.end_strip(rows as u32, members.iter().zip(&cells).map(|(member, of)| (member.feature, of.start as u32)));
    for (member, of) in members.iter().zip(cells) {
        if let Some(mut valid) = of.valid {
            let valid = valid.finish();
            writer.section(SectionKind::Valid, member.feature, &valid.values()[..bit_util::ceil(rows, 8)])?;
        }
    }
    Ok(())
}

/// Where the cells of one feature come from and where they go.
struct Cells<'a> {
    columns: Vec<Option<&'a Column>>,
    sources: Vec<Option<FixedValues<'a>>>,
    /// Where a cell starts in its row.
    start: usize,
    width: usize,
    /// Which are not null, if any may be.
    valid: Option<BooleanBufferBuilder>,
}

impl<'a> Cells<'a> {
    fn new(member: &Member, start: usize, output: &Output<'a>) -> Result<Self> {
        let columns: Vec<_> = output.chunks.iter().map(|chunk| chunk.column(member.feature)).collect();
        // Nearly all values will be copied, so all are checked at once instead of each on its own.
        columns.iter().flatten().try_for_each(|column| column.verify())?;
        let sources: Vec<_> = columns.iter().map(|column| column.and_then(Column::fixed)).collect();
        let any_nulls = sources.iter().flatten().any(|source| source.nulls.is_some());
        let valid = any_nulls.then(|| BooleanBufferBuilder::new(output.origins.len()));
        Ok(Self { columns, sources, start, width: member.width, valid })
    }

    /// Puts the cells of the rows that come from `origins` into theirs of `rows`.
    fn gather(&mut self, origins: &[Origin], rows: &mut [u8], stride: usize) -> Result<()> {
        match self.width {
            1 => self.gather_width::<1>(origins, rows, stride),
            2 => self.gather_width::<2>(origins, rows, stride),
            4 => self.gather_width::<4>(origins, rows, stride),
            8 => self.gather_width::<8>(origins, rows, stride),
            width => self.each(origins, rows, stride, |to, from, position| {
                to[..width].copy_from_slice(from.value(position));
            }),
        }
    }

    /// The common widths are single moves.
    fn gather_width<const WIDTH: usize>(&mut self, origins: &[Origin], rows: &mut [u8], stride: usize) -> Result<()> {
        self.each(origins, rows, stride, |to, from, position| {
            if let Some(to) = to.first_chunk_mut::<WIDTH>() {
                *to = from.sized(position);
            }
        })
    }

    fn each(
        &mut self,
        origins: &[Origin],
        rows: &mut [u8],
        stride: usize,
        copy: impl Fn(&mut [u8], &FixedValues<'_>, usize),
    ) -> Result<()> {
        for (row, origin) in rows.chunks_exact_mut(stride).zip(origins) {
            let mut is_valid = true;
            if origin.chunk != NO_CHUNK {
                let position = position(&self.columns, origin)?.expect("every write row has a cell") as usize;
                let from = self.sources[origin.chunk as usize].as_ref().expect("columns of strips have a fixed width");
                copy(&mut row[self.start..], from, position);
                is_valid = !from.nulls.is_some_and(|nulls| nulls.is_null(position));
            }
            if let Some(valid) = &mut self.valid {
                valid.append(is_valid);
            }
        }
        Ok(())
    }
}
