//! The engine under test, in this process, on the doors that the server calls.

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use firn_storage::commit::Done;
use firn_storage::config::Options;
use firn_storage::database::Database;
use firn_storage::model::declare::Change;
use firn_storage::model::prove::{Verb, WriteRequest};
use firn_storage::read::{Bound, FeatureReference, PointRequest};
use serde_json::json;

use crate::harness::{Result, Settings};
use crate::machine;

/// Batches on their way to the log at once; of 50 features they stay below what the queue takes.
const IN_FLIGHT: usize = 16;

/// An open database.
#[derive(Debug)]
pub(crate) struct Engine {
    /// It.
    pub database: Database,
    quiet: Duration,
}

impl Engine {
    /// Opens `directory` with default settings, but flushes soon.
    pub(crate) fn open(settings: &Settings, directory: &Path) -> Result<Self> {
        Self::open_with(settings, directory, |_| ())
    }

    /// The same with other settings.
    pub(crate) fn open_with(settings: &Settings, directory: &Path, change: impl FnOnce(&mut Options)) -> Result<Self> {
        let mut options = Options::new(directory);
        options.wal_age_max = settings.flush_age();
        change(&mut options);
        Ok(Self { database: Database::open(options)?, quiet: settings.quiet() })
    }

    /// Declares the entity `user` and `table`, with `features` float64 features `f0`, `f1`, ….
    pub(crate) fn declare(&self, table: &str, features: usize) -> Result<()> {
        if self.database.catalog().entity("user").is_err() {
            let entity = json!({"entity": "user", "key": [{"name": "user", "type": "int64"}], "buckets": 8});
            self.database.change(&self.database.catalog(), &Change::parse("create_entity", &entity)?)?;
        }
        let features: Vec<_> =
            (0..features).map(|index| json!({"name": format!("f{index}"), "type": "float64"})).collect();
        let body = json!({"table": table, "entity": "user", "event_time": "at", "features": features, "max_future_skew": "none"});
        self.database.change(&self.database.catalog(), &Change::parse("create_table", &body)?)?;
        Ok(())
    }

    /// Writes `batches`, many at once, and waits until all are durable and readable; how many rows.
    pub(crate) fn write(&self, table: &str, batches: impl IntoIterator<Item = RecordBatch>) -> Result<usize> {
        let request = WriteRequest {
            table: table.to_owned(),
            verb: Verb::Write,
            nulls_absent: false,
            ingest_time: None,
            report_bad_rows: false,
        };
        let (acknowledge, acknowledged) = channel();
        let (mut waiting, mut rows) = (0, 0);
        for batch in batches {
            let proven = self.database.prove(&self.database.catalog(), &request, &batch)?;
            let acknowledge = acknowledge.clone();
            let done = Done::new(move |answer| drop(acknowledge.send(answer.map(drop))));
            self.database.submit(proven.batch, done);
            rows += batch.num_rows();
            waiting += 1;
            if waiting >= IN_FLIGHT {
                acknowledged.recv()??;
                waiting -= 1;
            }
        }
        for _ in 0..waiting {
            acknowledged.recv()??;
        }
        Ok(rows)
    }

    /// Reads `batches` one by one; how many rows were answered, and in which time.
    pub(crate) fn read(&self, request: &PointRequest, batches: &[RecordBatch]) -> Result<(usize, Duration)> {
        let Some(first) = batches.first() else { return Err("there is nothing to read".into()) };
        let plan = self.database.plan(&self.database.catalog(), request, &first.schema())?;
        let started = Instant::now();
        let mut rows = 0;
        for batch in batches {
            let snapshot = self.database.snapshot(&plan, batch)?;
            rows += self.database.read(&plan, &snapshot, batch)?.num_rows();
        }
        Ok((rows, started.elapsed()))
    }

    /// Waits until flush, compaction and packs have nothing left to do by themselves.
    pub(crate) fn settle(&self) -> Result<()> {
        let statistics = self.database.statistics();
        let state = || {
            let counters =
                [&statistics.flushes, &statistics.compactions, &statistics.packs, &statistics.memtable_bytes];
            counters.map(firn_storage::statistics::Counter::get)
        };
        let (mut seen, mut since) = (state(), Instant::now());
        while since.elapsed() < self.quiet || seen[3] > 0 {
            std::thread::sleep(Duration::from_millis(50));
            let now = state();
            if now != seen || !machine::background_rests(std::process::id())? {
                (seen, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Closes the database.
    pub(crate) fn close(self) -> Result<()> {
        Ok(self.database.close()?)
    }
}

/// All features of `table` at latest.
pub(crate) fn latest(table: &str) -> PointRequest {
    let all = FeatureReference { table: table.to_owned(), feature: "*".to_owned(), ..FeatureReference::default() };
    PointRequest { features: vec![all], ..PointRequest::default() }
}

/// All features of `table`, each row as of its `decided_at`.
pub(crate) fn as_of(table: &str) -> PointRequest {
    PointRequest { as_of: column("decided_at"), ..latest(table) }
}

/// The same, also as it was known at its `known_at`.
pub(crate) fn as_known(table: &str) -> PointRequest {
    PointRequest { known_at: column("known_at"), ..as_of(table) }
}

fn column(name: &str) -> Bound {
    Bound::Column { name: name.to_owned(), exclusive: false }
}
