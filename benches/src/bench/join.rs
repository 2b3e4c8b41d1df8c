//! The as-of join: 1 M spine rows × 10 M rows of 100 K entities, 10 float64 features.
//!
//! FirnDB does it over the wire and in the engine, its peers from memory and from Parquet, all on the same rows, and all
//! must find the same. The engine alone is also measured on other shapes of the same size. All are hot: a join from
//! memory is done twice and the second one counts, since what took its turn before has emptied the caches.

use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};
use firn_storage::read::PointRequest;
use parquet::arrow::ArrowWriter;

use crate::data::{BATCH_ROWS, EPOCH, SPAN, Source, cut};
use crate::engine::{self, Engine};
use crate::firn::{self, Firn};
use crate::harness::{Harness, Reading, Result, System, copy_directory};
use crate::peers::Script;
use crate::report::{Bound, FIRN};

const FEATURES: usize = 10;
/// Rows of a message of the spine on the wire.
const SPINE_ROWS: usize = 65_536;
const WIRE: &str = "FirnDB over the wire";
const LIMIT: &str = "one read of memory (limit)";
const PEERS: [(&str, f64); 4] = [("pandas", 2.0), ("Polars", 8.0), ("DuckDB", 8.0), ("ClickHouse", 8.0)];
const JOIN: &str = "1 M × 10 M rows";
const PARQUET: &str = "1 M × 10 M rows, from Parquet";
const DENSE: &str = "1 M × 10 M rows, in turn with the next";
const BOTH: &str = "1 M × 10 M rows, both bounds";
const SPARSE: &str = "1 M × 10 M rows of 1 feature each";
const FEW: &str = "1 M × 10 M rows of 10 entities";
const CORES: &str = "1 M × 10 M rows of 10 entities, cores busy";

/// Measures, and says the targets of joins.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(100_000, 100);
    let history = Source::new(20).history(harness.sized(10_000_000, BATCH_ROWS), users, FEATURES);
    let spine = Source::new(21).spine(harness.sized(1_000_000, 1000), users);
    let (served, copied) = (harness.directory()?, harness.directory()?);
    let loading = Firn::start_loading(harness, served.path())?;
    let began = now();
    harness.runtime.block_on(async {
        let client = loading.client().await?;
        firn::declare_entity(&client, "user", &["user"]).await?;
        firn::declare_table(&client, "t", "user", "f", FEATURES).await?;
        firn::write(&client, "t", history.iter().cloned()).await
    })?;
    let ended = now();
    loading.settle()?;
    loading.stop()?;
    copy_directory(served.path(), copied.path())?;
    let server = Firn::start(harness, served.path())?;
    let engine = Engine::open(&harness.settings, copied.path())?;
    compare(harness, &server, &engine, &history, &spine)?;
    server.stop()?;
    drop(history);
    shapes(harness, &engine, &spine, (began, ended))?;
    targets(harness);
    engine.close()
}

