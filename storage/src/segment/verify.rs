//! Whether a segment whose blocks check also keeps its structural promises: storage order, steps that rise, ranges
//! that are those of its rows, cells that lie in their columns.
//!
//! A file that was written wrongly has right checksums. Reads rely on what is checked here without looking.

use std::cmp::Reverse;

use crate::error::{Error, Result};
use crate::rows::{RowKind, Rows, step_zones};
use crate::run::Run;
use crate::segment::checks::Checks;
use crate::segment::{SegmentMeta, file_name};

/// Checks everything of the open segment `run`, which `meta` describes, in a bucket of `ordinals` ordinals.
pub(crate) fn verify(run: &Run, meta: &SegmentMeta, ordinals: u32) -> Result<()> {
    let rows = &run.rows;
    let Some(checks) = &rows.checks else { return Ok(()) };
    let wrong = |what: &str| Err(Error::corrupt(&file_name(meta.number), 0, what));
    let mut entities = 0;
    for (ordinal, range) in rows.entities()? {
        checks.rows(range.clone())?;
        if ordinal >= ordinals {
            return wrong(&format!("it has rows of ordinal {ordinal}, which the dictionary did not give"));
        }
        let in_order = range.clone().zip(range.skip(1)).all(|(row, next)| place(rows, row) < place(rows, next));
        if !in_order {
            return wrong(&format!("the rows of ordinal {ordinal} are not in storage order"));
        }
        entities += 1;
    }
    if entities != meta.entities {
        return wrong("it has another number of entities than its footer says");
    }
    if let Some(what) = broken_promise(rows, meta) {
        return wrong(what);
    }
    verify_columns(run, checks)
}

/// Where `row` stands among the rows of its entity.
fn place(rows: &Rows, row: u32) -> impl Ord + use<'_> {
    let at = row as usize;
    Reverse((rows.event_times[at], rows.row_id(row), rows.row_steps[at], rows.places.of(row)))
}

/// What the rows as a whole do not keep.
fn broken_promise(rows: &Rows, meta: &SegmentMeta) -> Option<&'static str> {
    let times = &rows.event_times;
    let ends = (times.iter().copied().min()?, times.iter().copied().max()?);
    if ends != (meta.event_time_min, meta.event_time_max) {
        return Some("its event times are not within those that the footer states");
    }
    let steps = &rows.steps;
    if !steps.sequences.is_sorted_by(|a, b| a < b) || !steps.ingest_times.is_sorted() {
        return Some("its commits are out of order");
    }
    let of_steps =
        (steps.sequences.first()?, steps.sequences.last()?, steps.ingest_times.first()?, steps.ingest_times.last()?);
    let stated = (&meta.sequence_min, &meta.sequence_max, &meta.ingest_time_min, &meta.ingest_time_max);
    if of_steps != stated {
        return Some("its commits are not those that the footer states");
    }
    if step_zones(&rows.row_steps) != rows.step_zones {
        return Some("the least commits of its row zones are wrong");
    }
    let tombstones = (0..rows.len()).filter(|&row| rows.kind(row) != RowKind::Write).count();
    if tombstones as u64 != u64::from(meta.tombstones) {
        return Some("it has another number of tombstones than its footer says");
    }
    let too_early = |row: u32| times[row as usize].saturating_sub(rows.ingest_time(row)) > meta.lead_max;
    (0..rows.len()).any(too_early).then_some("a row's event time leads its ingest time by more than the footer says")
}

fn verify_columns(run: &Run, checks: &Checks) -> Result<()> {
    for chunk in &run.chunks {
        for column in &chunk.columns {
            column.verify()?;
            let mut next = 0;
            for row in (0..run.rows.len()).filter(|_| !column.is_dense()) {
                match column.position(row)? {
                    Some(position) if position == next => next += 1,
                    Some(_) => return Err(checks.damaged(0, "the cells of a column are counted wrongly")),
                    None => {}
                }
            }
            if !column.is_dense() && next != column.len() {
                return Err(checks.damaged(0, "a column has values that belong to no row"));
            }
        }
    }
    Ok(())
}
