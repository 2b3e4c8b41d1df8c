//! Acknowledgements of one write stream: in order, coalesced while the client does not read them.
//!
//! Whatever is acknowledged but not yet taken is one pending acknowledgement of constant size, so a client that reads
//! none until the end holds up neither itself nor the server.

use std::collections::VecDeque;

use firn_client::wire::{Acknowledgement, BadRow};
use firn_storage::commit::Committed;
use firn_storage::error::Result as EngineResult;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tonic::Status;

use crate::status::{from_error, new};

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

/// A batch on its way through the log.
#[derive(Debug, Default)]
struct Batch {
    bad_rows: BadRows,
    outcome: Option<EngineResult<Committed>>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the first batch in `batches`.
    first: u64,
    batches: VecDeque<Batch>,
    pending: Acknowledgement,
    /// How the stream ends once every batch before is acknowledged.
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
    /// Takes note of the next batch; its number counts from 0.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.state.lock();
        state.batches.push_back(Batch::default());
        state.first + state.batches.len() as u64 - 1
    }

    /// Takes note of the bad rows of batch `number`, which is not settled yet.
    pub(super) fn note_bad_rows(&self, number: u64, bad_rows: BadRows) {
        let mut state = self.state.lock();
        if let Some(batch) = state.batch(number) {
            batch.bad_rows = bad_rows;
        }
    }

    /// Takes note of what became of batch `number`.
    pub(super) fn settle(&self, number: u64, outcome: EngineResult<Committed>) {
        let mut state = self.state.lock();
        if let Some(batch) = state.batch(number) {
            batch.outcome = Some(outcome);
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

    /// Whether a batch was refused.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.state.lock().end, Some(Err(_)))
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
    fn batch(&mut self, number: u64) -> Option<&mut Batch> {
        let place = number.checked_sub(self.first)?;
        self.batches.get_mut(place as usize)
    }

    /// Moves what is settled, in order, into the pending acknowledgement.
    fn merge(&mut self) {
        while self.batches.front().is_some_and(|batch| batch.outcome.is_some()) {
            let Some(batch) = self.batches.pop_front() else { return };
            let number = self.first;
            self.first += 1;
            match batch.outcome {
                Some(Ok(committed)) => self.acknowledge(&committed, batch.bad_rows),
                Some(Err(error)) => {
                    let status = from_error(&error);
                    let status = new(status.code(), &format!("batch {number}: {}", status.message()));
                    // A refusal wins over an end that only says that the client is done.
                    self.end = Some(Err(status));
                    self.first += self.batches.len() as u64;
                    self.batches.clear();
                }
                None => {}
            }
        }
    }

    fn acknowledge(&mut self, committed: &Committed, bad_rows: BadRows) {
        let pending = &mut self.pending;
        pending.batches += 1;
        pending.rows += committed.rows;
        pending.duplicates += u64::from(committed.duplicate);
        pending.read_position = committed.position.to_string();
        pending.bad_row_count += bad_rows.count;
        let room = BAD_ROWS_MAX.saturating_sub(pending.bad_rows.len());
        pending.bad_rows.extend(bad_rows.listed.into_iter().take(room));
    }

    fn take(&mut self) -> Option<Next> {
        if self.pending.batches > 0 {
            return Some(Next::Acknowledge(std::mem::take(&mut self.pending)));
        }
        if self.batches.is_empty() {
            return self.end.clone().map(Next::End);
        }
        None
    }
}
