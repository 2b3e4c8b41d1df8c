//! SQL over Flight SQL: what it costs beside the engine, DataFusion over the same rows in memory, and DuckDB.
//!
//! A point query by key beside `SELECT 1`, an as-of join that is averaged on the server, averages of ten features over 10 M
//! rows of latest and of history, 200 connections with small queries and native lookups beside them, and how soon a query
//! that was cancelled is gone.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, RecordBatch};
use arrow_flight::sql::client::FlightSqlServiceClient;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use firn_storage::priority::give_way;
use futures::{StreamExt, TryStreamExt};
use tokio::runtime::Builder;
use tonic::transport::{Channel, Endpoint};

use crate::data::{BATCH_ROWS, Source, assemble, cut};
use crate::engine::{self, Engine};
use crate::firn::{self, Firn};
use crate::harness::{Harness, Reading, Result, System, copy_directory};
use crate::load;
use crate::peers::Script;
use crate::report::{Bound, FIRN};
use crate::statistics::{latencies, percentile};

const FEATURES: usize = 10;
const ENGINE: &str = "the engine's join (limit)";
const MEMORY: &str = "DataFusion over the same rows in memory (limit)";
const DUCKDB: &str = "DuckDB";
const JOIN: &str = "as-of join 1 M × 10 M, averaged";
const LATEST: &str = "averages of 10 M × 10, latest";
const HISTORY: &str = "averages of 10 M × 10, history";
const POINT: &str = "prepared point query, ADBC";
const SELECT: &str = "SELECT 1, ADBC";
const SMALL: &str = "small queries of 200 connections";
const ALONE: &str = "lookups alone";
const BESIDE: &str = "lookups beside 200 connections";
const CANCEL: &str = "a cross join that is cancelled: told";
const CONNECTIONS: usize = 200;
const CALLS_PER_SECOND: f64 = 500.0;

type Client = FlightSqlServiceClient<Channel>;

/// Measures, and says the targets of SQL.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(100_000, 100);
    let entities = harness.sized(10_000_000, BATCH_ROWS);
    let history = Source::new(20).history(harness.sized(10_000_000, BATCH_ROWS), users, FEATURES);
    let spine = Source::new(21).spine(harness.sized(1_000_000, 1000), users);
    let (served, copied) = (harness.directory()?, harness.directory()?);
    let loading = Firn::start_loading(harness, served.path())?;
    harness.runtime.block_on(load_all(&loading, &history, &spine, entities))?;
    loading.settle()?;
    loading.stop()?;
    copy_directory(served.path(), copied.path())?;
    let engine = Engine::open(&harness.settings, copied.path())?;
    let server = Firn::start(harness, served.path())?;
    join(harness, &server, &engine, &history, &spine)?;
    engine.close()?;
    averages(harness, &server, HISTORY, "history('t')", history.clone())?;
    drop(history);
    averages(harness, &server, LATEST, "l", Source::new(25).one_row_each(entities, FEATURES).collect())?;
    point(harness, &server, users)?;
    beside(harness, &server, users)?;
    cancelled(harness, &server)?;
    server.stop()
}

async fn load_all(firn: &Firn, history: &[RecordBatch], spine: &RecordBatch, entities: usize) -> Result<()> {
    let client = firn.client().await?;
    firn::declare_entity(&client, "user", &["user"]).await?;
    firn::declare_table(&client, "t", "user", "f", FEATURES).await?;
    firn::write(&client, "t", history.iter().cloned()).await?;
    firn::declare_table(&client, "l", "user", "f", FEATURES).await?;
    firn::write(&client, "l", Source::new(25).one_row_each(entities, FEATURES)).await?;
    let mut sql = connect(firn.url()).await?;
    let create = "CREATE TABLE spine (n BIGINT PRIMARY KEY, decided_at TIMESTAMP NOT NULL, \"user\" BIGINT) \
                  WITH (max_future_skew = 'none')";
    sql.execute_update(create.to_owned(), None).await?;
    sql.execute_update("CALL seal_table('t')".to_owned(), None).await?;
    let mut first = 0;
    let batches = cut(spine, BATCH_ROWS).into_iter().map(|batch| {
        let numbers: Vec<i64> = (first..).take(batch.num_rows()).collect();
        first += batch.num_rows() as i64;
        let column = |name: &str| batch.column_by_name(name).map(Arc::clone).ok_or(format!("no column {name}"));
        let numbers = assemble(&[("n", numbers)], ("at", vec![0; batch.num_rows()]), Vec::new());
        let columns =
            [("n", Arc::clone(numbers.column(0))), ("decided_at", column("decided_at")?), ("user", column("user")?)];
        RecordBatch::try_from_iter(columns).map_err(|error| error.to_string())
    });
    let batches = batches.collect::<std::result::Result<Vec<_>, String>>()?;
    firn::write(&client, "spine", batches).await?;
    Ok(())
}

