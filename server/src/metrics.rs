//! Metrics: what the server counts itself, and the engine's counters as they stand at each scrape.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use firn_storage::database::{Database, Lag};
use firn_storage::statistics::{Counter as EngineCounter, Statistics};
use firn_storage::traffic::Tally;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tonic::Code;

use crate::refusal;

/// The call that a number is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Call {
    /// `lookup`, `join`, `scan`, `write`, `delete`, `retract`, `action`, `info`.
    pub call: &'static str,
}

/// A call and how it failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Failure {
    /// As in [`Call`].
    pub call: &'static str,
    /// The code as gRPC spells it.
    pub code: &'static str,
}

/// Everything that the server counts.
#[derive(Debug)]
pub struct Metrics {
    /// Requests answered.
    pub requests: Family<Call, Counter>,
    /// Requests refused or failed.
    pub failures: Family<Failure, Counter>,
    /// Rows answered or applied.
    pub rows: Family<Call, Counter>,
    /// Calls and streams open now.
    pub open: Family<Call, Gauge>,
    /// Connections open now.
    pub connections: Gauge,
    /// Answers given up because their client took nothing of them.
    pub stalled_answers: Counter,
    /// Rows refused one by one (`"bad_rows":"report"`).
    pub bad_rows: Counter,
    seconds: Family<Call, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// From 10 µs to about 80 s, each bucket twice the one before.
fn seconds_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_01, 2.0, 24))
}

impl Metrics {
    /// Metrics at zero.
    pub fn new() -> Self {
        Self {
            requests: Family::default(),
            failures: Family::default(),
            rows: Family::default(),
            open: Family::default(),
            connections: Gauge::default(),
            stalled_answers: Counter::default(),
            bad_rows: Counter::default(),
            seconds: Family::new_with_constructor(seconds_histogram),
        }
    }

    /// Counts answered requests of `rows` rows together, each of which took `time`.
    pub fn answered(&self, call: &'static str, requests: u64, rows: u64, time: Duration) {
        let label = Call { call };
        self.requests.get_or_create(&label).inc_by(requests);
        self.rows.get_or_create(&label).inc_by(rows);
        let seconds = self.seconds.get_or_create(&label);
        (0..requests).for_each(|_| seconds.observe(time.as_secs_f64()));
    }

    /// Counts a failed request.
    pub fn failed(&self, call: &'static str, code: Code) {
        self.failures.get_or_create(&Failure { call, code: refusal::name(code) }).inc();
    }

    /// Counts `call` as open until the guard is dropped.
    pub fn open(self: &Arc<Self>, call: &'static str) -> OpenGuard {
        self.open.get_or_create(&Call { call }).inc();
        OpenGuard { metrics: Arc::clone(self), call }
    }

    /// A registry with these metrics and the engine's.
    pub fn registry(self: &Arc<Self>, database: &Database) -> Registry {
        let mut registry = Registry::with_prefix("firn");
        registry.register("requests", "Requests answered, by call", self.requests.clone());
        registry.register("failures", "Requests refused or failed, by call and code", self.failures.clone());
        registry.register("request_rows", "Rows answered or applied, by call", self.rows.clone());
        registry.register("request_seconds", "Time from a request to its answer, by call", self.seconds.clone());
        registry.register("open_calls", "Calls and streams open now, by call", self.open.clone());
        registry.register("connections", "Connections open now", self.connections.clone());
        let given_up = "Answers given up because their client took nothing of them";
        registry.register("stalled_answers", given_up, self.stalled_answers.clone());
        registry.register("bad_rows", "Rows refused one by one", self.bad_rows.clone());
        registry.register_collector(Box::new(EngineMetrics { database: database.clone() }));
        registry
    }
}

/// Keeps a call counted as open.
#[derive(Debug)]
pub struct OpenGuard {
    metrics: Arc<Metrics>,
    call: &'static str,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.metrics.open.get_or_create(&Call { call: self.call }).dec();
    }
}

/// Whether a number only grows.
#[derive(Clone, Copy)]
enum Shape {
    Grows,
    Stands,
}

/// A counter of the engine: its name, its meaning, its shape, and where it is.
type EngineMetric = (&'static str, &'static str, Shape, fn(&Statistics) -> &EngineCounter);

