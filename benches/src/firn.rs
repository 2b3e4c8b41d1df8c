//! The server under test: the program `firn` in a process of its own, over loopback.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use firn_client::wire::{FeatureReference, Join, Lookup, Put};
use firn_client::{Client, EntityDeclaration, FeatureDeclaration, Options, Retry, TableDeclaration};

use crate::harness::{Harness, Result, program};
use crate::machine;
use crate::process::{Process, free_port};

/// How long background work may take to be done.
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(300);

/// A running `firn serve`.
#[derive(Debug)]
pub(crate) struct Firn {
    process: Process,
    url: String,
    metrics: SocketAddr,
    quiet: Duration,
}

impl Firn {
    /// Serves `data` with default settings.
    pub(crate) fn start(harness: &Harness, data: &Path) -> Result<Self> {
        Self::start_with(harness, data, &[])
    }

    /// Serves `data`, which is flushed soon after it was written.
    pub(crate) fn start_loading(harness: &Harness, data: &Path) -> Result<Self> {
        let age = format!("{}ms", harness.settings.flush_age().as_millis());
        Self::start_with(harness, data, &["--wal-age-max", &age])
    }

    fn start_with(harness: &Harness, data: &Path, settings: &[&str]) -> Result<Self> {
        let (port, metrics) = (free_port()?, free_port()?);
        let mut command = Command::new(program("firn")?);
        command.arg("serve").arg("--data").arg(data).args(["--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--metrics", &format!("127.0.0.1:{metrics}")]).args(settings);
        let process = Process::start(&mut command, &harness.log("firn"))?;
        let url = format!("grpc://127.0.0.1:{port}");
        let metrics = SocketAddr::from(([127, 0, 0, 1], metrics));
        let firn = Self { process, url, metrics, quiet: harness.settings.quiet() };
        harness.runtime.block_on(async { firn.client().await?.status().await })?;
        Ok(firn)
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> firn_client::Result<Client> {
        connect(&self.url).await
    }

    /// Its number as a process.
    pub(crate) fn process(&self) -> u32 {
        self.process.number()
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Finishes and ends.
    pub(crate) fn stop(self) -> Result<()> {
        self.process.stop()
    }

    /// Everything that the server counts, by name.
    pub(crate) fn counters(&self) -> Result<BTreeMap<String, f64>> {
        let mut stream = TcpStream::connect(self.metrics)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        let named = lines.map(|(name, value)| (name.trim_start_matches("firn_").trim_end_matches("_total"), value));
        Ok(named.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// Waits until flush, compaction and packs have nothing left to do by themselves.
    pub(crate) fn settle(&self) -> Result<()> {
        let state = || -> Result<Vec<f64>> {
            let counters = self.counters()?;
            let names = ["engine_flushes", "engine_compactions", "engine_packs", "engine_memtable_bytes"];
            Ok(names.iter().map(|name| counters.get(*name).copied().unwrap_or(0.0)).collect())
        };
        let started = Instant::now();
        let (mut seen, mut since) = (state()?, Instant::now());
        while since.elapsed() < self.quiet || seen.last().is_some_and(|bytes| *bytes > 0.0) {
            if started.elapsed() > SETTLE_WAIT_MAX {
                return Err(format!("background work was not done after {SETTLE_WAIT_MAX:?}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
            let now = state()?;
            if now != seen || !machine::background_rests(self.process())? {
                (seen, since) = (now, Instant::now());
            }
        }
        Ok(())
    }
}

/// A connection to `url`, tried until a server that has just been started is there.
pub(crate) async fn connect(url: &str) -> firn_client::Result<Client> {
    let mut options = Options::new(url);
    options.retry = Retry { attempts: 3000, first_wait: Duration::from_millis(5), wait_max: Duration::from_millis(20) };
    Client::connect_with(&options).await
}

/// Declares an entity with int64 `keys`.
pub(crate) async fn declare_entity(client: &Client, entity: &str, keys: &[&str]) -> Result<()> {
    let declaration = EntityDeclaration::new(entity).buckets(8).bucket_by(&keys[..1]);
    let declaration = keys.iter().fold(declaration, |declaration, key| declaration.key(key, "int64"));
    client.create_entity(&declaration).await?;
    Ok(())
}

/// Declares a table of float64 features `{prefix}0`, `{prefix}1`, … with the event time `at`.
pub(crate) async fn declare_table(
    client: &Client,
    table: &str,
    entity: &str,
    prefix: &str,
    features: usize,
) -> Result<()> {
    let declaration = TableDeclaration::new(table, entity, "at").max_future_skew("none");
    let features = (0..features).map(|number| FeatureDeclaration::new(&format!("{prefix}{number}"), "float64"));
    client.create_table(&features.fold(declaration, TableDeclaration::feature)).await?;
    Ok(())
}

/// Writes `batches` over one stream and waits until all of them are durable and readable.
pub(crate) async fn write(
    client: &Client,
    table: &str,
    batches: impl IntoIterator<Item = RecordBatch>,
) -> Result<firn_client::Written> {
    let mut batches = batches.into_iter();
    let Some(first) = batches.next() else { return Err("there is nothing to write".into()) };
    let mut writer = client.writer(Put::write(table), first.schema());
    let mut sent = writer.send(&first).await;
    for batch in batches {
        if sent.is_err() {
            break;
        }
        sent = writer.send(&batch).await;
    }
    let (written, end) = writer.finish().await;
    end?;
    sent?;
    Ok(written)
}

/// All features of `tables` at latest.
pub(crate) fn lookup(tables: &[&str]) -> Lookup {
    Lookup { features: all_features(tables), ..Lookup::default() }
}

/// All features of `tables`, each row as of its `decided_at`.
pub(crate) fn join(tables: &[&str]) -> Join {
    let as_of = firn_client::wire::Bound::Column { column: "decided_at".to_owned(), exclusive: false };
    Join { features: all_features(tables), as_of, ..Join::default() }
}

fn all_features(tables: &[&str]) -> Vec<FeatureReference> {
    tables.iter().map(|table| FeatureReference::new(*table, "*")).collect()
}
