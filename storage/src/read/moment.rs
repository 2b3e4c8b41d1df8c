//! The moment of a read: which commits it sees, what was known, which clock its ages go by, how far back it may ask,
//! and which erases it does not see. Decided once, for one table or for all tables of a statement.
//!
//! A knowledge bound is final once its moment is pinned: it is registered with the clock of the log, so that no later
//! commit gets an ingest time at or below it, and commits in flight that may have one are waited for. A bound a little
//! ahead of the clock is waited for too. So pinning may wait and write; at latest it does neither.
//!
//! It is not the reading itself: what a pinned moment sees is a [`Snapshot`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::snapshot::{ErasedSince, Resources, Snapshot};
use super::states::States;
use crate::error::{Error, Kind, Result};
use crate::ingest_clock::{IngestClock, KNOWN_AT_AHEAD_MAX};
use crate::model::catalog::Table;
use crate::model::value::time_text;
use crate::position::{CurrentLog, Position};
use crate::published::Published;
use crate::time::{Micros, Sequence};

/// The moment of a read as it was asked. The default is now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment {
    /// What was known.
    pub known_at: KnownAt,
    /// The position to read at; `None` is everything published.
    pub position: Option<Position>,
    /// Whether nothing is seen that the loss of the disk could take back.
    pub durable: bool,
    /// Replaces the clock for ages, µs.
    pub clock: Option<Micros>,
}

/// The knowledge bound of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KnownAt {
    /// Everything.
    #[default]
    Latest,
    /// Up to this time, which is included.
    Time(Micros),
    /// Up to a time of each row: the greatest of those that are known, which is included. Rows may ask for anything up to
    /// the clock, and for what lies so little ahead of it that it is waited for; later ones are refused when they are read.
    Rows(Micros),
}

/// How long a read waits for commits in flight at or below its knowledge bound.
const KNOWN_AT_WAIT: Duration = Duration::from_secs(60);
/// How long a read waits for the bucket so that later rows may ask for what is known now.
const LATER_ROWS_WAIT: Duration = Duration::from_secs(1);
/// How often a read that waits for the clock looks at it.
const CLOCK_STEP: Duration = Duration::from_millis(1);

/// The parts of an open database that decide moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Present<'a> {
    /// Whose sequences are read.
    pub(crate) log: &'a CurrentLog,
    /// Which opening of the database they are read in.
    pub(crate) opening: u64,
    /// Whether another process gives the ingest times.
    pub(crate) follows: bool,
    pub(crate) clock: &'a IngestClock,
    pub(crate) published: &'a Published,
    /// The commits that no loss of the disk takes away, if there is a bucket.
    pub(crate) durable: Option<&'a Published>,
    pub(crate) states: &'a dyn States,
    pub(crate) resources: &'a Arc<Resources>,
    /// How long a snapshot may be used.
    pub(crate) age_max: Duration,
    /// Set when the database closes.
    pub(crate) closing: &'a AtomicBool,
}

