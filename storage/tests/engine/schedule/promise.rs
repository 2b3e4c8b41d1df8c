//! What was promised to anybody: the one history that every later opener must recover, and the positions that were seen.
//!
//! A commit is promised when it was acknowledged for the bucket, when a writer that opened serves it, or when a follower shows
//! it; with it all that was before it. So what is promised is one list that only grows: two promises of which neither begins
//! with the other are two histories, and whoever opens the bucket at any moment finds a list that begins with what is promised,
//! has each commit once, and nothing that nobody sent. Once somebody began to erase an entity, its commits may be there or not;
//! those that were acknowledged as erased are never there again.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType, UInt64Type};
use firn_storage::database::Database;
use firn_storage::error::{Error, Kind};
use firn_storage::io::simulated::Simulated;
use firn_storage::objects::memory::Memory;
use firn_storage::read::ScanRequest;
use rand::Rng;
use rand::rngs::StdRng;

use crate::world::ask::Ask;
use crate::world::data::rows_of;
use crate::world::{Ack, Batch, Outcome, World};

/// A commit, as everybody must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    pub number: i64,
    pub ingest_time: i64,
}

/// The commits of `database`, in the order of the log.
pub fn history(database: &Database) -> Result<Vec<Commit>, Error> {
    history_and_last(database).map(|(history, _)| history)
}

/// The commits of `database`, and the sequence of the last of them.
pub fn history_and_last(database: &Database) -> Result<(Vec<Commit>, u64), Error> {
    let request = ScanRequest { table: "t".to_owned(), history: true, parts: 1, ..ScanRequest::default() };
    let scan = database.scan(&database.catalog(), &request)?;
    let mut found = BTreeMap::new();
    for part in 0..scan.parts() {
        for batch in scan.open(part)? {
            let batch = batch?;
            let column = |name: &str| batch.column_by_name(name).expect("a column of a history");
            let numbers = column("n").as_primitive::<Int64Type>();
            let times = column("ingest_time").as_primitive::<TimestampMicrosecondType>();
            let sequences = column("sequence").as_primitive::<UInt64Type>();
            for row in 0..batch.num_rows() {
                let commit = Commit { number: numbers.value(row), ingest_time: times.value(row) };
                assert!(found.insert(sequences.value(row), commit).is_none(), "each commit has one row");
            }
        }
    }
    let last = found.last_key_value().map_or(0, |(sequence, _)| *sequence);
    Ok((found.into_values().collect(), last))
}

/// A history that somebody saw at a position.
#[derive(Debug)]
struct Seen {
    position: String,
    history: Vec<Commit>,
}

/// What was promised, seen and sent.
#[derive(Debug)]
pub struct Promises {
    promised: Vec<Commit>,
    /// To whom, for people.
    by: String,
    seen: Vec<Seen>,
    sent: BTreeMap<i64, Batch>,
    /// Whether somebody began to erase [`ERASED`].
    erasing: bool,
    /// What was acknowledged as erased.
    gone: BTreeSet<i64>,
    /// How often somebody opened the bucket anew.
    pub recovered: u64,
}

/// The entity that is erased.
pub const ERASED: usize = 3;

/// The entity that the commit `number` is about.
pub fn entity_of(number: i64) -> usize {
    number as usize % 4
}

/// So many of the positions that were seen are looked at by each opener.
const LOOKED_AT: usize = 4;

impl Promises {
    /// None yet, of a bucket without rows.
    pub fn new() -> Self {
        Self {
            promised: Vec::new(),
            by: String::new(),
            seen: Vec::new(),
            sent: BTreeMap::new(),
            erasing: false,
            gone: BTreeSet::new(),
            recovered: 0,
        }
    }

    /// How many commits are promised.
    pub fn count(&self) -> u64 {
        self.promised.len() as u64
    }

    /// Somebody begins to erase.
    pub fn begin_erase(&mut self) {
        self.erasing = true;
    }

    /// It was acknowledged that of `history` nothing is left of the entity.
    pub fn erased(&mut self, history: &[Commit]) {
        let of_erased = |commit: &&Commit| entity_of(commit.number) == ERASED;
        self.gone.extend(history.iter().filter(of_erased).map(|commit| commit.number));
    }

    /// The commits of `history` that nobody may undo.
    pub fn lasting(&self, history: &[Commit]) -> Vec<Commit> {
        let lasts = |commit: &&Commit| !self.erasing || entity_of(commit.number) != ERASED;
        history.iter().filter(lasts).copied().collect()
    }

