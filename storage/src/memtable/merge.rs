//! Merging memtable runs: which, and how.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use super::coalesce::coalesce;
use super::{RunBuilder, concatenate, newest_first};
use crate::error::Result;
use crate::run::{Origin, Run};

/// Adds the newest run of a bucket to its `runs` and merges the youngest while they are of like size.
pub fn push(runs: &mut Vec<Arc<Run>>, run: Run) -> Result<()> {
    let mut run = coalesce(run)?;
    while let Some(older) = runs.pop() {
        if older.rows.len() > 2 * run.rows.len() {
            runs.push(older);
            break;
        }
        run = coalesce(merge(&older, &run))?;
    }
    runs.push(Arc::new(run));
    Ok(())
}

/// One run with the rows of both; every commit of `older` comes before every commit of `newer`.
fn merge(older: &Run, newer: &Run) -> Run {
    let step_offset = older.rows.steps.len() as u32;
    let chunk_offset = older.chunks.len() as u32;
    let kinds = older.rows.kinds.is_some() || newer.rows.kinds.is_some();
    let row_ids = older.rows.row_ids.is_some() || newer.rows.row_ids.is_some();
    let count = (older.rows.len() + newer.rows.len()) as usize;
    let mut build = RunBuilder::new(count, row_ids, kinds);
    let mut left = older.rows.directory.iter().peekable();
    let mut right = newer.rows.directory.iter().peekable();
    let from_older = Source { run: older, step_offset: 0, chunk_offset: 0 };
    let from_newer = Source { run: newer, step_offset, chunk_offset };
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let take = |side: &mut std::iter::Peekable<_>| {
            let next: Option<(u32, Range<u32>)> = side.next();
            next.expect("the side that is taken from was peeked at")
        };
        match order {
            Ordering::Less => {
                let (ordinal, range) = take(&mut left);
                range.for_each(|row| build.copy(&from_older, ordinal, row));
            }
            Ordering::Greater => {
                let (ordinal, range) = take(&mut right);
                range.for_each(|row| build.copy(&from_newer, ordinal, row));
            }
            Ordering::Equal => {
                let (ordinal, a) = take(&mut left);
                let (_, b) = take(&mut right);
                merge_entity(&mut build, ordinal, (&from_older, a), (&from_newer, b));
            }
        }
    }
    let steps = concatenate([&older.rows.steps, &newer.rows.steps].into_iter());
    build.finish(steps, older.chunks.iter().chain(&newer.chunks).cloned().collect())
}

/// A run whose rows are being copied, and where its steps and chunks begin in the result.
struct Source<'a> {
    run: &'a Run,
    step_offset: u32,
    chunk_offset: u32,
}

fn merge_entity(
    build: &mut RunBuilder,
    ordinal: u32,
    older: (&Source<'_>, Range<u32>),
    newer: (&Source<'_>, Range<u32>),
) {
    let (mut a, mut b) = (older.1, newer.1);
    while !a.is_empty() && !b.is_empty() {
        let (old, new) = (&older.0.run.rows, &newer.0.run.rows);
        let old_time = newest_first(old.event_times[a.start as usize]);
        let new_time = newest_first(new.event_times[b.start as usize]);
        // Among equals the newer commit comes first.
        let older_first = old_time.cmp(&new_time).then_with(|| new.row_id(b.start).cmp(old.row_id(a.start)));
        if older_first == Ordering::Less {
            build.copy(older.0, ordinal, a.start);
            a.start += 1;
        } else {
            build.copy(newer.0, ordinal, b.start);
            b.start += 1;
        }
    }
    a.for_each(|row| build.copy(older.0, ordinal, row));
    b.for_each(|row| build.copy(newer.0, ordinal, row));
}

impl RunBuilder {
    fn copy(&mut self, source: &Source<'_>, ordinal: u32, row: u32) {
        let rows = &source.run.rows;
        let at = self.event_times.len() as u32;
        self.ordinals.push(ordinal);
        self.event_times.push(rows.event_times[row as usize]);
        self.row_steps.push(rows.row_steps[row as usize] + source.step_offset);
        self.places.push(rows.places.of(row));
        if let Some(kinds) = &mut self.kinds {
            kinds.push(rows.kind(row) as u8);
        }
        if let Some(ids) = &mut self.row_ids {
            ids.append_value(rows.row_id(row));
        }
        let retracted = rows.retracted_features(row);
        if !retracted.is_empty() {
            self.retracted.push((at, retracted.to_vec()));
        }
        let origin = source.run.origin(row);
        self.origins.push(Origin { chunk: origin.chunk + source.chunk_offset, row: origin.row });
    }
}
