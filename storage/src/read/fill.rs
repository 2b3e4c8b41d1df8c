//! Filling the answer of one table: from the latest packs where they serve, from history elsewhere. Lookups, joins and
//! scans of the latest rows are this one function.

use std::sync::Arc;

use super::answer::AnswerTable;
use super::bounds::Bounds;
use super::latest;
use super::latest::Packed;
use super::plan::AskedTable;
use super::resolve::{Wanted, resolve};
use super::resolved::{Item, Resolved};
use super::slab::SpareSlabs;
use super::statuses::{BaseStatuses, Status};
use crate::error::{Error, Kind, Result};
use crate::parallel;
use crate::segment::away::{self, Lack};
use crate::view::TableView;

/// Whether a read waits for the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as it takes.
    Waits,
    /// Not at all: what is away is an error.
    None,
}

/// How an answer is filled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filling<'a> {
    pub(crate) view: &'a TableView,
    pub(crate) bounds: &'a Bounds,
    /// How many rows the answer has.
    pub(crate) rows: usize,
    /// Whether the winners' event times are kept.
    pub(crate) event_times: bool,
    pub(crate) threads: usize,
    pub(crate) patience: Patience,
    pub(crate) slabs: &'a Arc<SpareSlabs>,
}

/// The answer of `asked` for `items`: some buckets, each with its items.
pub(crate) fn fill<'a, 'i>(
    asked: &'a AskedTable,
    items: impl Iterator<Item = (usize, &'i [Item])>,
    how: &Filling<'_>,
) -> Result<AnswerTable<'a>> {
    let Filling { view, bounds, threads, .. } = *how;
    let features: Vec<u32> = asked.features.iter().map(|feature| feature.feature.id).collect();
    let event_times = how.event_times || asked.features.iter().any(|feature| feature.max_age.is_some());
    let wanted = Wanted { features: &features, event_times };
    let (packed, rest) = latest::split(bounds, asked, view, items);
    let resolved: Vec<Resolved> =
        parallel::map(rest, threads, |(bucket, items)| resolve(&view.buckets[bucket], items, bounds, wanted))?;
    bring(&resolved, &features, how.patience)?;
    let base = base_statuses(how.rows, &packed, &resolved);
    let mut table = AnswerTable::new(&asked.features, &asked.state, base, how.event_times, how.slabs);
    packed.iter().try_for_each(|packed| latest::fill(packed, &mut table))?;
    table.fill(&resolved, threads)?;
    Ok(table)
}

/// Brings all cells that won and are away: what a read needs of ice it asks for once.
pub(crate) fn bring(resolved: &[Resolved], features: &[u32], patience: Patience) -> Result<()> {
    let mut lacks = Vec::new();
    for of in resolved {
        for (number, source) in of.sources.iter().enumerate().filter(|(_, source)| source.chunk.is_away()) {
            for (slot, feature) in features.iter().enumerate() {
                let Some(column) = source.chunk.column(*feature) else { continue };
                let won = of.features.get(slot).and_then(|decided| decided.won.get(number));
                let picks = source.picks.iter().chain(won.into_iter().flat_map(|won| &won.picks));
                lacks.extend(column.lack(picks.map(|pick| pick.row))?);
            }
        }
    }
    wait_for(lacks, patience)
}

/// Brings `lacks`, if the read waits for them.
pub(crate) fn wait_for(lacks: Vec<Lack<'_>>, patience: Patience) -> Result<()> {
    match patience {
        Patience::None if !lacks.is_empty() => {
            Err(Error::new(Kind::Away, "the cells that are asked for lie in the bucket"))
        }
        _ => away::bring(lacks),
    }
}

/// Value for every row that one row of a pack or of history answers whole, never for all others.
fn base_statuses(rows: usize, packed: &[Packed<'_>], resolved: &[Resolved]) -> BaseStatuses {
    let sources = || resolved.iter().flat_map(|resolved| &resolved.sources);
    let in_packs: usize = packed.iter().map(Packed::len).sum();
    let in_history: usize = sources().map(|source| source.picks.len()).sum();
    if in_packs + in_history == rows {
        return BaseStatuses::Values(rows);
    }
    let mut statuses = vec![Status::Never as u8; rows];
    let packed = packed.iter().flat_map(Packed::places);
    let picked = sources().flat_map(|source| source.picks.iter().map(|pick| pick.place));
    packed.chain(picked).for_each(|place| statuses[place as usize] = Status::Value as u8);
    BaseStatuses::Each(statuses)
}