    /// `batch` with the number `number` was sent.
    pub fn send(&mut self, number: i64, batch: Batch) {
        self.sent.insert(number, batch);
    }

    /// `who` was promised `history`.
    pub fn promise(&mut self, who: &str, history: &[Commit]) -> Outcome {
        let (history, promised) = (self.lasting(history), self.lasting(&self.promised));
        let common = history.len().min(promised.len());
        if history[..common] != promised[..common] {
            return Err(format!("two histories were promised:\n  {who}: {history:?}\n  {}: {promised:?}", self.by));
        }
        if history.len() > promised.len() {
            (self.promised, self.by) = (history, who.to_owned());
        }
        Ok(())
    }

    /// `history` was seen at `position`, that of its last commit.
    pub fn see(&mut self, position: String, history: Vec<Commit>) {
        self.seen.push(Seen { position, history });
    }

    /// Opens `objects` on an empty disk, as `base` would: everything promised is there, in its order and once, nothing else but
    /// what was sent; answers are the oracle's; positions mean what they meant or are refused.
    pub fn recover(&mut self, base: &World, objects: &Memory, random: &mut StdRng) -> Outcome {
        self.recovered += 1;
        let mut fresh = base.on(Simulated::new());
        fresh.objects = objects.copy();
        fresh.try_open().map_err(|error| format!("the bucket cannot be opened: {error:?}"))?;
        let there = history(fresh.database()).map_err(|error| format!("the bucket cannot be read: {error:?}"))?;
        let promised = self.lasting(&self.promised);
        if !self.lasting(&there).starts_with(&promised) {
            return Err(format!(
                "what was promised is lost or changed:\n  {}: {promised:?}\n  recovered: {there:?}",
                self.by
            ));
        }
        if let Some(back) = there.iter().find(|commit| self.gone.contains(&commit.number)) {
            return Err(format!("{back:?} was erased and is there: {there:?}"));
        }
        let numbers: BTreeSet<i64> = there.iter().map(|commit| commit.number).collect();
        if numbers.len() != there.len() || !numbers.iter().all(|number| self.sent.contains_key(number)) {
            return Err(format!("a commit is there twice, or nobody sent it: {there:?}"));
        }
        if !there.is_sorted_by(|a, b| a.ingest_time < b.ingest_time) {
            return Err(format!("ingest times do not increase: {there:?}"));
        }
        self.tell(&mut fresh, &there);
        fresh.check(&Ask { entities: vec![0, 1, 2, 3], ..Ask::latest(&fresh, 0) })?;
        self.check_positions(&mut fresh, &there, random)?;
        fresh.close().map_err(|error| format!("the bucket cannot be closed: {error:?}"))
    }

    /// Tells the oracle of `world` what is there.
    fn tell(&self, world: &mut World, there: &[Commit]) {
        let rows = there.iter().zip(1..).flat_map(|(commit, sequence)| {
            let batch = &self.sent[&commit.number];
            rows_of(batch, sequence, |_| (0, commit.ingest_time))
        });
        world.tables[0].rows = rows.collect();
        world.tables[0].sealed = !there.is_empty();
        world.acks.clear();
    }

    fn check_positions(&self, fresh: &mut World, there: &[Commit], random: &mut StdRng) -> Outcome {
        for _ in 0..LOOKED_AT.min(self.seen.len()) {
            let Seen { position, history } = &self.seen[random.random_range(0..self.seen.len())];
            if self.lasting(history).last() != history.last() {
                // Whether its last commit is there says nothing: it may have been erased.
                continue;
            }
            let parsed = fresh.database().parse_position(position);
            match (parsed, self.lasting(there).starts_with(&self.lasting(history))) {
                (Ok(_), true) => {
                    let sequence = there.iter().take_while(|commit| history.contains(commit)).count() as u64;
                    fresh.acks = vec![Ack { position: position.clone(), sequence }];
                    let latest = Ask { entities: vec![0, 1, 2, 3], ..Ask::latest(fresh, 0) };
                    fresh.check(&Ask { position: Some(0), ..latest })?;
                }
                (Err(error), false)
                    if error.kind() == Kind::Invalid && error.message().contains("lost with the disk") => {}
                (parsed, survives) => {
                    return Err(format!(
                        "position {position} is {parsed:?}, and what was seen there survives: {survives}\n  seen {history:?}\n  \
                         recovered {there:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}