async fn connect(url: &str) -> Result<Client> {
    let channel = Endpoint::from_shared(url.replace("grpc://", "http://"))?.connect().await?;
    Ok(FlightSqlServiceClient::new(channel))
}

/// The answer of a statement.
async fn query(client: &mut Client, statement: &str) -> Result<Vec<RecordBatch>> {
    let info = client.execute(statement.to_owned(), None).await?;
    let mut batches = Vec::new();
    for endpoint in info.endpoint {
        let ticket = endpoint.ticket.ok_or("an endpoint without a ticket")?;
        batches.extend(client.do_get(ticket).await?.try_collect::<Vec<_>>().await?);
    }
    Ok(batches)
}

/// `avg(f0), avg(f1), …`
fn averaged(prefix: &str) -> String {
    (0..FEATURES).map(|feature| format!("avg({prefix}f{feature})")).collect::<Vec<_>>().join(", ")
}

/// Checks that all systems find the same averages.
fn same(batches: &[RecordBatch], expected: &Cell<Option<f64>>) -> Result<()> {
    let batch = batches.iter().find(|batch| batch.num_rows() == 1).ok_or("there is no row of averages")?;
    let column = batch.column(0).as_primitive::<Float64Type>();
    compare(if column.is_null(0) { f64::NAN } else { column.value(0) }, expected)
}

fn compare(found: f64, expected: &Cell<Option<f64>>) -> Result<()> {
    let first = expected.get().unwrap_or(found);
    expected.set(Some(first));
    match (found - first).abs() <= 1e-5 * first.abs() {
        true => Ok(()),
        false => Err(format!("the average is {found}, that of the first system {first}").into()),
    }
}

fn join(
    harness: &mut Harness,
    server: &Firn,
    engine: &Engine,
    history: &[RecordBatch],
    spine: &RecordBatch,
) -> Result<()> {
    let expected = Cell::new(None);
    let runtime = harness.runtime.handle().clone();
    let mut client = runtime.block_on(connect(server.url()))?;
    let statement = format!(
        "SELECT {} FROM spine s ASOF JOIN t h MATCH_CONDITION (s.decided_at >= h.at) ON s.\"user\" = h.\"user\"",
        averaged("h.")
    );
    let sql = System::new(FIRN, || {
        let started = Instant::now();
        let answer = runtime.block_on(query(&mut client, &statement))?;
        let seconds = started.elapsed().as_secs_f64();
        same(&answer, &expected)?;
        Ok(vec![Reading::new(JOIN, "s", seconds)])
    });
    let limit = System::new(ENGINE, || {
        let (_, time) = engine.read(&engine::as_of("t"), std::slice::from_ref(spine))?;
        Ok(vec![Reading::new(JOIN, "s", time.as_secs_f64())])
    });
    let mut systems = vec![sql, limit];
    let files = harness.directory()?;
    if harness.settings.peers {
        super::join::write_parquet(&files.path().join("history.parquet"), history)?;
        super::join::write_parquet(&files.path().join("spine.parquet"), std::slice::from_ref(spine))?;
        let mut script = Script::start(harness, "python", "joins.py", &["DuckDB", &files.path().to_string_lossy()])?;
        let expected = &expected;
        systems.push(System::new(DUCKDB, move || {
            let answer = script.work("averages")?;
            compare(answer["sum"].as_f64().ok_or("no average")?, expected)?;
            let seconds = answer["seconds"].as_f64().ok_or("no time")?;
            Ok(vec![Reading::new(JOIN, "s", seconds)])
        }));
    }
    harness.alternate(systems)?;
    let ours = harness.value(FIRN, JOIN);
    let ratio = |of: Option<f64>, by: Option<f64>| Some(of? / by?);
    let by_engine = ratio(ours, harness.value(ENGINE, JOIN));
    harness.target("as-of join in SQL : the engine's join", by_engine, Bound::AtMost(1.5));
    if harness.settings.peers {
        let by_duckdb = ratio(harness.value(DUCKDB, JOIN), ours);
        harness.target("DuckDB : as-of join in SQL", by_duckdb, Bound::AtLeast(5.0));
    }
    Ok(())
}