/// FirnDB, its peers and the limit in turn.
fn compare(
    harness: &mut Harness,
    server: &Firn,
    engine: &Engine,
    history: &[RecordBatch],
    spine: &RecordBatch,
) -> Result<()> {
    let expected = Cell::new(None);
    let client = harness.runtime.block_on(server.client())?;
    let runtime = harness.runtime.handle().clone();
    let batches = cut(spine, SPINE_ROWS);
    let in_engine = || -> Result<f64> {
        let plan = engine.database.plan(&engine.database.catalog(), &engine::as_of("t"), &spine.schema())?;
        let started = Instant::now();
        let snapshot = engine.database.snapshot(&plan, spine)?;
        let joined = engine.database.read(&plan, &snapshot, spine)?;
        let seconds = started.elapsed().as_secs_f64();
        Found::of(&[joined]).same(&expected)?;
        Ok(seconds)
    };
    let over_wire = || -> Result<f64> {
        let started = Instant::now();
        let answers = runtime.block_on(client.join_all(firn::join(&["t"]), &batches))?;
        let seconds = started.elapsed().as_secs_f64();
        let joined: Vec<RecordBatch> = answers.into_iter().flat_map(|answer| answer.batches).collect();
        Found::of(&joined).same(&expected)?;
        Ok(seconds)
    };
    let ours = System::new(FIRN, || Ok(vec![Reading::new(JOIN, "s", hot(in_engine)?)]));
    let wire = System::new(WIRE, || Ok(vec![Reading::new(JOIN, "s", hot(over_wire)?)]));
    let limit = System::new(LIMIT, || Ok(vec![Reading::new(JOIN, "s", hot(|| read_once(history))?)]));
    let mut systems = vec![ours, wire, limit];
    let files = harness.directory()?;
    if harness.settings.peers {
        write_parquet(&files.path().join("history.parquet"), history)?;
        write_parquet(&files.path().join("spine.parquet"), std::slice::from_ref(spine))?;
        let place = files.path().to_string_lossy().into_owned();
        for (name, _) in PEERS {
            let mut script = Script::start(harness, "python", "joins.py", &[name, &place])?;
            let expected = &expected;
            systems.push(System::new(name, move || {
                let mut seconds = |work: &str| -> Result<f64> {
                    let answer = script.work(work)?;
                    let number =
                        |name: &str| answer[name].as_f64().ok_or_else(|| format!("no number `{name}` in {answer}"));
                    Found { matched: number("matched")?, sum: number("sum")? }.same(expected)?;
                    Ok(number("seconds")?)
                };
                let memory = hot(|| seconds("memory"))?;
                Ok(vec![Reading::new(JOIN, "s", memory), Reading::new(PARQUET, "s", seconds("parquet")?)])
            }));
        }
    }
    harness.alternate_rounds(harness.settings.rounds.min(3), systems)
}

/// The second of two.
fn hot(mut once: impl FnMut() -> Result<f64>) -> Result<f64> {
    once()?;
    once()
}

/// What a join found: how many rows have the first feature, and its sum.
#[derive(Debug, Clone, Copy)]
struct Found {
    matched: f64,
    sum: f64,
}

impl Found {
    fn of(joined: &[RecordBatch]) -> Self {
        let column =
            |batch: &RecordBatch| batch.column_by_name("f0").map(|column| column.as_primitive::<Float64Type>().clone());
        let columns: Vec<_> = joined.iter().filter_map(column).collect();
        let matched = columns.iter().map(|column| column.len() - column.null_count()).sum::<usize>() as f64;
        Self { matched, sum: columns.iter().flat_map(|column| column.iter().flatten()).sum() }
    }

    /// Compares with what the first system found.
    fn same(self, expected: &Cell<Option<Self>>) -> Result<()> {
        let first = expected.get().unwrap_or(self);
        expected.set(Some(first));
        // Sums are added up in different orders, and rows of one entity at one time may win in another order.
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-5 * a.abs().max(1.0);
        if self.matched == first.matched && close(self.sum, first.sum) {
            return Ok(());
        }
        Err(format!("it found {self:?}, the first system {first:?}").into())
    }
}

/// Reads every value of `batches` once, on two threads; the seconds.
fn read_once(batches: &[RecordBatch]) -> Result<f64> {
    let sum = |batches: &[RecordBatch]| -> u64 {
        let columns = batches.iter().flat_map(RecordBatch::columns);
        columns.fold(0, |sum, column| sum.wrapping_add(column_sum(column)))
    };
    let started = Instant::now();
    let (left, right) = batches.split_at(batches.len() / 2);
    let total = std::thread::scope(|scope| {
        let other = scope.spawn(|| sum(right));
        let own = sum(left);
        other.join().map(|other| own.wrapping_add(other))
    });
    let seconds = started.elapsed().as_secs_f64();
    std::hint::black_box(total.map_err(|_| "a reading thread panicked")?);
    Ok(seconds)
}

fn column_sum(column: &ArrayRef) -> u64 {
    let bits = |values: &[i64]| values.iter().fold(0_u64, |sum, value| sum.wrapping_add(*value as u64));
    if let Some(column) = column.as_primitive_opt::<Int64Type>() {
        bits(column.values())
    } else if let Some(column) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        bits(column.values())
    } else {
        column.as_primitive::<Float64Type>().values().iter().fold(0, |sum, value| sum.wrapping_add(value.to_bits()))
    }
}

