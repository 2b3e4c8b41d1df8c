//! A database in a bucket, a directory of this machine: what freezing, reading ice, and a lost disk cost, in the engine.
//!
//! The bucket counts its requests, and can be told to hang. Everything is frozen and has left the disk but for packs and rows parts,
//! so that every read of the past is one of ice. The same rows without a bucket are what it is compared with.

mod costs;
mod database;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use firn_storage::config::Options;
use firn_storage::database::EraseRequest;
use firn_storage::objects::faulty::Faulty;
use firn_storage::traffic::Request;

use self::database::{FEATURES, bucket_in, home, length_of, load, p99};
use crate::data::{Source, cut};
use crate::engine::{self, Engine};
use crate::harness::{Harness, Reading, Result, System};
use crate::report::{Bound, FIRN};
use crate::statistics::median;

const JOIN_BATCH: usize = 65_536;
const PROBES: usize = 1000;

const FREEZE: &str = "freeze, 10 features, one core";
const JOIN_HOT: &str = "join, all on the disk, no bucket";
const JOIN_HOT_OPENED: &str = "join, all on the disk, no bucket, first after it was opened";
const JOIN_ICE: &str = "join, all in the bucket, nothing in memory";
const JOIN_WARM: &str = "join, all in the bucket, again";
const JOIN_THAWED: &str = "join, all in the bucket, thawed";
const JOIN_THAWED_OPENED: &str = "join, all in the bucket, thawed, first after that";
const RESTORE: &str = "an empty disk until the first latest answer, all of it ice";
const RESTORE_HOT: &str = "an empty disk until the first latest answer, none of it ice";
const RESTORE_WHOLE: &str = "an empty disk until all of it is there";
const COPY: &str = "copying as many bytes";
const ERASE: &str = "erase of one entity, until its receipt";
const FREEZE_TIME: &str = "freeze of everything";

/// What all calls of the bucket wait for while it hangs.
#[derive(Debug, Default)]
struct Hanging {
    hangs: Mutex<bool>,
    goes_on: Condvar,
}

impl Hanging {
    fn set(&self, hangs: bool) {
        *self.hangs.lock().expect("nobody panics here") = hangs;
        self.goes_on.notify_all();
    }

    fn wait(&self) {
        let hangs = self.hangs.lock().expect("nobody panics here");
        drop(self.goes_on.wait_while(hangs, |hangs| *hangs).expect("nobody panics here"));
    }
}

/// A database, and the bucket that it is in.
struct Cold<'a> {
    harness: &'a mut Harness,
    /// It counts its calls.
    bucket: Faulty,
    hanging: Arc<Hanging>,
    disk: tempfile::TempDir,
}

/// Measures, and says the targets of ice.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let (rows, users) = (harness.sized(4_000_000, 20_000), harness.sized(100_000, 200));
    let spine = Source::new(60).spine(harness.sized(1_000_000, 1000), users);
    let requests = cut(&spine, JOIN_BATCH);
    let without = harness.directory()?;
    let engine = Engine::open(&harness.settings, without.path())?;
    load(&engine, rows, users)?;
    engine.close()?;
    hot_joins(harness, without.path(), &requests)?;
    let (directory, disk) = (harness.directory()?, harness.directory()?);
    let (bucket, hanging) = (bucket_in(directory.path())?, Arc::<Hanging>::default());
    let all = Arc::clone(&hanging);
    bucket.watch(move |_, _| all.wait());
    let mut cold = Cold { harness, bucket, hanging, disk };
    cold.write(rows, users)?;
    cold.restore_hot(users, directory.path())?;
    cold.freeze(rows, directory.path())?;
    let cells = costs::against_pyarrow(cold.harness, &directory.path().join("ice"))?;
    cold.fetched(&requests, cells)?;
    cold.joins(&requests)?;
    cold.probes(users)?;
    cold.hanging(users)?;
    cold.restore(rows, users)?;
    cold.erase()?;
    drop(directory);
    costs::while_freezing(harness)?;
    costs::acknowledge(harness)?;
    costs::root(harness)
}

/// What is on the disk, and no bucket: the bytes of a file are checked when they are first read after it was opened.
fn hot_joins(harness: &mut Harness, directory: &Path, requests: &[RecordBatch]) -> Result<()> {
    let settings = harness.settings.clone();
    let system = System::new(FIRN, || {
        let engine = Engine::open(&settings, directory)?;
        let readings = [JOIN_HOT_OPENED, JOIN_HOT].map(|metric| seconds(metric, &engine, requests));
        engine.close()?;
        readings.into_iter().collect()
    });
    harness.alternate(vec![system])
}

