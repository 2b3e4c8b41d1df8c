//! Durable writes over the wire: 10 float64 features, acknowledged once they are synced and readable.

use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow_array::RecordBatch;
use firn_client::Client;
use firn_client::wire::Put;

use crate::data::{EPOCH, Source, cut};
use crate::echo::Echo;
use crate::firn::{self, Firn};
use crate::harness::{Harness, Reading, Result, System};
use crate::redis::{Persistence, Redis, Request};
use crate::report::{Bound, FIRN};

const FEATURES: usize = 10;
const ECHO: &str = "echo (limit)";
const LOG: &str = "raw log (limit)";
const EVERY_SECOND: &str = "Redis, AOF everysec";
const ALWAYS: &str = "Redis, AOF always";
const BATCHES: &str = "batches of 8,192, rate";
const SINGLE: &str = "one-row batches, 64 writers × 16, rate";
const SYNC: &str = "one-row batches, time of an fdatasync";
const PIPELINE: &str = "HSET of 10 fields, pipeline of 100, rate";
const PACKED: &str = "SET of a packed row, pipeline of 100, rate";
const WRITERS: usize = 64;
const IN_FLIGHT: u64 = 16;

/// Measures, and says the targets of ingest.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    batches(harness)?;
    single_rows(harness)?;
    targets(harness);
    Ok(())
}

/// A server with an empty table, and a client of it. Each kind of batch has its own, so that none is measured beside
/// the compaction of another's rows.
fn empty_table(harness: &Harness, directory: &Path) -> Result<(Firn, Client)> {
    let firn = Firn::start(harness, directory)?;
    let client = harness.runtime.block_on(async {
        let client = firn.client().await?;
        firn::declare_entity(&client, "user", &["user"]).await?;
        firn::declare_table(&client, "t", "user", "f", FEATURES).await?;
        Result::Ok(client)
    })?;
    Ok((firn, client))
}

/// What the server appended to its log in a round, and in how many syncs.
#[derive(Debug, Clone, Copy, Default)]
struct Logged {
    rows: f64,
    bytes: f64,
    syncs: f64,
    sync_micros: f64,
}

