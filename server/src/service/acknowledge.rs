//! Acknowledgements of one write stream: in order, coalesced while the client does not read them.
//!
//! Whatever is acknowledged but not yet taken is one pending acknowledgement of constant size, so a client that reads
//! none until the end holds up neither itself nor the server.

use std::collections::VecDeque;

use firn_client::wire::{Acknowledgement, BadRow};
use firn_storage::commit::Committed;
use firn_storage::error::Result as EngineResult;
use firn_storage::position::Position;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tonic::Status;

use super::convert;
use crate::refusal::{at, from_error};

/// Bad rows that one acknowledgement lists; the count goes on.
pub(super) const BAD_ROWS_MAX: usize = 1000;

/// The bad rows of one batch.
#[derive(Debug, Default)]
pub(super) struct BadRows {
    /// The first ones.
    pub listed: Vec<BadRow>,
    /// How many there are.
    pub count: u64,
}

/// A batch, or several that are stored as one, on the way through the log.
#[derive(Debug)]
struct Pending {
    /// The number of the first batch.
    number: u64,
    batches: u64,
    bad_rows: BadRows,
    outcome: Option<EngineResult<Committed>>,
}

/// Names what [`Acknowledgements::begin`] took note of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    /// The number of the first batch in its stream, from 0.
    pub number: u64,
    entry: u64,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the next batch.
    next: u64,
    /// How many entries left `entries`.
    left: u64,
    entries: VecDeque<Pending>,
    pending: Acknowledgement,
    /// What the last acknowledgement sees.
    position: Option<Position>,
    /// Whether a batch was refused, though earlier ones may await their commit.
    refused: bool,
    /// Whether the refusal is how the stream ends: what was begun after it has no answer.
    over: bool,
    /// How the stream ends once every entry is acknowledged.
    end: Option<Result<(), Status>>,
}

/// The acknowledgements of one stream.
#[derive(Debug, Default)]
pub(super) struct Acknowledgements {
    state: Mutex<State>,
    changed: Notify,
}

/// What there is to send.
#[derive(Debug)]
pub(super) enum Next {
    /// An acknowledgement.
    Acknowledge(Acknowledgement),
    /// The end of the stream.
    End(Result<(), Status>),
}

impl Acknowledgements {
    /// Takes note of the next `batches` batches, which are stored as one.
    pub(super) fn begin(&self, batches: u64) -> Begun {
        let mut state = self.state.lock();
        let begun = Begun { number: state.next, entry: state.left + state.entries.len() as u64 };
        state.next += batches;
        state.entries.push_back(Pending { number: begun.number, batches, bad_rows: BadRows::default(), outcome: None });
        begun
    }

    /// Takes note of the bad rows of what is not settled yet.
    pub(super) fn note_bad_rows(&self, begun: Begun, bad_rows: BadRows) {
        let mut state = self.state.lock();
        if let Some(entry) = state.entry(begun) {
            entry.bad_rows = bad_rows;
        }
    }

    /// Takes note of what became of it.
    pub(super) fn settle(&self, begun: Begun, outcome: EngineResult<Committed>) {
        let mut state = self.state.lock();
        state.refused |= outcome.is_err();
        if let Some(entry) = state.entry(begun) {
            entry.outcome = Some(outcome);
        }
        state.merge();
        drop(state);
        self.changed.notify_one();
    }

    /// Ends the stream after the batches so far; the first end counts.
    pub(super) fn end(&self, end: Result<(), Status>) {
        self.state.lock().end.get_or_insert(end);
        self.changed.notify_one();
    }

    /// Whether a batch was refused, so that nothing after it may be applied.
    pub(super) fn is_refused(&self) -> bool {
        self.state.lock().refused
    }

    /// Waits for something to send.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.state.lock().take() {
                return next;
            }
            self.changed.notified().await;
        }
    }
}

impl State {
    fn entry(&mut self, begun: Begun) -> Option<&mut Pending> {
        let place = begun.entry.checked_sub(self.left)?;
        self.entries.get_mut(place as usize)
    }

