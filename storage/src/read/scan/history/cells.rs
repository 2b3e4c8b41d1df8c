//! The cells of the rows of one batch of a history. Where rows that follow each other have cells that do, as nearly all
//! have, these are copied together, without a look at each.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer};

use crate::column::Column;
use crate::error::Result;
use crate::fixed_values::{FixedValues, fixed_width};
use crate::gather::{CellOrigin, gather};
use crate::read::fixed;
use crate::read::plan::AskedFeature;
use crate::rows::RowKind;
use crate::run::{Chunk, Origin, Run};
use crate::segment::away;
use crate::transpose::{Transposed, is_transposed};

/// Where the cells of the rows of a batch are.
pub(super) struct Cells<'a> {
    run: &'a Run,
    /// How many rows there are.
    rows: usize,
    /// They in their order, together.
    together: Vec<Together>,
}

/// Rows of a batch that follow each other, and are rows of a chunk that do, or rows without a cell.
#[derive(Debug, PartialEq, Eq)]
enum Together {
    Cells { chunk: u32, rows: Range<u32> },
    None { rows: usize },
}

/// A feature and the columns that it has in the chunks of the run.
struct Wanted<'a> {
    feature: &'a AskedFeature,
    columns: Vec<Option<&'a Column>>,
}

impl<'a> Cells<'a> {
    /// Of `rows` of `run`.
    pub(super) fn new(run: &'a Run, rows: impl Iterator<Item = u32>) -> Self {
        let mut together: Vec<Together> = Vec::new();
        let mut count = 0;
        for row in rows {
            count += 1;
            let origin = (run.rows.kind(row) == RowKind::Write).then(|| run.origin(row));
            match (together.last_mut(), origin) {
                (Some(Together::Cells { chunk, rows }), Some(Origin { chunk: next, row }))
                    if *chunk == next && rows.end == row =>
                {
                    rows.end += 1;
                }
                (Some(Together::None { rows }), None) => *rows += 1,
                (_, Some(Origin { chunk, row })) => together.push(Together::Cells { chunk, rows: row..row + 1 }),
                (_, None) => together.push(Together::None { rows: 1 }),
            }
        }
        Self { run, rows: count, together }
    }

    /// Those of each of `features`, as they are stored; null where there is none.
    pub(super) fn of(&self, features: &'a [AskedFeature]) -> Result<Vec<ArrayRef>> {
        let wanted = features.iter().map(|feature| {
            let column = |chunk: &'a Arc<Chunk>| chunk.column(feature.feature.id);
            Wanted { feature, columns: self.run.chunks.iter().map(column).collect() }
        });
        let wanted: Vec<Wanted<'_>> = wanted.collect();
        self.bring(&wanted)?;
        let (copied, gathered): (Vec<_>, Vec<_>) =
            wanted.into_iter().enumerate().partition(|(_, wanted)| self.in_place(wanted));
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; features.len()];
        for (place, wanted) in gathered {
            arrays[place] = Some(self.gathered(&wanted)?);
        }
        let (places, copied): (Vec<usize>, Vec<Wanted<'_>>) = copied.into_iter().unzip();
        for (place, array) in places.into_iter().zip(self.copied(&copied)?) {
            arrays[place] = Some(array);
        }
        Ok(arrays.into_iter().map(|array| array.expect("each is copied or gathered")).collect())
    }

