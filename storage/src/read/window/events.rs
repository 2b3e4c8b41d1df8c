//! The events of entities, the newest first, as far as the windows that are asked for reach.
//!
//! An event is an identity that stands: all its standing writes put together, of each feature the first standing cell. The rule of
//! time (`rule.rs`) is the only judge; here is collected what it says. Events come in blocks of bounded size, and an entity of many
//! goes on in the next.

use std::ops::Range;

use super::super::bounds::PointBounds;
use super::super::rule::{VisibleRow, standing};
use super::super::walk::{BoundedRun, Groups};
use crate::error::Result;
use crate::gather::CellOrigin;
use crate::time::Micros;

/// Events of a block, at most.
const BLOCK_EVENTS_MAX: u64 = 32_768;
/// Bytes of the cells of a block, about, at most, and of what is reckoned of them.
pub(crate) const BLOCK_BYTES: u64 = 4 << 20;
/// What an event takes beside its cells, and what a cell takes beside its value.
const BESIDE_BYTES: u64 = 16;

/// How many events are looked at together, if the cells of one take so many bytes in so many features.
pub(super) fn block_events(cell_bytes: u64, features: usize) -> usize {
    let bytes = 2 * cell_bytes + BESIDE_BYTES * (1 + features as u64);
    (BLOCK_BYTES / bytes).clamp(1, BLOCK_EVENTS_MAX) as usize
}

/// Events, by column.
#[derive(Debug)]
pub(super) struct Events<'a> {
    /// The features whose cells are collected.
    features: &'a [u32],
    pub(super) event_times: Vec<Micros>,
    /// The encoded row ids, if they are asked for.
    pub(super) row_ids: Option<Vec<Vec<u8>>>,
    /// Of each feature where the cell of each event is.
    pub(super) cells: Vec<Vec<CellOrigin>>,
}

impl<'a> Events<'a> {
    /// None yet; with the cells of `features`, and row ids if these are asked for.
    pub(super) fn new(features: &'a [u32], row_ids: bool) -> Self {
        let cells = features.iter().map(|_| Vec::new()).collect();
        Self { features, event_times: Vec::new(), row_ids: row_ids.then(Vec::new), cells }
    }

    pub(super) fn len(&self) -> usize {
        self.event_times.len()
    }

    /// Leaves those at the places `kept`, in their order, and no other.
    pub(super) fn keep(&mut self, kept: &[u32]) {
        let of = |place: &u32| *place as usize;
        self.event_times = kept.iter().map(|place| self.event_times[of(place)]).collect();
        if let Some(row_ids) = &mut self.row_ids {
            *row_ids = kept.iter().map(|place| std::mem::take(&mut row_ids[of(place)])).collect();
        }
        for cells in &mut self.cells {
            *cells = kept.iter().map(|place| cells[of(place)]).collect();
        }
    }

    /// Begins an event.
    fn begin(&mut self, time: Micros, row_id: &[u8]) {
        self.event_times.push(time);
        if let Some(row_ids) = &mut self.row_ids {
            row_ids.push(row_id.to_vec());
        }
        self.cells.iter_mut().for_each(|cells| cells.push(CellOrigin::ABSENT));
    }

    /// Puts in the cells of `row`, one of the event that was begun last, of features that no newer one of it had.
    fn put(
        &mut self,
        runs: &[BoundedRun<'_>],
        chunk_starts: &[usize],
        row: &VisibleRow<'_>,
        taken_back: &[u32],
    ) -> Result<()> {
        let run = runs[row.run as usize].run;
        let origin = run.origin(row.row);
        let chunk = &run.chunks[origin.chunk as usize];
        for (feature, cells) in self.features.iter().zip(&mut self.cells) {
            let cell = cells.last_mut().expect("an event was begun");
            if *cell != CellOrigin::ABSENT || taken_back.contains(feature) {
                continue;
            }
            if let Some(column) = chunk.column(*feature)
                && let Some(position) = column.position(origin.row)?
            {
                *cell = CellOrigin { column: chunk_starts[row.run as usize] as u32 + origin.chunk, position };
            }
        }
        Ok(())
    }
}

/// The events of one entity, on the way from the newest to the oldest.
pub(super) struct Entity<'a> {
    groups: Groups<'a>,
    /// The event time that is too old; none is if it is missing.
    end: Option<Micros>,
    /// The event times at which a delete stands, the newest first: nothing before that counts.
    pub(super) deletes: Vec<Micros>,
}

impl<'a> Entity<'a> {
    /// Of `ordinal`, within `bounds`, after `end`.
    pub(super) fn new(
        runs: &'a [BoundedRun<'a>],
        ordinal: u32,
        bounds: &PointBounds,
        end: Option<Micros>,
    ) -> Result<Self> {
        Ok(Self { groups: Groups::new(runs, ordinal, bounds)?, end, deletes: Vec::new() })
    }

    /// Adds the next events to `events`, whose cells are in chunks that are numbered from `chunk_starts` on, until there are `enough` of them; whether there may be more.
    pub(super) fn next(&mut self, chunk_starts: &[usize], events: &mut Events<'_>, enough: usize) -> Result<bool> {
        let mut group = Vec::new();
        while events.len() < enough {
            let Some(time) = self.groups.time().filter(|time| self.end.is_none_or(|end| *time > end)) else {
                return Ok(false);
            };
            self.groups.take(time, &mut group);
            let runs = self.groups.runs();
            let mut identity: Option<&[u8]> = None;
            let deleted = standing(&group, |row, taken_back| {
                // Writes of one identity follow each other, the newest first.
                if identity != Some(row.row_id) {
                    identity = Some(row.row_id);
                    events.begin(time, row.row_id);
                }
                events.put(runs, chunk_starts, row, taken_back)
            })?;
            if deleted {
                self.deletes.push(time);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Seeks the deletes before the newest one: of windows that end before that one, they say why nothing counts.
    pub(super) fn seek_deletes(&mut self) -> Result<()> {
        let mut group = Vec::new();
        while let Some(time) = self.groups.time().filter(|time| self.end.is_none_or(|end| *time > end)) {
            self.groups.take(time, &mut group);
            if standing(&group, |_, _| Ok(()))? {
                self.deletes.push(time);
            }
        }
        Ok(())
    }
}

/// The events of `event_times`, which descend, that lie in a window: after `from`, if it says one, up to `to`.
pub(super) fn within(event_times: &[Micros], from: Option<Micros>, to: Micros) -> Range<usize> {
    let start = event_times.partition_point(|time| *time > to);
    let end = from.map_or(event_times.len(), |from| event_times.partition_point(|time| *time > from));
    start..end.max(start)
}