/// Averages of all features of `table`, whose rows are `rows`.
fn averages(harness: &mut Harness, server: &Firn, metric: &str, table: &str, rows: Vec<RecordBatch>) -> Result<()> {
    let expected = Cell::new(None);
    let runtime = harness.runtime.handle().clone();
    let mut client = runtime.block_on(connect(server.url()))?;
    let context = SessionContext::new();
    let parts = std::thread::available_parallelism()?.get();
    let schema = rows.first().ok_or("there are no rows")?.schema();
    let each = rows.len().div_ceil(parts);
    let parts = rows.chunks(each).map(<[RecordBatch]>::to_vec).collect();
    context.register_table("rows", Arc::new(MemTable::try_new(schema, parts)?))?;
    let statement = format!("SELECT {} FROM {table}", averaged(""));
    let in_memory = format!("SELECT {} FROM rows", averaged(""));
    let sql = System::new(FIRN, || {
        let started = Instant::now();
        let answer = runtime.block_on(query(&mut client, &statement))?;
        let seconds = started.elapsed().as_secs_f64();
        same(&answer, &expected)?;
        Ok(vec![Reading::new(metric, "s", seconds)])
    });
    let limit = System::new(MEMORY, || {
        let started = Instant::now();
        let answer = runtime.block_on(async { context.sql(&in_memory).await?.collect().await })?;
        let seconds = started.elapsed().as_secs_f64();
        same(&answer, &expected)?;
        Ok(vec![Reading::new(metric, "s", seconds)])
    });
    harness.alternate(vec![sql, limit])?;
    let ratio = harness.value(FIRN, metric).zip(harness.value(MEMORY, metric)).map(|(ours, limit)| ours / limit);
    harness.target(&format!("{metric}: SQL : DataFusion in memory"), ratio, Bound::AtMost(1.5));
    Ok(())
}

fn point(harness: &mut Harness, server: &Firn, users: usize) -> Result<()> {
    if !harness.settings.peers {
        return Ok(());
    }
    let mut script = Script::start(harness, "python", "sql.py", &[server.url(), &users.to_string()])?;
    let system = System::new(FIRN, || {
        let mut millis = |work: &str| -> Result<f64> {
            let answer = script.work(work)?;
            answer["p50"].as_f64().ok_or_else(|| format!("no p50 in {answer}").into())
        };
        Ok(vec![Reading::new(SELECT, "ms", millis("select")?), Reading::new(POINT, "ms", millis("point")?)])
    });
    harness.alternate(vec![system])?;
    let ratio = harness.value(FIRN, POINT).zip(harness.value(FIRN, SELECT)).map(|(point, one)| point / one);
    harness.target("prepared point query : SELECT 1, ADBC", ratio, Bound::AtMost(2.0));
    Ok(())
}

