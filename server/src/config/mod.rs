//! The server's configuration: built-in defaults, then a TOML file, then `FIRN_*` variables, then flags.
//!
//! Every setting is one row of [`SETTINGS`]: its name (flag `--name`, variable `FIRN_NAME`, key `name` of the file),
//! its default, its unit and its meaning. Every limit is finite. Nothing else in the server reads the environment.

pub mod bucket;
mod parse;
mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bucket::BucketConfig;
use firn_storage::config::Options;

pub use parse::{parse_bytes, parse_duration};
pub use settings::SETTINGS;

/// One setting: its names, its documentation, and how its text becomes configuration.
pub struct Setting {
    /// As in `--flush-bytes-max`.
    pub name: &'static str,
    /// What kind of value it takes, for the help.
    pub value: &'static str,
    /// The default, as text.
    pub default: &'static str,
    /// The group under which the help shows it.
    pub heading: &'static str,
    /// What it means.
    pub help: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
}

impl Setting {
    /// The environment variable: `FIRN_FLUSH_BYTES_MAX`.
    pub fn variable(&self) -> String {
        format!("FIRN_{}", self.name.replace('-', "_").to_uppercase())
    }

    /// The key in the file: `flush_bytes_max`.
    pub fn key(&self) -> String {
        self.name.replace('-', "_")
    }
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--{} <{}> [default: {}]", self.name, self.value, self.default)
    }
}

/// Everything that a server needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// How the database is opened.
    pub storage: Options,
    /// The bucket that it is at home in.
    pub bucket: BucketConfig,
    /// Where Flight is served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where metrics and health are served over HTTP; none turns them off.
    pub metrics: Option<SocketAddr>,
    /// Whether it may listen beyond loopback although it neither encrypts nor authenticates.
    pub insecure: bool,
    /// Limits of requests and connections.
    pub limits: Limits,
    /// Limits of SQL.
    pub sql: firn_flight_sql::limits::Limits,
    /// How logs are written.
    pub log: Log,
}

/// What one client, or all of them together, may ask of the server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections.
    pub connections_max: usize,
    /// Streams open at once on one connection.
    pub streams_per_connection_max: u32,
    /// Streams that a client may have reset before the server took note of them, on one connection.
    pub stream_resets_max: usize,
    /// Streams that the server may have to reset because of what their client did, on one connection.
    pub stream_errors_max: usize,
    /// Bytes of the headers of one call.
    pub header_bytes_max: u32,
    /// Age at which a connection takes no new calls.
    pub connection_age_max: Duration,
    /// Requests (calls and streams) served at once.
    pub requests_max: usize,
    /// Bytes of one message from a client.
    pub message_bytes_max: usize,
    /// Bytes that one message may become when it is decoded.
    pub decoded_bytes_max: u64,
    /// Rows of one message.
    pub message_rows_max: u64,
    /// Columns of one message, nested ones counted.
    pub columns_max: usize,
    /// How deep columns may nest.
    pub depth_max: usize,
    /// Bytes of one JSON command.
    pub command_bytes_max: usize,
    /// Bytes of one message of an answer, unless the command asks for less or more.
    pub answer_message_bytes: usize,
    /// Bytes of one message of an answer that a command may ask for.
    pub answer_message_bytes_max: usize,
    /// Bytes of an answer that are computed in one go.
    pub answer_chunk_bytes: u64,
    /// Requests of one stream that are worked on at once.
    pub stream_requests_max: usize,
    /// Batches of one write stream that await their commit.
    pub stream_batches_max: usize,
    /// Bytes of those together; a larger batch waits until it is alone.
    pub stream_batch_bytes_max: u64,
    /// How long a client may take nothing of an answer before it is given up.
    pub answer_stall_max: Duration,
    /// Rows up to which a lookup runs on the connection's own task.
    pub inline_rows_max: usize,
    /// Threads that connections are served on.
    pub serving_threads: usize,
    /// Larger requests that are worked on at once.
    pub readers: usize,
    /// Requests that may wait for a position (`at_least`) at once.
    pub waiters_max: usize,
    /// The longest `wait`.
    pub wait_max: Duration,
    /// Partitions that GetFlightInfo divides a scan into.
    pub scan_parts: usize,
    /// How often an idle connection is pinged.
    pub keepalive_interval: Duration,
    /// How long a ping, or the greeting of a new connection, may take.
    pub keepalive_timeout: Duration,
    /// How long accepted requests may take to finish at shutdown.
    pub shutdown_wait_max: Duration,
}

/// How logs are written.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// A filter such as `info` or `firn_server=debug,warn`.
    pub filter: String,
    /// One JSON object per line instead of text.
    pub json: bool,
}