const ENGINE: &[EngineMetric] = &[
    ("engine_rows", "Rows committed", Shape::Grows, |s| &s.rows),
    ("engine_batches", "Batches committed", Shape::Grows, |s| &s.batches),
    ("engine_duplicates", "Batches that a producer sent again", Shape::Grows, |s| &s.duplicates),
    ("engine_wal_bytes", "Bytes appended to the WAL", Shape::Grows, |s| &s.wal_bytes),
    ("engine_wal_syncs", "Syncs of the WAL", Shape::Grows, |s| &s.wal_syncs),
    ("engine_wal_sync_micros", "Microseconds spent in syncs of the WAL", Shape::Grows, |s| &s.wal_sync_micros),
    ("engine_memtable_bytes", "Bytes in memtables now", Shape::Stands, |s| &s.memtable_bytes),
    ("engine_queue_bytes", "Bytes reserved for writes on their way through the log now", Shape::Stands, |s| {
        &s.queue_bytes
    }),
    ("engine_flushes", "Flushes done", Shape::Grows, |s| &s.flushes),
    ("engine_flush_bytes", "Bytes that flushes wrote", Shape::Grows, |s| &s.flush_bytes),
    ("engine_frozen", "Segments that were frozen", Shape::Grows, |s| &s.frozen),
    ("engine_thawed", "Segments that came back to the local disk because they are often read", Shape::Grows, |s| {
        &s.thawed
    }),
    ("ice_requests", "Requests for cells of ice", Shape::Grows, |s| &s.ice_requests),
    ("ice_bytes", "Bytes that requests for cells of ice brought", Shape::Grows, |s| &s.ice_bytes),
    ("ice_resident_bytes", "Bytes of cells that came from ice and are in memory", Shape::Stands, |s| {
        &s.ice_resident_bytes
    }),
    ("engine_compactions", "Compactions done", Shape::Grows, |s| &s.compactions),
    ("engine_compaction_bytes", "Bytes that compactions wrote", Shape::Grows, |s| &s.compaction_bytes),
    ("engine_scrub_bytes", "Bytes that the scrub found whole", Shape::Grows, |s| &s.scrub_bytes),
    ("engine_scrubs", "Times that the scrub has read every file", Shape::Grows, |s| &s.scrubs),
    ("engine_scrub_damages", "Damaged places that the scrub found", Shape::Grows, |s| &s.scrub_damages),
    ("engine_packs", "Latest packs built", Shape::Grows, |s| &s.packs),
    ("engine_pack_bytes", "Bytes of latest packs written", Shape::Grows, |s| &s.pack_bytes),
    ("engine_stalls", "Times that writes waited for memory", Shape::Grows, |s| &s.stalls),
    ("engine_stall_micros", "Microseconds that writes waited for memory", Shape::Grows, |s| &s.stall_micros),
    ("engine_background_errors", "Errors of flush and compaction", Shape::Grows, |s| &s.background_errors),
    ("engine_rows_read", "Rows of lookups and joins answered", Shape::Grows, |s| &s.rows_read),
    ("engine_rows_from_packs", "Rows of those that a latest pack answered", Shape::Grows, |s| &s.rows_from_packs),
];

#[derive(Debug)]
struct EngineMetrics {
    database: Database,
}

impl Collector for EngineMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let statistics = self.database.statistics();
        for (name, help, shape, counter) in ENGINE {
            let value = counter(statistics).get();
            match shape {
                Shape::Grows => {
                    let metric = ConstCounter::new(value);
                    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
                }
                Shape::Stands => stands(&mut encoder, name, help, value)?,
            }
        }
        let holdings = self.database.holdings();
        let wal_age = u64::try_from(holdings.wal_age.as_micros()).unwrap_or(u64::MAX);
        stands(&mut encoder, "engine_wal_age_micros", "Age of the oldest batch that waits to be flushed", wal_age)?;
        stands(&mut encoder, "engine_maps", "Memory maps open now", holdings.maps)?;
        let orphans = "Bytes of files that nothing needs any more and that could not be removed yet";
        stands(&mut encoder, "engine_orphan_bytes", orphans, holdings.orphan_bytes)?;
        let held = "Bytes that requests, answers and scans hold now";
        stands(&mut encoder, "request_bytes", held, self.database.budget().held())?;
        let poisoned = "1 once a failed sync stopped all writes";
        stands(&mut encoder, "engine_poisoned", poisoned, u64::from(holdings.poisoned))?;
        bucket(&mut encoder, statistics)?;
        let Some(Lag { lag, failing, reopened }) = self.database.lag() else { return Ok(()) };
        let lag = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        let behind = "How long ago a follower was sure to have everything that the bucket had";
        stands(&mut encoder, "follower_lag_micros", behind, lag)?;
        let failing_help = "1 while a follower's looks at the bucket fail";
        stands(&mut encoder, "follower_failing", failing_help, u64::from(failing))?;
        let metric = ConstCounter::new(reopened);
        let help = "Times that a follower fell behind the log and was opened anew from the newest root";
        metric.encode(encoder.encode_descriptor("follower_reopened", help, None, metric.metric_type())?)?;
        Ok(())
    }
}

/// What the bucket was asked for; nothing of a database without one.
fn bucket(encoder: &mut DescriptorEncoder<'_>, statistics: &Statistics) -> Result<(), fmt::Error> {
    let all = statistics.bucket.all();
    let columns: [(&str, &str, fn(&Tally) -> u64); 3] = [
        ("bucket_requests", "Requests to the bucket, by what they do and the folder of the object", |tally| {
            tally.requests
        }),
        ("bucket_sent_bytes", "Bytes that requests took to the bucket", |tally| tally.sent_bytes),
        ("bucket_received_bytes", "Bytes that requests brought from the bucket", |tally| tally.received_bytes),
    ];
    for (name, help, value) in columns.into_iter().filter(|_| !all.is_empty()) {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ((folder, request), tally) in &all {
            let labels = [("request", request.name()), ("folder", folder.as_str())];
            ConstCounter::new(value(tally)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn stands(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
    let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
