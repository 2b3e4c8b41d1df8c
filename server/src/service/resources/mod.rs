//! What all calls share: the database, the limits, and the permits that keep memory and threads bounded.

pub(super) mod granted;

use std::sync::Arc;
use std::time::Duration;

use firn_client::wire::{Command, MOST};
use firn_flight_sql::memory::reserve;
use firn_flight_sql::service::FlightSql;
use firn_storage::budget::Share;
use firn_storage::config::Options;
use firn_storage::database::Database;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::access::Rights;
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::refusal::{exhausted, from_command, from_error, invalid, new, unavailable};

/// Threads of [`Pool::Waiters`] that requests which wait for a position can never take.
const NOT_WAITING: usize = 64;

/// Commands above this size, of some hundred features, are read and planned on a thread of their own.
const INLINE_COMMAND_BYTES_MAX: usize = 16 << 10;

/// The state behind every call.
#[derive(Debug)]
pub struct Resources {
    /// The engine, which is reached through what was granted.
    database: Database,
    /// What every caller may do.
    rights: Rights,
    /// The limits.
    pub limits: Arc<Limits>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Statements of SQL.
    pub sql: FlightSql,
    /// How long a read's snapshot may be used.
    pub snapshot_age_max: Duration,
    /// Rings when the server stops.
    stopping: CancellationToken,
    calls: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    waiters: Arc<Semaphore>,
    positions: Arc<Semaphore>,
}

/// Which threads work runs on.
#[derive(Debug, Clone, Copy)]
pub enum Pool {
    /// Work that computes.
    Readers,
    /// Work that mostly waits: positions, bounds a moment ahead, administration.
    Waiters,
}

impl Resources {
    /// The state of a server that begins, over `database`, which was opened with `storage`, for callers with `rights`.
    pub fn new(
        database: Database,
        sql: FlightSql,
        storage: &Options,
        rights: Rights,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(limits.requests_max)),
            readers: Arc::new(Semaphore::new(limits.readers)),
            waiters: Arc::new(Semaphore::new(limits.waiters_max + NOT_WAITING)),
            positions: Arc::new(Semaphore::new(limits.waiters_max)),
            database,
            sql,
            rights,
            snapshot_age_max: storage.snapshot_age_max,
            limits,
            metrics,
            stopping,
        }
    }

    /// A share of the memory that all requests have together.
    pub(crate) async fn memory(&self, bytes: u64) -> Result<Share, Status> {
        reserve(&self.database, bytes).await.map_err(|error| from_error(&error))
    }

    /// A place among the requests that wait for a position, or a refusal: whoever waited for a place would wait behind
    /// those that wait for something else.
    pub(crate) fn wait_for_position(&self) -> Result<OwnedSemaphorePermit, Status> {
        let most = self.limits.waiters_max;
        let place = Arc::clone(&self.positions).try_acquire_owned();
        place.map_err(|_| exhausted(format!("{most} requests wait for a position (waiters-max); try again later")))
    }

    /// Runs `work` on a thread that may block.
    pub async fn blocking<T: Send + 'static>(
        &self,
        pool: Pool,
        work: impl FnOnce() -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let pool = match pool {
            Pool::Readers => &self.readers,
            Pool::Waiters => &self.waiters,
        };
        let permit = Arc::clone(pool).acquire_owned().await;
        let permit = permit.map_err(|_| unavailable("the server is shutting down"))?;
        let worked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        worked.await.unwrap_or_else(|error| {
            tracing::error!("a request ended its thread: {error}");
            Err(new(tonic::Code::Internal, "the request met a defect of the server; its log says more"))
        })
    }

    /// Runs `work`, which reads or plans a command of `bytes`: at once, unless it is so long that the other streams of the
    /// connection would wait for it.
    pub async fn of_command<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        if bytes <= INLINE_COMMAND_BYTES_MAX {
            return work();
        }
        self.blocking(Pool::Readers, work).await
    }

    /// Reads a command within the limit of its size.
    pub fn command(&self, bytes: &[u8]) -> Result<Command, Status> {
        self.check_command_size(bytes)?;
        Command::decode(bytes).map_err(|error| from_command(&error))
    }

    /// Refuses JSON above the limit.
    pub fn check_command_size(&self, bytes: &[u8]) -> Result<(), Status> {
        let most = self.limits.command_bytes_max;
        if bytes.len() > most {
            let found = bytes.len();
            return Err(exhausted(format!("the command has {found} bytes; it may have {most} (command-bytes-max)")));
        }
        Ok(())
    }

    /// The size of messages that a command asked for, within what this server allows.
    pub fn message_bytes(&self, asked: Option<u64>) -> Result<usize, Status> {
        let most = self.limits.answer_message_bytes_max;
        match asked.map(usize::try_from) {
            None => Ok(self.limits.answer_message_bytes),
            // `MOST` is as much as this server allows.
            _ if asked == Some(MOST) => Ok(most),
            Some(Ok(bytes)) if (4096..=most).contains(&bytes) => Ok(bytes),
            Some(_) => Err(invalid(format!(
                "`max_message_bytes` must be from 4096 to {most} (answer-message-bytes-max of the server)"
            ))),
        }
    }
}
