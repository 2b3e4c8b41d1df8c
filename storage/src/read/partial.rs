//! Partial rows where nothing was deleted or taken back: the newest cell of each feature is sought by itself, and the
//! rows between are passed over by bitmap. What has tombstones is left to the whole rule, `walk.rs`.

use super::walk::{BoundedRun, PointBounds, Walked, Winner};
use crate::error::Result;
use crate::run::Run;
use crate::time::Micros;

/// The rows of one entity in one run, from the newest that is in the bounds on.
struct Look {
    run: usize,
    first: u32,
    end: u32,
}

/// The winners of `features` for `ordinal`; `None` if a run that holds the entity has tombstones.
pub(crate) fn newest_cells(
    runs: &[BoundedRun<'_>],
    ordinal: u32,
    point: &PointBounds,
    features: &[u32],
) -> Result<Option<Walked>> {
    let mut looks = Vec::with_capacity(runs.len());
    for (run, bounded) in runs.iter().enumerate() {
        let rows = &bounded.run.rows;
        let range = rows.range(ordinal)?;
        if range.is_empty() {
            continue;
        }
        if rows.kinds.is_some() {
            return Ok(None);
        }
        let end = range.end;
        let first = rows.seek(range, bounded.reach(point));
        if first < end {
            looks.push(Look { run, first, end });
        }
    }
    let winners = features.iter().map(|&feature| newest_cell(runs, &looks, feature)).collect::<Result<_>>()?;
    Ok(Some(Walked { winners, deleted: false, standing: None }))
}

/// The newest row, by the whole order, with a cell of `feature`.
fn newest_cell(runs: &[BoundedRun<'_>], looks: &[Look], feature: u32) -> Result<Option<Winner>> {
    let mut best: Option<(Micros, Winner)> = None;
    for look in looks {
        let bounded = &runs[look.run];
        let rows = &bounded.run.rows;
        if best.is_some_and(|(time, _)| time > rows.event_time_range.1) {
            // Runs are ordered by their newest event time: none of the others can beat this cell.
            break;
        }
        let Some(row) = first_cell(bounded, look, feature)? else { continue };
        let time = rows.event_times[row as usize];
        let wins = best.is_none_or(|(best_time, winner)| {
            let known = &runs[winner.run as usize].run.rows;
            (time, rows.order(row)) > (best_time, known.order(winner.row))
        });
        if wins {
            best = Some((time, Winner { run: look.run as u32, row }));
        }
    }
    Ok(best.map(|(_, winner)| winner))
}

/// The first visible row of `look` with a cell of `feature`.
fn first_cell(bounded: &BoundedRun<'_>, look: &Look, feature: u32) -> Result<Option<u32>> {
    let rows = &bounded.run.rows;
    let mut from = look.first;
    while let Some(row) = next_cell(bounded.run, feature, from, look.end)? {
        if bounded.steps.sees(&rows.steps, rows.row_steps[row as usize]) {
            return Ok(Some(row));
        }
        from = row + 1;
    }
    Ok(None)
}

/// The first of the write rows `from .. end` with a cell of `feature`.
fn next_cell(run: &Run, feature: u32, from: u32, end: u32) -> Result<Option<u32>> {
    if run.origins.is_none() {
        return match run.chunks.first().and_then(|chunk| chunk.column(feature)) {
            Some(column) => column.next_position(from, end),
            None => Ok(None),
        };
    }
    for row in from..end {
        let origin = run.origin(row);
        if let Some(column) = run.chunks[origin.chunk as usize].column(feature)
            && column.position(origin.row)?.is_some()
        {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