impl Logged {
    fn so_far(firn: &Firn) -> Result<Self> {
        let counters = firn.counters()?;
        let get = |name: &str| counters.get(name).copied().ok_or_else(|| format!("the server counts no {name}"));
        Ok(Self {
            rows: get("engine_rows")?,
            bytes: get("engine_wal_bytes")?,
            syncs: get("engine_wal_syncs")?,
            sync_micros: get("engine_wal_sync_micros")?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            rows: self.rows - before.rows,
            bytes: self.bytes - before.bytes,
            syncs: self.syncs - before.syncs,
            sync_micros: self.sync_micros - before.sync_micros,
        }
    }

    /// Appends as many bytes in as many synced pieces to a new file; rows per second.
    fn repeat(self, file: &Path) -> Result<f64> {
        let piece = vec![0x5a_u8; (self.bytes / self.syncs.max(1.0)) as usize];
        let mut file = File::create(file)?;
        let started = Instant::now();
        for _ in 0..self.syncs as u64 {
            file.write_all(&piece)?;
            file.sync_data()?;
        }
        Ok(self.rows / started.elapsed().as_secs_f64())
    }
}

fn batches(harness: &mut Harness) -> Result<()> {
    let directory = harness.directory()?;
    let (firn, client) = empty_table(harness, directory.path())?;
    let (users, rows) = (harness.sized(100_000, 100), harness.sized(2_000_000, 8192));
    let files = harness.directory()?;
    let runtime = harness.runtime.handle().clone();
    let mut source = Source::new(3);
    let logged = Cell::new(Logged::default());
    let ours = System::new(FIRN, || {
        let batches = source.history(rows, users, FEATURES);
        let before = Logged::so_far(&firn)?;
        let started = Instant::now();
        let written = runtime.block_on(firn::write(&client, "t", batches))?;
        let seconds = started.elapsed().as_secs_f64();
        logged.set(Logged::so_far(&firn)?.since(before));
        Ok(vec![Reading::new(BATCHES, "rows/s", written.rows as f64 / seconds)])
    });
    let raw: PathBuf = files.path().join("raw");
    let limit = System::new(LOG, || Ok(vec![Reading::new(BATCHES, "rows/s", logged.get().repeat(&raw)?)]));
    let mut systems = vec![ours, limit];
    if harness.settings.peers {
        for (name, persistence, rows) in
            [(EVERY_SECOND, Persistence::EverySecond, 200_000), (ALWAYS, Persistence::Always, 40_000)]
        {
            let count = harness.sized(rows, 400);
            let data = harness.directory()?;
            let redis = Redis::start(harness, data.path(), persistence)?;
            systems.push(System::new(name, move || {
                let _keep = &data;
                redis_writes(&redis, users, count)
            }));
        }
    }
    harness.alternate(systems)?;
    firn.stop()
}

/// The command that writes one row under a key.
type Spell<'a> = &'a dyn Fn(&[u8]) -> Request;

/// Rows per second of Redis: as hashes with a field per feature, and packed into one value.
fn redis_writes(redis: &Redis, users: usize, count: usize) -> Result<Vec<Reading>> {
    let fields: Vec<String> = (0..FEATURES).map(|number| format!("f{number}")).collect();
    let value = [0x3f_u8; 8 * FEATURES];
    let hash = |key: &[u8]| {
        let pairs = fields.iter().flat_map(|field| [field.as_bytes(), &value[..8]]);
        let words: Vec<&[u8]> = [b"HSET".as_slice(), key].into_iter().chain(pairs).collect();
        Request::new(words.into_iter())
    };
    let packed = |key: &[u8]| Request::new([b"SET".as_slice(), key, &value].into_iter());
    let commands: [(&str, &str, Spell<'_>); 2] = [(PIPELINE, "h", &hash), (PACKED, "p", &packed)];
    let mut readings = Vec::new();
    for (metric, prefix, command) in commands {
        let mut source = Source::new(11);
        let pipeline = |_: usize| {
            let mut pipeline = Request::default();
            for user in source.users(100, users) {
                pipeline.append(&command(format!("{prefix}{user}").as_bytes()));
            }
            pipeline
        };
        let pipelines: Vec<Request> = (0..count / 100).map(pipeline).collect();
        let lists: Vec<Vec<Request>> = pipelines.chunks(pipelines.len().div_ceil(4)).map(<[Request]>::to_vec).collect();
        let seconds = redis.run(&lists)?.as_secs_f64();
        readings.push(Reading::new(metric, "rows/s", count as f64 / seconds));
    }
    Ok(readings)
}

fn single_rows(harness: &mut Harness) -> Result<()> {
    let directory = harness.directory()?;
    let (firn, _) = empty_table(harness, directory.path())?;
    let (users, per_writer) = (harness.sized(100_000, 100), harness.sized(500, 20));
    let echo = Echo::start(harness, FEATURES)?;
    let runtime = harness.runtime.handle().clone();
    let mut source = Source::new(12);
    let lists: Vec<Vec<RecordBatch>> = (0..WRITERS)
        .map(|_| {
            let users = source.users(per_writer, users);
            cut(&source.rows(users, vec![EPOCH; per_writer], FEATURES), 1)
        })
        .collect();
    let round = |clients: &[Client]| -> Result<f64> {
        let lists = lists.clone();
        let started = Instant::now();
        runtime.block_on(async {
            let writers = clients.iter().zip(lists);
            let writing: Vec<_> =
                writers.map(|(client, rows)| tokio::spawn(write_singly(client.clone(), rows))).collect();
            for writer in writing {
                writer.await??;
            }
            Result::Ok(())
        })?;
        Ok((WRITERS * per_writer) as f64 / started.elapsed().as_secs_f64())
    };
    let (ours, theirs) = runtime.block_on(async {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..WRITERS {
            ours.push(firn.client().await?);
            theirs.push(echo.client().await?);
        }
        Result::Ok((ours, theirs))
    })?;
    let measured = System::new(FIRN, || {
        let before = Logged::so_far(&firn)?;
        let rate = round(&ours)?;
        let logged = Logged::so_far(&firn)?.since(before);
        let sync = logged.sync_micros / logged.syncs.max(1.0) / 1e3;
        Ok(vec![Reading::new(SINGLE, "rows/s", rate), Reading::new(SYNC, "ms", sync)])
    });
    let limit = System::new(ECHO, || Ok(vec![Reading::new(SINGLE, "rows/s", round(&theirs)?)]));
    harness.alternate(vec![measured, limit])?;
    firn.stop()
}

/// Sends `rows` one by one, at most [`IN_FLIGHT`] of them unacknowledged.
async fn write_singly(client: Client, rows: Vec<RecordBatch>) -> Result<()> {
    let mut writer = client.writer(Put::write("t"), rows[0].schema());
    let mut acknowledged = writer.written();
    for (number, row) in rows.iter().enumerate() {
        // The end of the stream says why it has ended.
        let has_room = acknowledged.wait_for(|written| number as u64 - written.batches < IN_FLIGHT).await.is_ok();
        if !has_room || writer.send(row).await.is_err() {
            break;
        }
    }
    let (_, end) = writer.finish().await;
    Ok(end?)
}

fn targets(harness: &mut Harness) {
    harness.target("batches of 8,192: rows/s, durable", harness.value(FIRN, BATCHES), Bound::AtLeast(1.2e6));
    let times = harness.ratio((FIRN, BATCHES), (EVERY_SECOND, PIPELINE));
    harness.target("batches of 8,192: times Redis everysec", times, Bound::AtLeast(7.0));
    let in_flight = WRITERS as f64 * IN_FLIGHT as f64;
    let by_disk = harness.value(FIRN, SYNC).map(|millis| in_flight / (millis / 1e3));
    let least = by_disk.zip(harness.value(ECHO, SINGLE)).map(|(disk, echo)| disk.min(echo));
    let share = harness.value(FIRN, SINGLE).zip(least).map(|(ours, least)| ours / least);
    harness.target("one-row batches: share of the smaller of disk and echo", share, Bound::AtLeast(0.5));
}