    /// Brings the cells that are away, all at once.
    fn bring(&self, wanted: &[Wanted<'_>]) -> Result<()> {
        let rows_of = |wanted: usize| {
            self.together.iter().filter_map(move |together| match together {
                Together::Cells { chunk, rows } if *chunk as usize == wanted => Some(rows.clone()),
                _ => None,
            })
        };
        let mut lacks = Vec::new();
        for (chunk, _) in self.run.chunks.iter().enumerate().filter(|(_, chunk)| chunk.is_away()) {
            for column in wanted.iter().filter_map(|wanted| wanted.columns[chunk]) {
                lacks.extend(column.lack(rows_of(chunk).flatten())?);
            }
        }
        away::bring(lacks)
    }

    /// Whether the cells lie row by row, each in its few bytes.
    fn in_place(&self, wanted: &Wanted<'_>) -> bool {
        let stored = &wanted.feature.stored;
        let dense = |column: &Column| column.is_dense() && column.data_type() == stored && column.fixed().is_some();
        fixed_width(stored).is_some_and(is_transposed)
            && self.together.iter().all(|together| match together {
                Together::None { .. } => true,
                Together::Cells { chunk, .. } => wanted.columns[*chunk as usize].is_none_or(dense),
            })
    }

    /// Cells that lie row by row.
    fn copied(&self, wanted: &[Wanted<'_>]) -> Result<Vec<ArrayRef>> {
        let width = |wanted: &Wanted<'_>| fixed_width(&wanted.feature.stored).expect("it was looked at");
        let mut cells = Transposed::new(wanted.iter().map(width), self.rows);
        let mut valid: Vec<Option<BooleanBufferBuilder>> = wanted.iter().map(|_| None).collect();
        let mut done = 0;
        for together in &self.together {
            let (chunk, rows) = match together {
                Together::None { rows } => (None, 0..*rows),
                Together::Cells { chunk, rows } => (Some(*chunk as usize), rows.start as usize..rows.end as usize),
            };
            let columns: Vec<Option<&Column>> = wanted.iter().map(|wanted| wanted.columns[chunk?]).collect();
            for column in columns.iter().flatten() {
                column.check_range(rows.start as u32..rows.end as u32)?;
            }
            let values: Vec<Option<FixedValues<'_>>> = columns.iter().map(|column| column.as_ref()?.fixed()).collect();
            for (valid, values) in valid.iter_mut().zip(&values) {
                note_valid(valid, values.as_ref(), &rows, done);
            }
            done += rows.len();
            cells.add(&values, rows);
        }
        let array = |(wanted, (bytes, valid)): (&Wanted<'_>, (Buffer, Option<BooleanBufferBuilder>))| {
            let nulls = valid.map(|mut valid| NullBuffer::new(valid.finish()));
            fixed::array(&wanted.feature.stored, self.rows, bytes, nulls)
        };
        wanted.iter().zip(cells.finish().zip(valid)).map(array).collect()
    }

    /// Cells that may be anywhere.
    fn gathered(&self, wanted: &Wanted<'_>) -> Result<ArrayRef> {
        let mut origins = Vec::with_capacity(self.rows);
        for together in &self.together {
            match together {
                Together::None { rows } => origins.resize(origins.len() + rows, CellOrigin::ABSENT),
                Together::Cells { chunk, rows } => match wanted.columns[*chunk as usize] {
                    None => origins.resize(origins.len() + rows.len(), CellOrigin::ABSENT),
                    Some(column) => {
                        for row in rows.clone() {
                            origins.push(origin(*chunk, column, row)?);
                        }
                    }
                },
            }
        }
        gather(&wanted.feature.stored, &wanted.columns, &origins)
    }
}

/// Where the cell of `row` is in `column`, the one of `chunk`; its bytes are checked.
fn origin(chunk: u32, column: &Column, row: u32) -> Result<CellOrigin> {
    let Some(position) = column.position(row)? else { return Ok(CellOrigin::ABSENT) };
    column.check(position)?;
    Ok(CellOrigin { column: chunk, position })
}

/// Notes which of `rows` have a value and are not null, after the `done` rows before them. Nothing is kept as long as all
/// have.
fn note_valid(
    valid: &mut Option<BooleanBufferBuilder>,
    values: Option<&FixedValues<'_>>,
    rows: &Range<usize>,
    done: usize,
) {
    let all = values.is_some_and(|values| values.nulls.is_none());
    if all && valid.is_none() {
        return;
    }
    let valid = valid.get_or_insert_with(|| {
        let mut valid = BooleanBufferBuilder::new(done + rows.len());
        valid.append_n(done, true);
        valid
    });
    match values {
        None => valid.append_n(rows.len(), false),
        Some(FixedValues { nulls: None, .. }) => valid.append_n(rows.len(), true),
        Some(FixedValues { nulls: Some(nulls), .. }) => {
            valid.append_buffer(&BooleanBuffer::collect_bool(rows.len(), |row| !nulls.is_null(rows.start + row)));
        }
    }
}
