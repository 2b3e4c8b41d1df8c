//! Winners whose cells are away, and which the latest pack holds too: their cells are taken from there, so that a read of the
//! latest does not wait for the bucket, however much was written since the pack was built.
//!
//! A pack knows its winners up to its position. A row of up to there that wins now won then:
//!
//! - Without tombstones of its entity rows are only added, so the greatest of all is the greatest of those that were there.
//! - Where each event time is one identity, whatever hides a row of it hides every older one of it too, and what is uncovered is
//!   uncovered together. So a winner that has the event time of the pack's is the pack's.
//!
//! Entities with tombstones in tables with row ids are left to the bucket. So is what the pack has as another type.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::resolved::{Item, Pick, Resolved, Source, Won};
use super::walk::BoundedRun;
use crate::column::Column;
use crate::error::Result;
use crate::pack::gather::values;
use crate::pack::{NULL, Pack, VALUE};
use crate::run::{Chunk, Run};
use crate::time::Micros;

/// The winners that a read of the latest met in one bucket.
pub(super) struct Met<'a> {
    pub(super) pack: &'a Pack,
    pub(super) runs: &'a [BoundedRun<'a>],
    /// The run of each source.
    pub(super) runs_of_sources: &'a [u32],
    pub(super) items: &'a [Item],
    pub(super) features: &'a [u32],
    /// Places of entities that have tombstones.
    pub(super) walked: &'a HashSet<u32>,
}

/// Feature, and its index in the pack.
type Held = (u32, usize);

/// Winners of one source, as it lists them.
type Winners = (Vec<Pick>, Vec<Micros>);

/// Gives the winners among `resolved` that are away, and that the pack has too, sources in memory.
pub(super) fn take(met: &Met<'_>, resolved: &mut Resolved) -> Result<()> {
    let ordinals: HashMap<u32, u32> = met.items.iter().map(|item| (item.place, item.ordinal)).collect();
    for number in 0..resolved.sources.len() {
        let chunk = Arc::clone(&resolved.sources[number].chunk);
        if !chunk.is_away() {
            continue;
        }
        let run = met.runs[met.runs_of_sources[number] as usize].run;
        let from = AwayRun { met, run, ordinals: &ordinals };
        let asked = met.features.iter().filter_map(|feature| chunk.column(*feature));
        if let Some(held) = asked.map(|column| from.held(column)).collect::<Option<Vec<Held>>>() {
            let Source { picks, event_times, .. } = &mut resolved.sources[number];
            if let Some((near, picked)) = from.split(&held, picks, event_times)? {
                let source = from.source(&held, &near)?;
                resolved.sources.push(Source { picks: source.1, event_times: picked, chunk: source.0 });
            }
        }
        for (slot, feature) in met.features.iter().enumerate() {
            let won = resolved.features.get_mut(slot).and_then(|decided| decided.won.get_mut(number));
            let held = chunk.column(*feature).and_then(|column| from.held(column));
            let (Some(Won { picks, event_times }), Some(held)) = (won, held) else { continue };
            let Some((near, event_times)) = from.split(&[held], picks, event_times)? else { continue };
            let (chunk, picks) = from.source(&[held], &near)?;
            let source = resolved.sources.len();
            resolved.sources.push(Source { chunk, picks: Vec::new(), event_times: Vec::new() });
            let all = &mut resolved.features[slot].won;
            all.resize(source, Won::default());
            all.push(Won { picks, event_times });
        }
    }
    Ok(())
}

/// A run whose cells are away.
struct AwayRun<'a> {
    met: &'a Met<'a>,
    run: &'a Run,
    /// By place.
    ordinals: &'a HashMap<u32, u32>,
}

impl AwayRun<'_> {
    /// Where the pack has the feature of `column`, as that type.
    fn held(&self, column: &Column) -> Option<Held> {
        let layout = self.met.pack.layout();
        let index = layout.index_of(column.feature())?;
        (layout.features()[index].data_type == *column.data_type()).then_some((column.feature(), index))
    }

    /// Takes out of `picks` and their event times, if there are any, those whose cells the pack has; `None` if it has none.
    fn split(&self, held: &[Held], picks: &mut Vec<Pick>, event_times: &mut Vec<Micros>) -> Result<Option<Winners>> {
        let mut near = Vec::with_capacity(picks.len());
        for pick in &*picks {
            near.push(self.is_in_pack(held, pick)?);
        }
        if !near.contains(&true) {
            return Ok(None);
        }
        let taken = (sift(picks, &near), sift(event_times, &near));
        Ok(Some(taken))
    }

    /// Whether the cells of `pick` are those of the pack.
    fn is_in_pack(&self, held: &[Held], pick: &Pick) -> Result<bool> {
        let Met { pack, walked, .. } = self.met;
        let rows = &self.run.rows;
        if rows.sequence(pick.row) > pack.position()
            || (walked.contains(&pick.place) && !rows.row_id(pick.row).is_empty())
        {
            return Ok(false);
        }
        let (layout, row) = (pack.layout(), pack.row(self.ordinals[&pick.place])?);
        let event_time = rows.event_times[pick.row as usize];
        Ok(held.iter().all(|&(_, index)| {
            let group = layout.features()[index].group;
            matches!(layout.status(row, index), VALUE | NULL) && layout.event_time(row, group) == event_time
        }))
    }

    /// The cells of `picks` from the pack, as a chunk of that many rows, and the picks as rows of it.
    fn source(&self, held: &[Held], picks: &[Pick]) -> Result<(Arc<Chunk>, Vec<Pick>)> {
        let ordinals: Vec<u32> = picks.iter().map(|pick| self.ordinals[&pick.place]).collect();
        let mut columns = held
            .iter()
            .map(|&(feature, index)| Ok(Column::in_memory(feature, values(self.met.pack, index, &ordinals)?, None)))
            .collect::<Result<Vec<_>>>()?;
        columns.sort_by_key(Column::feature);
        let picks = picks.iter().zip(0..).map(|(pick, row)| Pick { place: pick.place, row });
        Ok((Arc::new(Chunk { columns }), picks.collect()))
    }
}

/// Takes what is marked out of `of`, if that is not empty, and leaves the rest.
fn sift<T: Copy>(of: &mut Vec<T>, marked: &[bool]) -> Vec<T> {
    assert!(of.is_empty() || of.len() == marked.len(), "each is marked or not");
    let pick = |wanted: bool| of.iter().zip(marked).filter(move |(_, marked)| **marked == wanted).map(|(one, _)| *one);
    let (taken, left) = (pick(true).collect(), pick(false).collect());
    *of = left;
    taken
}
