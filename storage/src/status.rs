//! What a database holds and does, as JSON for `status`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::Engine;
use crate::traffic::{Request, Traffic};
use crate::view::TableState;

/// What a database holds now, for metrics.
#[derive(Debug, Clone, Copy)]
pub struct Holdings {
    /// Memory maps open.
    pub maps: u64,
    /// Age of the oldest batch that is neither in a segment nor on its way into one.
    pub wal_age: Duration,
    /// Bytes of files that nothing needs any more and that could not be removed yet.
    pub orphan_bytes: u64,
    /// Whether a failed sync stopped all writes.
    pub poisoned: bool,
}

/// What `engine` holds now.
pub(crate) fn holdings(engine: &Engine) -> Holdings {
    let oldest = engine.tables().iter().filter_map(|table| table.size.lock().active_since).min();
    let age = oldest.map_or(0, |since| engine.clock.monotonic().saturating_sub(since));
    Holdings {
        maps: engine.files.maps_open(),
        wal_age: Duration::from_micros(age.max(0).unsigned_abs()),
        orphan_bytes: engine.retired.bytes(),
        poisoned: engine.poison.get().is_some(),
    }
}

/// The status of the whole database, and of its `follower`, if it is one's.
pub(crate) fn status(engine: &Engine, follower: Option<Value>) -> Value {
    let versions = engine.versions.load();
    let statistics = &engine.statistics;
    let tables: Vec<Value> = engine.tables().iter().map(|table| table_status(engine, table)).collect();
    json!({
        "read_position": engine.log.position(engine.published.sequence()).to_string(),
        "schema_version": versions.newest().schema_version,
        "clock": engine.clock.now(),
        "tables": tables,
        "memory": {
            "memtable_bytes": engine.memtable_bytes(),
            "memtable_bytes_max": engine.options.memory_bytes_max,
            "queue_bytes": statistics.queue_bytes.get(),
            "maps_open": engine.files.maps_open(),
        },
        "bucket": engine.home.as_ref().map(|home| json!({
            "epoch": home.epoch(),
            "durable_position": engine.log.position(home.durable().sequence()).to_string(),
            "backlog_bytes": home.backlog_bytes(),
            "restore_bytes_left": engine.coming.bytes_left(),
        })),
        "ice": engine.fetch.as_ref().map(|_| ice_status(engine)),
        "bucket_requests": engine.fetch.as_ref().map(|_| requests_status(&statistics.bucket)),
        "follower": follower,
        "totals": {
            "rows": statistics.rows.get(),
            "batches": statistics.batches.get(),
            "duplicates": statistics.duplicates.get(),
            "rows_read": statistics.rows_read.get(),
            "wal_bytes": statistics.wal_bytes.get(),
            "wal_syncs": statistics.wal_syncs.get(),
            "flushes": statistics.flushes.get(),
            "flush_bytes": statistics.flush_bytes.get(),
            "compactions": statistics.compactions.get(),
            "compaction_bytes": statistics.compaction_bytes.get(),
            "packs": statistics.packs.get(),
            "pack_bytes": statistics.pack_bytes.get(),
            "stalls": statistics.stalls.get(),
            "scrubs": statistics.scrubs.get(),
            "scrub_damages": statistics.scrub_damages.get(),
            "background_errors": statistics.background_errors.get(),
        },
    })
}

/// What the bucket was asked for since the start.
fn requests_status(traffic: &Traffic) -> Value {
    let mut told = json!({});
    let (mut sent_bytes, mut received_bytes) = (0, 0);
    for request in Request::ALL {
        let tally = traffic.of(request);
        told[request.name()] = json!(tally.requests);
        (sent_bytes, received_bytes) = (sent_bytes + tally.sent_bytes, received_bytes + tally.received_bytes);
    }
    (told["sent_bytes"], told["received_bytes"]) = (json!(sent_bytes), json!(received_bytes));
    told
}

/// What is frozen, how much of it the local disk has too, and what was fetched.
fn ice_status(engine: &Engine) -> Value {
    let listed = engine.listed.load();
    let frozen = || listed.tables.values().flat_map(|table| &table.segments).filter(|entry| entry.ice.is_some());
    json!({
        "segments": frozen().count(),
        "rows": frozen().map(|entry| u64::from(entry.meta.rows)).sum::<u64>(),
        "bytes": frozen().filter_map(|entry| entry.ice.as_ref()).map(|ice| ice.length).sum::<u64>(),
        "hot_bytes": frozen().filter(|entry| !entry.is_away()).map(|entry| entry.meta.length).sum::<u64>(),
        "resident_bytes": engine.statistics.ice_resident_bytes.get(),
        "requests": engine.statistics.ice_requests.get(),
        "fetched_bytes": engine.statistics.ice_bytes.get(),
    })
}

fn table_status(engine: &Engine, table: &Arc<TableState>) -> Value {
    let view = table.view.load();
    let segments: usize = view.buckets.iter().map(|bucket| bucket.segments.len()).sum();
    let rows: u64 = view.buckets.iter().flat_map(|bucket| bucket.runs()).map(|run| u64::from(run.rows.len())).sum();
    let packs = view.buckets.iter().filter(|bucket| bucket.pack.is_some()).count();
    let entities: u64 = table.entity.dictionaries.iter().map(|dictionary| u64::from(dictionary.len())).sum();
    let bytes: u64 = {
        let listed = engine.listed.load();
        let kept = listed.tables.get(&table.id);
        kept.map_or(0, |kept| kept.segments.iter().map(|entry| entry.meta.length).sum())
    };
    let size = *table.size.lock();
    let declared = engine.declaration(table.id);
    json!({
        "table": declared.as_ref().map(|table| table.name.clone()),
        "sealed": declared.is_some_and(|table| table.sealed),
        "rows": rows,
        "entities": entities,
        "segments": segments,
        "segment_bytes": bytes,
        "packs": packs,
        "memtable_bytes": size.active_bytes + size.frozen_bytes,
    })
}