    /// Moves what is settled, in order, into the pending acknowledgement.
    fn merge(&mut self) {
        if self.over {
            self.drop_entries();
            return;
        }
        let mut position = self.position;
        while self.entries.front().is_some_and(|entry| entry.outcome.is_some()) {
            let Some(Pending { number, batches, bad_rows, outcome }) = self.entries.pop_front() else { break };
            self.left += 1;
            match outcome {
                Some(Ok(committed)) => {
                    self.acknowledge(&committed, batches, bad_rows);
                    // A batch of bad rows alone is told the position of its moment, which may be an older one.
                    position = position.max(Some(committed.position));
                }
                Some(Err(error)) => {
                    let status = from_error(&error);
                    let which = match batches {
                        1 => format!("batch {number}"),
                        _ => format!("batches {number} to {}, stored as one", number + batches - 1),
                    };
                    let status = at(&status, &which);
                    // A refusal wins over an end that only says that the client is done.
                    self.end = Some(Err(status));
                    self.over = true;
                    self.drop_entries();
                }
                None => {}
            }
        }
        self.position = position;
        self.pending.read_position = position.map(|position| position.to_string()).unwrap_or_default();
    }

    fn drop_entries(&mut self) {
        self.left += self.entries.len() as u64;
        self.entries.clear();
    }

    fn acknowledge(&mut self, committed: &Committed, batches: u64, bad_rows: BadRows) {
        let pending = &mut self.pending;
        pending.batches += batches;
        pending.rows += committed.rows;
        pending.duplicates += u64::from(committed.duplicate);
        if let Some(durable) = committed.durable {
            pending.durable_position = Some(durable.to_string());
            pending.acknowledged = Some(convert::told(committed.level));
        }
        pending.bad_row_count += bad_rows.count;
        let room = BAD_ROWS_MAX.saturating_sub(pending.bad_rows.len());
        pending.bad_rows.extend(bad_rows.listed.into_iter().take(room));
    }

    fn take(&mut self) -> Option<Next> {
        if self.pending.batches > 0 {
            return Some(Next::Acknowledge(std::mem::take(&mut self.pending)));
        }
        if self.entries.is_empty() {
            return self.end.clone().map(Next::End);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use firn_storage::config::Level;
    use firn_storage::error::Error;
    use firn_storage::position::Log;

    use super::*;

    const LOG: Log = Log { database: 1, epoch: 0 };

    fn committed(sequence: u64) -> EngineResult<Committed> {
        Ok(Committed {
            position: Position::new(LOG, sequence),
            ingest_time: 0,
            rows: 1,
            duplicate: false,
            level: Level::Local,
            durable: None,
        })
    }

    fn refused(why: &str) -> EngineResult<Committed> {
        Err(Error::invalid(why))
    }

    #[tokio::test]
    async fn an_acknowledgement_sees_all_that_it_covers() {
        let acknowledgements = Acknowledgements::default();
        let (first, second) = (acknowledgements.begin(3), acknowledgements.begin(1));
        assert_eq!((first.number, second.number), (0, 3));
        // All rows of the second were bad: it is settled at once, at what was published by then.
        acknowledgements.settle(second, committed(5));
        acknowledgements.settle(first, committed(10));
        let Next::Acknowledge(pending) = acknowledgements.next().await else { panic!("two are settled") };
        assert_eq!((pending.batches, pending.read_position), (4, Position::new(LOG, 10).to_string()));
    }

    #[tokio::test]
    async fn the_first_refusal_in_the_order_of_the_stream_ends_it() {
        let acknowledgements = Acknowledgements::default();
        let batches = [1, 1, 2].map(|batches| acknowledgements.begin(batches));
        acknowledgements.settle(batches[2], refused("the third"));
        assert!(acknowledgements.is_refused(), "before the earlier ones are settled");
        acknowledgements.settle(batches[1], refused("the second"));
        acknowledgements.settle(batches[0], committed(1));
        acknowledgements.settle(acknowledgements.begin(1), refused("one that came too late"));
        assert!(matches!(acknowledgements.next().await, Next::Acknowledge(pending) if pending.batches == 1));
        let Next::End(Err(status)) = acknowledgements.next().await else { panic!("the stream ends with the refusal") };
        assert_eq!(status.message(), "batch 1: the second");
    }
}