/// Native lookups alone, and beside connections that send small queries all the time.
fn beside(harness: &mut Harness, server: &Firn, users: usize) -> Result<()> {
    let runtime = harness.runtime.handle().clone();
    let native = runtime.block_on(server.client())?;
    let requests = Source::new(4).requests(2000, 1, users);
    let seconds = 4.0 / harness.settings.shrink.min(20) as f64;
    let small = Duration::from_secs_f64(seconds);
    let lookup = firn::lookup(&["t"]);
    // Their clients would be on other machines: here they give way to the one that is measured.
    let others = Builder::new_multi_thread().enable_all().on_thread_start(|| give_way(19)).build()?;
    let lookups = || load::open(&native, &lookup, &requests, CALLS_PER_SECOND, seconds);
    let system = System::new(FIRN, || {
        let alone = latencies(ALONE, &runtime.block_on(lookups())?.waits).to_vec();
        let queries = others.spawn(small_queries(server.url().to_owned(), users, small));
        let (load, waits) = runtime.block_on(async { tokio::join!(lookups(), queries) });
        let waits = waits??;
        let rate = Reading::new(format!("{SMALL}, rate"), "queries/s", waits.len() as f64 / seconds);
        let p99 = percentile(waits, 0.99) * 1e3;
        let beside = latencies(BESIDE, &load?.waits).to_vec();
        Ok([alone, beside, vec![rate, Reading::new(format!("{SMALL}, p99"), "ms", p99)]].concat())
    });
    harness.alternate(vec![system])?;
    let p99 = |metric: &str| harness.value(FIRN, &format!("{metric}, p99"));
    let ratio = p99(BESIDE).zip(p99(ALONE)).map(|(beside, alone)| beside / alone);
    harness.target("lookups beside 200 connections : alone, p99", ratio, Bound::AtMost(2.0));
    Ok(())
}

/// The seconds of each query of all connections, which query for `long`; a query that fails is an error.
async fn small_queries(url: String, users: usize, long: Duration) -> Result<Vec<f64>> {
    let connections = futures::stream::iter(0..CONNECTIONS).map(|number| one_connection(&url, number, users, long));
    let waits: Vec<Vec<f64>> = connections.buffer_unordered(CONNECTIONS).try_collect().await?;
    Ok(waits.concat())
}

/// The seconds of each query of one connection.
async fn one_connection(url: &str, number: usize, users: usize, long: Duration) -> Result<Vec<f64>> {
    let mut client = connect(url).await?;
    let (started, mut waits) = (Instant::now(), Vec::new());
    let mut user = number;
    while started.elapsed() < long {
        user = (user + 7919) % users;
        let began = Instant::now();
        let answer = query(&mut client, &format!("SELECT f0, f1 FROM t WHERE \"user\" = {user}")).await?;
        if answer.iter().map(RecordBatch::num_rows).sum::<usize>() > 1 {
            return Err("a user has several rows".into());
        }
        waits.push(began.elapsed().as_secs_f64());
    }
    Ok(waits)
}

/// How soon a query is told that it was cancelled, from another connection.
fn cancelled(harness: &mut Harness, server: &Firn) -> Result<()> {
    let runtime = harness.runtime.handle().clone();
    let system = System::new(FIRN, || {
        let told = runtime.block_on(async {
            let (mut runs, other) = (connect(server.url()).await?, connect(server.url()).await?);
            let statement = "SELECT count(*) FROM t a CROSS JOIN t b WHERE a.f0 + b.f0 < 0".to_owned();
            let info = runs.execute(statement, None).await?;
            let ticket = info.endpoint.first().and_then(|endpoint| endpoint.ticket.clone()).ok_or("no ticket")?;
            let mut stream = runs.do_get(ticket).await?;
            let cancelling = async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let started = Instant::now();
                let request = arrow_flight::CancelFlightInfoRequest { info: Some(info) };
                let mut client = arrow_flight::FlightClient::new_from_inner(other.into_inner());
                client.cancel_flight_info(request).await?;
                Result::<Instant>::Ok(started)
            };
            let ending = async {
                while let Some(batch) = stream.next().await {
                    if batch.is_err() {
                        break;
                    }
                }
                Instant::now()
            };
            let (started, ended) = tokio::join!(cancelling, ending);
            Result::<f64>::Ok(ended.duration_since(started?).as_secs_f64() * 1e3)
        })?;
        Ok(vec![Reading::new(CANCEL, "ms", told)])
    });
    harness.alternate(vec![system])?;
    let measured = harness.value(FIRN, CANCEL);
    harness.target(&format!("{CANCEL}, ms"), measured, Bound::AtMost(100.0));
    Ok(())
}