impl Config {
    /// The defaults over the data directory `data`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let mut config = Self::blank(data.into());
        for setting in SETTINGS.iter().filter(|setting| setting.name != "data") {
            (setting.set)(&mut config, setting.default).expect("the defaults are checked by a test");
        }
        config
    }

    /// The defaults, then the TOML `file`, then `given` (name and text of every variable and flag).
    pub fn resolve(file: Option<&Path>, given: &[(&str, String)]) -> Result<Self, String> {
        let mut config = Self::new(default_of("data"));
        if let Some(file) = file {
            config.apply_file(file)?;
        }
        for (name, text) in given {
            let setting = SETTINGS.iter().find(|setting| setting.name == *name).expect("flags are made from the table");
            let place = format!("--{name} ({})", setting.variable());
            (setting.set)(&mut config, text).map_err(|error| format!("{place}: {error}"))?;
        }
        config.check()?;
        Ok(config)
    }

    fn apply_file(&mut self, file: &Path) -> Result<(), String> {
        let place = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("could not read {place}: {error}"))?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| format!("{place}: {error}"))?;
        for (key, value) in table {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key() == key) else {
                return Err(format!("{place}: unknown setting `{key}`; `firn serve --help` lists them all"));
            };
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                other => return Err(format!("{place}: `{key}`: expected a string, number or flag, found {other}")),
            };
            (setting.set)(self, &text).map_err(|error| format!("{place}: `{key}`: {error}"))?;
        }
        Ok(())
    }

    /// Refuses combinations that cannot be served.
    pub fn check(&self) -> Result<(), String> {
        let beyond = [Some(self.listen), self.metrics].into_iter().flatten().find(|at| !at.ip().is_loopback());
        if let (Some(address), false) = (beyond, self.insecure) {
            return Err(format!(
                "{address} is reachable from other machines, and this build neither encrypts nor authenticates; \
                 listen on 127.0.0.1 behind a proxy that does, or say --insecure"
            ));
        }
        self.bucket.check()?;
        let limits = &self.limits;
        if limits.answer_message_bytes > limits.answer_message_bytes_max {
            return Err("answer-message-bytes is above answer-message-bytes-max".to_owned());
        }
        if limits.answer_stall_max.is_zero() {
            return Err("answer-stall-max is 0: every answer would be given up".to_owned());
        }
        let message = limits.message_bytes_max as u64;
        let contradictions = [
            ("message-bytes-max", message, "request-bytes-max", self.storage.request_bytes_max),
            ("message-bytes-max", message, "decoded-bytes-max", limits.decoded_bytes_max),
            ("answer-chunk-bytes", limits.answer_chunk_bytes, "request-bytes-max", self.storage.request_bytes_max),
            ("stream-batch-bytes-max", limits.stream_batch_bytes_max, "queue-bytes-max", self.storage.queue_bytes_max),
            ("flush-bytes-max", self.storage.flush_bytes_max, "memory-bytes-max", self.storage.memory_bytes_max),
        ];
        for (part, part_bytes, whole, whole_bytes) in contradictions {
            if part_bytes > whole_bytes {
                return Err(format!(
                    "{part} ({part_bytes} bytes) is above {whole} ({whole_bytes} bytes), of which it is a part: lower {part}, \
                     or raise {whole}"
                ));
            }
        }
        Ok(())
    }

    fn blank(data: PathBuf) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            storage: Options::new(data),
            bucket: BucketConfig::default(),
            listen: nowhere,
            metrics: None,
            insecure: false,
            limits: Limits::blank(),
            sql: firn_flight_sql::limits::Limits::default(),
            log: Log::default(),
        }
    }
}

impl Limits {
    /// All zero: every field is then set from its row of [`SETTINGS`].
    fn blank() -> Self {
        Self {
            connections_max: 0,
            streams_per_connection_max: 0,
            stream_resets_max: 0,
            stream_errors_max: 0,
            header_bytes_max: 0,
            connection_age_max: Duration::ZERO,
            requests_max: 0,
            message_bytes_max: 0,
            decoded_bytes_max: 0,
            message_rows_max: 0,
            columns_max: 0,
            depth_max: 0,
            command_bytes_max: 0,
            answer_message_bytes: 0,
            answer_message_bytes_max: 0,
            answer_chunk_bytes: 0,
            stream_requests_max: 0,
            stream_batches_max: 0,
            stream_batch_bytes_max: 0,
            answer_stall_max: Duration::ZERO,
            inline_rows_max: 0,
            serving_threads: 0,
            readers: 0,
            waiters_max: 0,
            wait_max: Duration::ZERO,
            scan_parts: 0,
            keepalive_interval: Duration::ZERO,
            keepalive_timeout: Duration::ZERO,
            shutdown_wait_max: Duration::ZERO,
        }
    }
}

fn default_of(name: &str) -> &'static str {
    SETTINGS.iter().find(|setting| setting.name == name).expect("the setting is in the table").default
}

#[cfg(test)]
mod tests;
