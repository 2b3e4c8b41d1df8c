//! Batches on their way from a write stream to the log: proven, numbered, handed over.
//!
//! Batches that came together are proven and stored as one commit, which costs little more than one of them. If anything
//! is wrong with one of several, each goes its own way, so that exactly the wrong one is refused. Only what happens between
//! this and the log refuses all of them: the table is dropped, the database closes, an erase blocks one of their entities.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use firn_client::wire::BadRow;
use firn_storage::commit::{Committed, Done, Reservation, Terms};
use firn_storage::error::Error;
use firn_storage::model::batch::{Producer, WriteBatch};
use firn_storage::model::prove::{Proven, WriteRequest};
use tokio::sync::OwnedSemaphorePermit;

use super::acknowledge::{Acknowledgements, BadRows, Begun};
use super::resources::granted::Granted;
use crate::framing::Together;
use crate::metrics::OpenGuard;

/// A stream whose command is known.
#[derive(Clone)]
pub(super) struct WriteStream {
    pub call: &'static str,
    pub granted: Granted,
    pub producer: Option<String>,
    pub request: Arc<WriteRequest>,
    /// What its batches are acknowledged for; they keep what follows a refused batch out of the log.
    pub terms: Terms,
    pub _open: Arc<OpenGuard>,
}

/// Room for what awaits its commit.
pub(super) struct Room {
    /// Given back after its acknowledgement.
    pub of_stream: Arc<RoomOfStream>,
    /// Given back once the log has it.
    pub of_log: Arc<Reservation>,
}

/// Room among the batches of a stream, by number and bytes.
pub(super) struct RoomOfStream {
    pub _place: OwnedSemaphorePermit,
    pub _bytes: Reservation,
}

/// One batch, or several, on the way to the log.
pub(super) struct Submission {
    pub acknowledgements: Arc<Acknowledgements>,
    pub stream: WriteStream,
    /// Where the one batch of a producer stands in its sequence.
    pub step: Option<Producer>,
    pub batches: Together,
    pub room: Room,
}

impl Submission {
    /// Hands the batches to the log, up to the first that is refused; their acknowledgements follow.
    pub(super) fn run(self) {
        let started = Instant::now();
        let batches = self.batches.lengths.len();
        let whole = self.prove(&self.batches.rows);
        if batches == 1 || whole.as_ref().is_ok_and(|whole| self.is_flawless(whole)) {
            return self.submit(batches as u64, whole, started);
        }
        for rows in self.batches.parts() {
            if self.acknowledgements.is_refused() {
                return;
            }
            self.submit(1, self.prove(&rows), started);
        }
    }

    fn prove(&self, rows: &RecordBatch) -> Result<Proven, Error> {
        let granted = &self.stream.granted;
        granted.database().prove(&granted.catalog(), &self.stream.request, rows)
    }

    /// Whether the log will refuse nothing of it, as far as is known: it decides over whole commits only.
    fn is_flawless(&self, proven: &Proven) -> bool {
        proven.bad_row_count == 0 && self.stream.granted.database().check_blocked(&proven.batch).is_ok()
    }

    /// Hands over what was proven of `batches` batches as one commit.
    fn submit(&self, batches: u64, proven: Result<Proven, Error>, started: Instant) {
        let begun = self.acknowledgements.begin(batches);
        let Proven { mut batch, bad_rows, bad_row_count } = match proven {
            Ok(proven) => proven,
            Err(error) => return self.acknowledgements.settle(begun, Err(error)),
        };
        if bad_row_count > 0 {
            let listed = bad_rows.into_iter().map(|bad| BadRow {
                batch: begun.number,
                row: u64::from(bad.row),
                column: bad.column,
                reason: bad.reason,
            });
            self.acknowledgements.note_bad_rows(begun, BadRows { listed: listed.collect(), count: bad_row_count });
            self.stream.granted.resources().metrics.bad_rows.inc_by(bad_row_count);
            // A producer's batch goes on to the log without any rows: it is acknowledged, so its number is taken.
            if batch.is_empty() && self.step.is_none() {
                let (database, level) = (self.stream.granted.database(), self.stream.terms.level());
                let (position, durable) = (database.position(), database.durable_position());
                let committed = Committed { position, ingest_time: 0, rows: 0, duplicate: false, level, durable };
                return self.acknowledgements.settle(begun, Ok(committed));
            }
        }
        batch.producer = self.step.clone();
        self.hand_over(begun, batches, batch, started);
    }

    fn hand_over(&self, begun: Begun, batches: u64, batch: WriteBatch, started: Instant) {
        let (metrics, acknowledgements) =
            (Arc::clone(&self.stream.granted.resources().metrics), Arc::clone(&self.acknowledgements));
        let (call, room) = (self.stream.call, Arc::clone(&self.room.of_stream));
        let done = move |outcome: Result<Committed, Error>| {
            if let Ok(committed) = &outcome {
                metrics.answered(call, batches, committed.rows, started.elapsed());
            }
            acknowledgements.settle(begun, outcome);
            drop(room);
        };
        let room = Arc::clone(&self.room.of_log);
        self.stream.granted.database().submit_within(&self.stream.terms, room, batch, Done::new(done));
    }
}