impl Present<'_> {
    /// Pins `moment` over `tables`.
    pub(crate) fn pin(&self, tables: &[Arc<Table>], moment: &Moment, schema_version: u64) -> Result<Snapshot> {
        let known_at_max = self.settle_known_at(tables, moment.known_at)?;
        let durable = self.durable.map(Published::sequence);
        let sequence = self.sequence(moment, durable)?;
        let clock = moment.clock.unwrap_or_else(|| {
            let now = self.clock.now();
            self.clock.answer_clock(now);
            now
        });
        let mut views = HashMap::with_capacity(tables.len());
        let mut unseen = Unseen { position: sequence, known_at: moment.known_at, range: None };
        for table in tables {
            let state = self.states.table_state(table)?;
            let view = state.view.load_full();
            if (moment.position.is_some() || moment.durable) && sequence < view.horizon.sequence {
                return Err(Error::out_of_range(format!(
                    "the position lies before the horizon of table {}: its retention forgot what is asked",
                    table.name
                )));
            }
            views.insert(table.id, view);
            let erasures = state.entity.erasures.load();
            erasures.receipts().iter().for_each(|receipt| unseen.look_at(receipt.sequence, receipt.ingest_time));
        }
        let erased_since = unseen.range.map(|(first, newest)| ErasedSince { first, newest: self.log.position(newest) });
        let age_max = i64::try_from(self.age_max.as_micros()).unwrap_or(i64::MAX);
        Ok(Snapshot {
            position: self.log.position(sequence),
            durable: durable.map(|durable| self.log.position(durable)),
            opening: self.opening,
            clock,
            known_at_max,
            schema_version,
            erased_since,
            views,
            expires: self.resources.clock.monotonic().saturating_add(age_max),
            resources: Arc::clone(self.resources),
        })
    }

    /// The last commit that is seen at `moment`, if the bucket has all up to `durable`.
    fn sequence(&self, moment: &Moment, durable: Option<Sequence>) -> Result<Sequence> {
        let published = self.published.sequence();
        let most = match (moment.durable, durable) {
            (false, _) => published,
            // The bucket may have a commit a moment before reads see it.
            (true, Some(durable)) => published.min(durable),
            (true, None) => return Err(no_bucket()),
        };
        match moment.position.map(|position| position.sequence()) {
            None => Ok(most),
            Some(sequence) if sequence <= most => Ok(sequence),
            Some(sequence) => {
                let lacking = if sequence <= published { "in the bucket" } else { "published" };
                Err(Error::out_of_range(format!(
                    "the position is not yet {lacking}; ask again later, or wait for it with \"at_least\""
                )))
            }
        }
    }

    /// Makes the knowledge bound final: nothing at or below it can be added once this returns. Answers the greatest
    /// bound that is final.
    fn settle_known_at(&self, tables: &[Arc<Table>], known_at: KnownAt) -> Result<Micros> {
        let unsealed = || tables.iter().find(|table| !self.states.is_sealed(table.id));
        if let (KnownAt::Time(_) | KnownAt::Rows(_), Some(table)) = (known_at, unsealed()) {
            return Err(Error::precondition(format!(
                "table {} is not sealed: history may still be loaded, so no answer at a \"known_at\" would be final; \
                 seal it with seal_table when its history is complete",
                table.name
            )));
        }
        if self.follows {
            return self.final_on_follower(known_at);
        }
        let now = self.clock.now();
        let soon = now.saturating_add(KNOWN_AT_AHEAD_MAX);
        let (least, bound) = match known_at {
            KnownAt::Latest => return Ok(i64::MAX),
            KnownAt::Time(time) => (time, time),
            KnownAt::Rows(greatest) if greatest > soon => (now, now),
            KnownAt::Rows(greatest) => (greatest, greatest.max(now)),
        };
        if bound > soon {
            return Err(Error::invalid(format!(
                "\"known_at\" is {}, and the server's clock only {}: what will be known cannot be asked; give a time \
                 that has passed, or \"latest\"",
                time_text(bound),
                time_text(now)
            )));
        }
        self.wait_until(bound, now)?;
        let sequence = self.clock.answer_known_at(bound)?;
        self.published.wait(sequence, KNOWN_AT_WAIT)?;
        self.promise(least, bound)
    }

    /// Makes `bound` final for every node that serves the database later, or, if the bucket does not answer, a lesser one that is
    /// so already and not below `least`. Answers which.
    fn promise(&self, least: Micros, bound: Micros) -> Result<Micros> {
        let promised = self.states.promised();
        let wait = if promised >= least { LATER_ROWS_WAIT } else { KNOWN_AT_WAIT };
        match self.states.promise(bound, wait) {
            Ok(()) => Ok(bound),
            Err(_) if promised >= least => Ok(promised.min(bound)),
            Err(error) => Err(error),
        }
    }

    /// The greatest bound that is final on a follower: the last ingest time that it has, for the writer may have given later ones
    /// already, and cannot be asked to give none.
    fn final_on_follower(&self, known_at: KnownAt) -> Result<Micros> {
        let (last, sequence) = self.clock.taken();
        let bound = match known_at {
            KnownAt::Latest => return Ok(i64::MAX),
            KnownAt::Rows(_) => last,
            KnownAt::Time(time) if time <= last => time,
            KnownAt::Time(time) => {
                return Err(Error::out_of_range(format!(
                    "\"known_at\" is {}, and this node, which follows the writer, knows all that was known only up to {}, when its last \
                     commit came in: give a time up to that, or \"latest\", ask again later, or ask the writer",
                    time_text(time),
                    time_text(last)
                )));
            }
        };
        self.published.wait(sequence, KNOWN_AT_WAIT)?;
        Ok(bound)
    }

    /// Waits until the clock, which was `now`, reaches `bound`, which lies a little ahead.
    fn wait_until(&self, bound: Micros, now: Micros) -> Result<()> {
        if bound <= now {
            return Ok(());
        }
        // The wall clock may be set back meanwhile; the monotonic one says when waiting on is in vain.
        let deadline = self.clock.monotonic().saturating_add(bound - now + KNOWN_AT_AHEAD_MAX);
        while self.clock.now() < bound {
            if self.closing.load(Ordering::SeqCst) {
                return Err(Error::new(Kind::Unavailable, "the database is being closed"));
            }
            if self.clock.monotonic() > deadline {
                return Err(Error::new(
                    Kind::Unavailable,
                    format!(
                        "the server's clock was set back to {} while a read waited for it to reach its \"known_at\", {}; \
                         ask again",
                        time_text(self.clock.now()),
                        time_text(bound)
                    ),
                ));
            }
            std::thread::sleep(CLOCK_STEP);
        }
        Ok(())
    }
}

/// The error of a read that asks for what no loss of the disk takes away, where it takes everything.
pub(crate) fn no_bucket() -> Error {
    Error::precondition(
        "\"durable\" asks for what is in the bucket, and the database has none; start it with --bucket, or leave the field out",
    )
}

/// The erases after what a fixed bound sees.
struct Unseen {
    position: Sequence,
    known_at: KnownAt,
    /// The first and the newest of them.
    range: Option<(Sequence, Sequence)>,
}

impl Unseen {
    fn look_at(&mut self, sequence: Sequence, ingest_time: Micros) {
        let later = matches!(self.known_at, KnownAt::Time(time) if ingest_time > time);
        if later || sequence > self.position {
            let (first, newest) = self.range.unwrap_or((sequence, sequence));
            self.range = Some((first.min(sequence), newest.max(sequence)));
        }
    }
}
