//! Strips of a segment that a merge writes: the cells of several features row by row.
//!
//! Most features of a table are written together and read together. Side by side, the cells of a row cost one or two
//! cache misses instead of one each. Only features of which every write row has a cell, of one narrow fixed width, are
//! in strips; a tombstone's cells are zeros.

use arrow_buffer::{BooleanBufferBuilder, bit_util};
use arrow_schema::DataType;

use super::cells::position;
use super::output::{NO_CHUNK, Output};
use crate::column::Column;
use crate::error::Result;
use crate::gather::{CellOrigin, Cells, FixedColumns};
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
    let mut written: Vec<Written<'_>> = Vec::with_capacity(members.len());
    let mut start = 0;
    for member in members {
        writer.feature(member.feature, member.data_type.clone());
        written.push(Written::new(member, Cells { width: member.width, stride, start }, output)?);
        start += member.width;
    }
    writer.begin(SectionKind::Strip, members[0].feature)?;
    let mut bytes = Vec::new();
    for origins in output.origins.chunks(GATHERED_ROWS) {
        go_on()?;
        bytes.clear();
        bytes.resize(origins.len() * stride, 0);
        written.iter_mut().try_for_each(|of| of.gather(origins, &mut bytes))?;
        writer.append_bytes(&bytes)?;
    }
    let rows = output.origins.len();
    let starts = members.iter().zip(&written).map(|(member, of)| (member.feature, of.cells.start as u32));
    writer.end_strip(rows as u32, starts);
    for (member, of) in members.iter().zip(written) {
        if let Some(mut valid) = of.valid {
            let valid = valid.finish();
            writer.section(SectionKind::Valid, member.feature, &valid.values()[..bit_util::ceil(rows, 8)])?;
        }
    }
    Ok(())
}

/// Where the cells of one feature come from and where they go.
struct Written<'a> {
    columns: Vec<Option<&'a Column>>,
    values: FixedColumns<'a>,
    cells: Cells,
    /// Which are not null, if any may be.
    valid: Option<BooleanBufferBuilder>,
    /// Of the rows that are put together now.
    origins: Vec<CellOrigin>,
}

impl<'a> Written<'a> {
    fn new(member: &Member, cells: Cells, output: &Output<'a>) -> Result<Self> {
        let columns: Vec<_> = output.chunks.iter().map(|chunk| chunk.column(member.feature)).collect();
        // Nearly all values will be copied, so all are checked at once instead of each on its own.
        columns.iter().flatten().try_for_each(|column| column.verify())?;
        let values = FixedColumns::new(&columns);
        let valid = values.any_nulls().then(|| BooleanBufferBuilder::new(output.origins.len()));
        Ok(Self { columns, values, cells, valid, origins: Vec::with_capacity(GATHERED_ROWS) })
    }

    /// Puts the cells of the rows that come from `origins` into theirs of `rows`.
    fn gather(&mut self, origins: &[Origin], rows: &mut [u8]) -> Result<()> {
        self.origins.clear();
        for origin in origins {
            self.origins.push(match position(&self.columns, origin)? {
                Some(position) => CellOrigin { column: origin.chunk, position },
                None if origin.chunk == NO_CHUNK => CellOrigin::ABSENT,
                None => unreachable!("every write row has a cell"),
            });
        }
        self.values.copy(&self.origins, rows, self.cells);
        if let Some(valid) = &mut self.valid {
            self.origins.iter().for_each(|origin| valid.append(self.values.is_valid(*origin)));
        }
        Ok(())
    }
}