fn seconds(metric: &str, engine: &Engine, requests: &[RecordBatch]) -> Result<Reading> {
    let (_, elapsed) = engine.read(&engine::as_of("t"), requests)?;
    Ok(Reading::new(metric, "s", elapsed.as_secs_f64()))
}

impl Cold<'_> {
    fn open(&self, hot_bytes_max: u64, cache_bytes_max: u64, background: bool) -> Result<Engine> {
        self.open_with(hot_bytes_max, cache_bytes_max, u64::MAX, background)
    }

    fn open_with(&self, hot: u64, cache: u64, thawed_bytes_max: u64, background: bool) -> Result<Engine> {
        let mut home = home(&self.bucket, hot, cache);
        home.policy.ice.thawed_bytes_max = thawed_bytes_max;
        let change = |options: &mut Options| {
            options.home = Some(home);
            options.background = background;
        };
        Engine::open_with(&self.harness.settings, self.disk.path(), change)
    }

    fn record(&mut self, metric: &str, unit: &'static str, value: f64) {
        self.harness.record(FIRN, Reading::new(metric, unit, value));
    }

    /// Writes at full speed with background work, and then rests.
    fn write(&mut self, rows: usize, users: usize) -> Result<()> {
        let engine = self.open(u64::MAX, 0, true)?;
        let before = self.bucket.calls();
        load(&engine, rows, users)?;
        engine.settle()?;
        let sent = engine.database.statistics().bucket.of(Request::Put).sent_bytes as f64;
        let per_byte = sent / (rows * (2 + FEATURES) * size_of::<u64>()) as f64;
        self.record("sent for each byte of rows", "bytes", per_byte);
        self.harness.target("bytes sent for each byte of rows", Some(per_byte), Bound::AtMost(4.0));
        let per_million = (self.bucket.calls() - before) as f64 / rows as f64 * 1e6;
        self.record("requests per 1 M rows written", "requests", per_million);
        self.harness.target("requests per 1 M rows written", Some(per_million), Bound::AtMost(40.0));
        let before = self.bucket.calls();
        std::thread::sleep(self.harness.settings.quiet());
        let idle = (self.bucket.calls() - before) as f64;
        self.record("requests while nothing is written", "requests", idle);
        self.harness.target("requests while nothing is written", Some(idle), Bound::AtMost(0.0));
        engine.close()
    }

    fn freeze(&mut self, rows: usize, bucket: &Path) -> Result<()> {
        let segments = length_of(&self.disk.path().join("segments"))?;
        let engine = self.open(0, 0, false)?;
        let started = Instant::now();
        engine.database.freeze(&engine.database.catalog(), None)?;
        let elapsed = started.elapsed().as_secs_f64();
        let per_second = rows as f64 / elapsed;
        self.record(FREEZE_TIME, "s", elapsed);
        self.record(FREEZE, "rows/s", per_second);
        self.harness.target(&format!("{FREEZE}: rows/s"), Some(per_second), Bound::AtLeast(1.2e6));
        engine.close()?;
        let ice = length_of(&bucket.join("ice"))?;
        self.record("segments", "bytes/row", segments as f64 / rows as f64);
        self.record("ice", "bytes/row", ice as f64 / rows as f64);
        let ratio = ice as f64 / segments as f64;
        self.harness.target("ice: times segments", Some(ratio), Bound::AtMost(0.35));
        Ok(())
    }

    /// What the first join asks for, of cells of so many bytes if that is known.
    fn fetched(&mut self, requests: &[RecordBatch], cells: Option<f64>) -> Result<()> {
        let files = std::fs::read_dir(self.disk.path().join("segments"))?.count() as f64;
        let engine = self.open(0, 16 << 30, false)?;
        let tally = || engine.database.statistics().bucket.of(Request::Get);
        let before = tally();
        engine.read(&engine::as_of("t"), requests)?;
        let (asked, bytes) = (tally().requests - before.requests, tally().received_bytes - before.received_bytes);
        engine.close()?;
        self.record("join, all in the bucket, nothing in memory", "requests", asked as f64);
        self.record("join, all in the bucket, nothing in memory", "MB", bytes as f64 / 1e6);
        let Some(cells) = cells else { return Ok(()) };
        let most = cells / f64::from(4 << 20) + 2.0 * files;
        self.harness.target("requests of the first join", Some(asked as f64), Bound::AtMost(most));
        let ratio = bytes as f64 / cells;
        self.harness.target("bytes of the first join: times those of the cells", Some(ratio), Bound::AtMost(1.05));
        Ok(())
    }

    fn joins(&mut self, requests: &[RecordBatch]) -> Result<()> {
        let rounds = self.harness.settings.rounds;
        let mut joins = [JOIN_ICE, JOIN_WARM, JOIN_THAWED_OPENED, JOIN_THAWED].map(|metric| (metric, Vec::new()));
        for _ in 0..=rounds {
            let engine = self.open(0, 16 << 30, false)?;
            let first = seconds(JOIN_ICE, &engine, requests)?;
            let before = self.bucket.calls();
            let again = seconds(JOIN_WARM, &engine, requests)?;
            let asked = (self.bucket.calls() - before) as f64;
            assert_eq!(asked, 0.0, "what came is kept");
            engine.close()?;
            // Nothing may stay in memory, so that what was read comes back to the disk.
            let engine = self.open(0, 0, false)?;
            engine.read(&engine::as_of("t"), requests)?;
            while engine.database.compact_once()? {}
            let opened = seconds(JOIN_THAWED_OPENED, &engine, requests)?;
            let thawed = seconds(JOIN_THAWED, &engine, requests)?;
            engine.close()?;
            joins.iter_mut().zip([first, again, opened, thawed]).for_each(|((_, of), join)| of.push(join.value));
            // And leaves it again.
            let engine = self.open_with(0, 0, 0, false)?;
            while engine.database.compact_once()? {}
            engine.close()?;
        }
        // The first round warms caches.
        for (metric, mut seconds) in joins {
            self.record(metric, "s", median(seconds.split_off(1)));
        }
        let bounds = [
            (JOIN_ICE, JOIN_HOT, 8.0),
            (JOIN_WARM, JOIN_HOT, 6.0),
            (JOIN_THAWED_OPENED, JOIN_HOT_OPENED, 1.3),
            (JOIN_THAWED, JOIN_HOT, 1.3),
        ];
        for (metric, hot, most) in bounds {
            let ratio = self.harness.ratio((FIRN, metric), (FIRN, hot));
            self.harness.target(&format!("{metric}: times {hot}"), ratio, Bound::AtMost(most));
        }
        Ok(())
    }

    /// Entities here and there, as of moments here and there.
    fn probes(&mut self, users: usize) -> Result<()> {
        let probes = [Source::new(62).spine(PROBES, users)];
        let engine = self.open(0, 1 << 30, false)?;
        let counted = |cold: &Self| -> Result<(u64, u64, f64)> {
            let bytes = || engine.database.statistics().ice_bytes.get();
            let before = (cold.bucket.calls(), bytes());
            let (_, elapsed) = engine.read(&engine::as_of("t"), &probes)?;
            Ok((cold.bucket.calls() - before.0, bytes() - before.1, elapsed.as_secs_f64()))
        };
        let (requests, bytes, elapsed) = counted(self)?;
        let (again, ..) = counted(self)?;
        self.record("1,000 random entities as of random moments", "requests", requests as f64);
        self.record("1,000 random entities as of random moments", "MB", bytes as f64 / 1e6);
        self.record("1,000 random entities as of random moments, time", "ms", elapsed * 1e3);
        self.record("the same again", "requests", again as f64);
        let per_entity = requests as f64 / PROBES as f64;
        self.harness.target("1,000 random entities: requests of each", Some(per_entity), Bound::AtMost(1.0));
        self.harness.target("the same again: requests", Some(again as f64), Bound::AtMost(0.0));
        engine.close()
    }

    /// Latest of a batch of entities while the bucket answers nothing, and while reads of the past wait for it.
    fn hanging(&mut self, users: usize) -> Result<()> {
        let batches = Source::new(63).requests(self.harness.sized(4000, 20), 100, users);
        let engine = self.open(0, 0, true)?;
        let past = [Source::new(64).spine(PROBES, users)];
        let mut measured: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        // The slowest of some thousand vary, so that many rounds are needed.
        for round in 0..=12 * self.harness.settings.rounds {
            let hangs = round % 2;
            self.hanging.set(hangs == 1);
            let p99 = std::thread::scope(|scope| {
                let waiting = (hangs == 1).then(|| scope.spawn(|| engine.read(&engine::as_of("t"), &past).is_ok()));
                let p99 = p99(&engine, &batches);
                self.hanging.set(false);
                waiting
                    .into_iter()
                    .for_each(|waiting| assert!(waiting.join().expect("it ends"), "it was answered late"));
                p99
            })?;
            if round > 0 {
                measured[hangs].push(p99);
            }
        }
        let [answers, hangs] = measured.map(median);
        self.record("latest of 100, p99 while the bucket answers", "µs", answers);
        self.record("latest of 100, p99 while the bucket hangs", "µs", hangs);
        let what = "latest while the bucket hangs: times p99";
        self.harness.target(what, Some(hangs / answers), Bound::AtMost(1.1));
        engine.close()
    }

    /// A node on an empty disk while nothing was frozen: what it needs before its first answer, and until everything is there.
    fn restore_hot(&mut self, users: usize, bucket: &Path) -> Result<()> {
        let request = Source::new(65).requests(1, 1, users);
        let (mut first, mut whole, mut copied, mut came) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=self.harness.settings.rounds {
            let copy = self.harness.directory()?;
            let started = Instant::now();
            for object in std::fs::read_dir(bucket.join("data"))? {
                let object = object?;
                let to = copy.path().join(object.file_name());
                std::fs::copy(object.path(), &to)?;
                std::fs::File::open(&to)?.sync_all()?;
            }
            copied.push(started.elapsed().as_secs_f64());
            self.disk = self.harness.directory()?;
            let started = Instant::now();
            let engine = self.open(u64::MAX, 0, false)?;
            engine.read(&engine::latest("t"), &request)?;
            first.push(started.elapsed().as_secs_f64());
            came.push(engine.database.statistics().bucket.of(Request::Get).received_bytes as f64 / 1e6);
            while engine.database.status()["bucket"]["restore_bytes_left"] != 0 {
                engine.database.compact_once()?;
            }
            whole.push(started.elapsed().as_secs_f64());
            engine.close()?;
        }
        let bytes = length_of(&bucket.join("data"))? as f64 / 1e6;
        self.record("files in the bucket", "MB", bytes);
        self.record("received before the first latest answer", "MB", median(came.split_off(1)));
        for (metric, seconds) in [(RESTORE_HOT, &mut first), (RESTORE_WHOLE, &mut whole), (COPY, &mut copied)] {
            self.record(metric, "s", median(seconds.split_off(1)));
        }
        let first = self.harness.value(FIRN, RESTORE_HOT);
        self.harness.target(&format!("{RESTORE_HOT}: s"), first, Bound::AtMost(3.0));
        let ratio = self.harness.ratio((FIRN, RESTORE_WHOLE), (FIRN, COPY));
        self.harness.target(&format!("{RESTORE_WHOLE}: times copying"), ratio, Bound::AtMost(1.5));
        Ok(())
    }

    /// One entity that is in ice, and no more.
    fn erase(&mut self) -> Result<()> {
        let mut seconds = Vec::new();
        for user in 0..=self.harness.settings.rounds as i64 {
            let engine = self.open(0, 0, false)?;
            let key: ArrayRef = Arc::new(Int64Array::from(vec![user]));
            let request =
                EraseRequest { entity: "user".to_owned(), keys: vec![("user".to_owned(), key)], block: false };
            let started = Instant::now();
            engine.database.erase(&engine.database.catalog(), &request)?;
            seconds.push(started.elapsed().as_secs_f64());
            engine.database.freeze(&engine.database.catalog(), None)?;
            engine.close()?;
        }
        self.record(ERASE, "s", median(seconds.split_off(1)));
        let ratio = self.harness.ratio((FIRN, ERASE), (FIRN, FREEZE_TIME));
        self.harness.target(&format!("{ERASE}: times {FREEZE_TIME}"), ratio, Bound::AtMost(0.25));
        Ok(())
    }

    fn restore(&mut self, rows: usize, users: usize) -> Result<()> {
        let request = Source::new(65).requests(1, 1, users);
        let (mut seconds, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..=self.harness.settings.rounds {
            self.disk = self.harness.directory()?;
            let started = Instant::now();
            let engine = self.open(0, 0, false)?;
            engine.read(&engine::latest("t"), &request)?;
            seconds.push(started.elapsed().as_secs_f64());
            while engine.database.status()["bucket"]["restore_bytes_left"] != 0 {
                engine.database.compact_once()?;
            }
            whole.push(rows as f64 / started.elapsed().as_secs_f64());
            engine.close()?;
        }
        self.record(RESTORE, "s", median(seconds.split_off(1)));
        let rate = median(whole.split_off(1));
        self.record("an empty disk until all of its rows are there, all of it ice", "rows/s", rate);
        self.harness.target("rows restored while their cells stay in ice: rows/s", Some(rate), Bound::AtLeast(15e6));
        self.harness.target(&format!("{RESTORE}: s"), self.harness.value(FIRN, RESTORE), Bound::AtMost(3.0));
        Ok(())
    }
}