/// The engine on other shapes: both bounds, rows of one feature each, few entities with many rows.
fn shapes(harness: &mut Harness, engine: &Engine, spine: &RecordBatch, loaded: (i64, i64)) -> Result<()> {
    let rows = harness.sized(10_000_000, BATCH_ROWS);
    let users = harness.sized(100_000, 100);
    let known = known_spine(spine, loaded)?;
    engine.declare("sparse", FEATURES)?;
    let dense = Source::new(22).history(rows, users, FEATURES);
    engine.write("sparse", dense.iter().enumerate().map(|(number, batch)| one_feature(batch, number % FEATURES)))?;
    drop(dense);
    engine.declare("few", FEATURES)?;
    engine.write("few", Source::new(23).history(rows, 10, FEATURES))?;
    engine.settle()?;
    let few = Source::new(24).spine(spine.num_rows(), 10);
    let read = |request: PointRequest, spine: &RecordBatch| -> Result<f64> {
        Ok(engine.read(&request, std::slice::from_ref(spine))?.1.as_secs_f64())
    };
    let mut cores = 0.0;
    let system = System::new(FIRN, || {
        let dense = hot(|| read(engine::as_of("t"), spine))?;
        let both = hot(|| read(engine::as_known("t"), &known))?;
        let sparse = hot(|| read(engine::as_of("sparse"), spine))?;
        let few = hot(|| {
            let busy = processor_seconds()?;
            let seconds = read(engine::as_of("few"), &few)?;
            cores = (processor_seconds()? - busy) / seconds;
            Ok(seconds)
        })?;
        Ok(vec![
            Reading::new(DENSE, "s", dense),
            Reading::new(BOTH, "s", both),
            Reading::new(SPARSE, "s", sparse),
            Reading::new(FEW, "s", few),
            Reading::new(CORES, "cores", cores),
        ])
    });
    harness.alternate(vec![system])
}

/// `spine` with a second bound: a random moment of the time in which the history was written.
fn known_spine(spine: &RecordBatch, (began, ended): (i64, i64)) -> Result<RecordBatch> {
    let times = Source::new(25).times(spine.num_rows());
    let within = |time: i64| began + (time - EPOCH) * (ended - began).max(1) / SPAN;
    let known: ArrayRef = std::sync::Arc::new(
        TimestampMicrosecondArray::from_iter_values(times.into_iter().map(within)).with_timezone("UTC"),
    );
    let columns = [("user", spine.column(0).clone()), ("decided_at", spine.column(1).clone()), ("known_at", known)];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// The key, the time and one feature of `batch`.
fn one_feature(batch: &RecordBatch, feature: usize) -> RecordBatch {
    batch.project(&[0, 1, 2 + feature]).expect("the batch has a key, a time and ten features")
}

fn targets(harness: &mut Harness) {
    harness.target("engine, hot: s", harness.value(FIRN, JOIN), Bound::AtMost(0.15));
    harness.target("over the wire: s", harness.value(WIRE, JOIN), Bound::AtMost(0.5));
    for (peer, times) in PEERS {
        for metric in [JOIN, PARQUET] {
            let ratio = harness.value(peer, metric).zip(harness.value(FIRN, JOIN)).map(|(theirs, ours)| theirs / ours);
            harness.target(&format!("times {peer}, {metric}"), ratio, Bound::AtLeast(times));
        }
    }
    for (metric, bound) in [(BOTH, 1.3), (SPARSE, 3.0)] {
        let ratio = harness.ratio((FIRN, metric), (FIRN, DENSE));
        harness.target(&format!("{metric}: against one bound, dense"), ratio, Bound::AtMost(bound));
    }
    harness.target(CORES, harness.value(FIRN, CORES), Bound::AtLeast(1.5));
}

/// Microseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    since.as_micros() as i64
}

/// The seconds that this process has used of all cores, to a hundredth.
fn processor_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after = text.rsplit_once(')').ok_or("the kernel's line on this process has no name")?.1;
    let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

/// Writes `batches` to a Parquet file.
pub(super) fn write_parquet(path: &Path, batches: &[RecordBatch]) -> Result<()> {
    let mut writer = ArrowWriter::try_new(File::create(path)?, batches[0].schema(), None)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(())
}
