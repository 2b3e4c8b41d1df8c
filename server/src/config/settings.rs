//! The table of all settings: the one place where each has its name, default, unit, bound and meaning.

use firn_storage::config::QUEUE_BYTES_MIN;

use super::Setting;
use super::parse::{address, count, flag, parse_duration, size, threads};

const NETWORK: &str = "Data and network";
const STORAGE: &str = "Storage";
const MEMORY: &str = "Memory and durability";
const REQUESTS: &str = "Limits of requests";
const STREAMS: &str = "Limits of streams";
const CONNECTIONS: &str = "Limits of connections";
const SQL: &str = "Limits of SQL";
const LOGS: &str = "Logs";

/// The largest size that any setting takes.
const SIZE_MAX: u64 = 1 << 50;
/// The largest message: Flight clients count sizes in signed 32-bit numbers.
const MESSAGE_MAX: u64 = (1 << 31) - 1;

macro_rules! setting {
    ($heading:ident, $name:literal, $value:literal, $default:literal, $help:literal, |$config:ident, $text:ident| $set:expr) => {
        Setting {
            name: $name,
            value: $value,
            default: $default,
            heading: $heading,
            help: $help,
            set: |$config, $text| {
                $set;
                Ok(())
            },
        }
    };
}

/// Every setting, in the order of the help.
// A table is read by its rows, which rustfmt would take apart.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    setting!(NETWORK, "data", "DIR", "firn-data", "Data directory; created if it does not exist",
        |c, t| c.storage.directory = t.into()),
    setting!(NETWORK, "listen", "ADDRESS", "127.0.0.1:3476", "Where Arrow Flight is served; port 0 takes a free one",
        |c, t| c.listen = address(t)?),
    setting!(NETWORK, "metrics", "ADDRESS", "127.0.0.1:3477", "Where /metrics, /health and /ready are served; off turns them off",
        |c, t| c.metrics = if t == "off" { None } else { Some(address(t)?) }),
    setting!(NETWORK, "insecure", "BOOL", "false", "Allow addresses beyond loopback, without encryption or authentication",
        |c, t| c.insecure = flag(t)?),
    setting!(STORAGE, "no-mmap", "BOOL", "false", "Read files to the heap instead of mapping them",
        |c, t| c.storage.map = !flag(t)?),
    setting!(STORAGE, "maps-max", "COUNT", "32768", "Memory maps open at once",
        |c, t| c.storage.maps_max = count(t, 16, 1 << 24)?),
    setting!(STORAGE, "segment-rows-max", "ROWS", "268435456", "Rows of one segment",
        |c, t| c.storage.segment_rows_max = count(t, 1, 1 << 31)? as u32),
    setting!(STORAGE, "segment-bytes-max", "SIZE", "2GiB", "Bytes of one column of a segment",
        |c, t| c.storage.segment_bytes_max = size(t, 1, 1 << 31)?),
    setting!(STORAGE, "segment-groups-max", "COUNT", "64",
        "Flushes and merges that segments of one bucket of one table come from at which writes wait for compaction",
        |c, t| c.storage.segment_groups_max = count(t, 8, 1 << 16)? as usize),
    setting!(STORAGE, "compaction-bytes-per-second", "SIZE", "0", "Bytes per second that compaction may write; 0 is unlimited",
        |c, t| c.storage.compaction_bytes_per_second = size(t, 0, SIZE_MAX)?),
    setting!(STORAGE, "scrub-bytes-per-second", "SIZE", "8MiB",
        "Bytes per second at which files are read again in search of damage; 0 turns it off",
        |c, t| c.storage.scrub_bytes_per_second = size(t, 0, SIZE_MAX)?),
    setting!(STORAGE, "reader-threads", "COUNT", "0", "Threads that joins and scans use; 0 is one per core",
        |c, t| c.storage.reader_threads = threads(t)?),
    setting!(STORAGE, "producers-max", "COUNT", "10000", "Producers that one table remembers",
        |c, t| c.storage.producers_max = count(t, 1, 1 << 24)? as usize),
    setting!(STORAGE, "background", "BOOL", "true", "Flush and compact by itself; false leaves it to the actions",
        |c, t| c.storage.background = flag(t)?),
    setting!(MEMORY, "memory-bytes-max", "SIZE", "1GiB", "Memtables of all tables together; above it writes wait",
        |c, t| c.storage.memory_bytes_max = size(t, 1 << 20, SIZE_MAX)?),
    setting!(MEMORY, "flush-bytes-max", "SIZE", "128MiB", "Memtable of one table at which it is flushed",
        |c, t| c.storage.flush_bytes_max = size(t, 1, SIZE_MAX)?),
    setting!(MEMORY, "wal-age-max", "DURATION", "10m", "Age of the oldest unflushed row at which its table is flushed",
        |c, t| c.storage.wal_age_max = parse_duration(t)?),
    setting!(MEMORY, "wal-bytes-max", "SIZE", "256MiB", "Size of a WAL file after which the next is begun",
        |c, t| c.storage.wal_bytes_max = size(t, 4096, 1 << 40)?),
    setting!(MEMORY, "spare-slabs-bytes-max", "SIZE", "256MiB", "Memory of large answers that is kept for the next ones",
        |c, t| c.storage.spare_slabs_bytes_max = size(t, 0, 1 << 40)?),
    setting!(MEMORY, "queue-bytes-max", "SIZE", "128MiB", "Writes that may be on their way through the log; a larger batch is refused",
        |c, t| c.storage.queue_bytes_max = size(t, QUEUE_BYTES_MIN, 1 << 40)?),
    setting!(MEMORY, "stall-wait-max", "DURATION", "30s", "How long a write waits for memory before it is refused",
        |c, t| c.storage.stall_wait_max = parse_duration(t)?),
    setting!(MEMORY, "clock-skew-max", "DURATION", "5s",
        "How far the wall clock may jump against the monotonic clock before writes stop",
        |c, t| c.storage.clock_skew_max = parse_duration(t)?),
    setting!(MEMORY, "snapshot-age-max", "DURATION", "1h", "Age at which a read's snapshot answers no more",
        |c, t| c.storage.snapshot_age_max = parse_duration(t)?),
    setting!(REQUESTS, "message-bytes-max", "SIZE", "64MiB", "One message from a client",
        |c, t| c.limits.message_bytes_max = size(t, 1 << 16, MESSAGE_MAX)? as usize),
    setting!(REQUESTS, "decoded-bytes-max", "SIZE", "256MiB", "What one message may become when it is decompressed",
        |c, t| c.limits.decoded_bytes_max = size(t, 1 << 16, SIZE_MAX)?),
    setting!(REQUESTS, "message-rows-max", "ROWS", "16777216", "Rows of one message",
        |c, t| c.limits.message_rows_max = count(t, 1, 1 << 31)?),
    setting!(REQUESTS, "columns-max", "COUNT", "65536", "Columns of one message, nested ones counted",
        |c, t| c.limits.columns_max = count(t, 1, 1 << 20)? as usize),
    setting!(REQUESTS, "depth-max", "COUNT", "16", "How deep columns may nest",
        |c, t| c.limits.depth_max = count(t, 1, 60)? as usize),
    setting!(REQUESTS, "command-bytes-max", "SIZE", "1MiB", "One JSON command or action body",
        |c, t| c.limits.command_bytes_max = size(t, 1 << 10, 1 << 30)? as usize),
    setting!(REQUESTS, "answer-message-bytes", "SIZE", "4MiB", "One message of an answer, unless the command says otherwise",
        |c, t| c.limits.answer_message_bytes = size(t, 1 << 10, MESSAGE_MAX)? as usize),
    setting!(REQUESTS, "answer-message-bytes-max", "SIZE", "256MiB", "The most that a command may ask for instead",
        |c, t| c.limits.answer_message_bytes_max = size(t, 1 << 10, MESSAGE_MAX)? as usize),
    setting!(REQUESTS, "answer-chunk-bytes", "SIZE", "64MiB", "Larger answers are computed in chunks of about this size",
        |c, t| c.limits.answer_chunk_bytes = size(t, 1 << 16, MESSAGE_MAX)?),
    setting!(REQUESTS, "request-bytes-max", "SIZE", "1GiB", "What requests, answers and scans hold at once, all together",
        |c, t| c.storage.request_bytes_max = size(t, 1 << 20, SIZE_MAX)?),
    setting!(REQUESTS, "request-wait-max", "DURATION", "30s", "How long a request waits for its share of that memory",
        |c, t| c.storage.request_wait_max = parse_duration(t)?),
    setting!(REQUESTS, "requests-max", "COUNT", "4096", "Calls and streams served at once",
        |c, t| c.limits.requests_max = count(t, 1, 1 << 20)? as usize),
    setting!(REQUESTS, "readers", "COUNT", "8", "Requests too large for their connection's task that run at once",
        |c, t| c.limits.readers = count(t, 1, 1024)? as usize),
    setting!(REQUESTS, "inline-rows-max", "ROWS", "1024", "Rows up to which a lookup runs on its connection's task",
        |c, t| c.limits.inline_rows_max = count(t, 0, 1 << 20)? as usize),
    setting!(REQUESTS, "waiters-max", "COUNT", "256", "Requests that wait for a position (at_least) at once",
        |c, t| c.limits.waiters_max = count(t, 1, 1 << 16)? as usize),
    setting!(REQUESTS, "wait-max", "DURATION", "60s", "The longest wait that a command may ask for",
        |c, t| c.limits.wait_max = parse_duration(t)?),
    setting!(REQUESTS, "scan-parts", "COUNT", "8", "Endpoints that GetFlightInfo divides a scan into, at most",
        |c, t| c.limits.scan_parts = count(t, 1, 4096)? as usize),
    setting!(STREAMS, "stream-requests-max", "COUNT", "8", "Requests of one stream that are worked on at once",
        |c, t| c.limits.stream_requests_max = count(t, 1, 4096)? as usize),
    setting!(STREAMS, "stream-batches-max", "COUNT", "256", "Batches of one write stream that await their commit",
        |c, t| c.limits.stream_batches_max = count(t, 1, 65536)? as usize),
    setting!(STREAMS, "stream-batch-bytes-max", "SIZE", "64MiB", "Bytes of those together; a larger batch waits until it is alone",
        |c, t| c.limits.stream_batch_bytes_max = size(t, 1, SIZE_MAX)?),
    setting!(STREAMS, "answer-stall-max", "DURATION", "2m", "How long a client may take nothing of an answer before it is given up",
        |c, t| c.limits.answer_stall_max = parse_duration(t)?),
    setting!(CONNECTIONS, "connections-max", "COUNT", "1024", "Open connections; further ones wait to be accepted",
        |c, t| c.limits.connections_max = count(t, 1, 1 << 20)? as usize),
    setting!(CONNECTIONS, "serving-threads", "COUNT", "0", "Threads that connections are served on; 0 is one per core",
        |c, t| c.limits.serving_threads = threads(t)?),
    setting!(CONNECTIONS, "streams-per-connection-max", "COUNT", "256", "Calls and streams open at once on one connection",
        |c, t| c.limits.streams_per_connection_max = count(t, 1, 1 << 20)? as u32),
    setting!(CONNECTIONS, "stream-resets-max", "COUNT", "256",
        "Calls that a client may have cancelled on one connection before the server took note of them",
        |c, t| c.limits.stream_resets_max = count(t, 1, 1 << 20)? as usize),
    setting!(CONNECTIONS, "stream-errors-max", "COUNT", "1024",
        "Calls of one connection that the server may have to reset because they break the rules of HTTP/2",
        |c, t| c.limits.stream_errors_max = count(t, 1, 1 << 20)? as usize),
    setting!(CONNECTIONS, "header-bytes-max", "SIZE", "16KiB", "Headers (metadata) of one call",
        |c, t| c.limits.header_bytes_max = size(t, 1 << 10, 1 << 24)? as u32),
    setting!(CONNECTIONS, "connection-age-max", "DURATION", "24h",
        "Age at which a connection takes no new calls; those that are open finish, and clients connect again by themselves",
        |c, t| c.limits.connection_age_max = parse_duration(t)?),
    setting!(CONNECTIONS, "keepalive-interval", "DURATION", "30s", "How often a connection is pinged",
        |c, t| c.limits.keepalive_interval = parse_duration(t)?),
    setting!(CONNECTIONS, "keepalive-timeout", "DURATION", "20s", "How long a ping, or the greeting of a new connection, may take",
        |c, t| c.limits.keepalive_timeout = parse_duration(t)?),
    setting!(CONNECTIONS, "shutdown-wait-max", "DURATION", "30s", "How long accepted requests may take to finish at shutdown",
        |c, t| c.limits.shutdown_wait_max = parse_duration(t)?),
    setting!(SQL, "sql-statement-bytes-max", "SIZE", "1MiB", "One statement",
        |c, t| c.sql.statement_bytes_max = size(t, 1 << 10, 1 << 30)? as usize),
    setting!(SQL, "sql-depth-max", "COUNT", "50", "How deep a statement may be nested",
        |c, t| c.sql.depth_max = count(t, 8, 200)? as usize),
    setting!(SQL, "sql-query-bytes-max", "SIZE", "256MiB", "Memory of one query, of request-bytes-max; what does not fit is spilled",
        |c, t| c.sql.query_bytes_max = size(t, 1 << 20, SIZE_MAX)?),
    setting!(SQL, "sql-query-time-max", "DURATION", "10m", "How long a query may take",
        |c, t| c.sql.query_time_max = parse_duration(t)?),
    setting!(SQL, "sql-result-rows-max", "ROWS", "4294967296", "Rows of one answer",
        |c, t| c.sql.result_rows_max = count(t, 1, 1 << 48)?),
    setting!(SQL, "sql-spill-directory", "DIR", "system", "Where queries put what does not fit their memory; system is that of temporary files",
        |c, t| if t != "system" { c.sql.spill_directory = t.into() }),
    setting!(SQL, "sql-spill-bytes-max", "SIZE", "8GiB", "What all queries together may put there",
        |c, t| c.sql.spill_bytes_max = size(t, 0, SIZE_MAX)?),
    setting!(SQL, "sql-queries-max", "COUNT", "64", "Queries that are not small which run at once; others wait",
        |c, t| c.sql.queries_max = count(t, 1, 1 << 16)? as usize),
    setting!(SQL, "sql-threads", "COUNT", "0", "Threads of queries that are not small; 0 is one per core",
        |c, t| c.sql.threads = threads(t)?),
    setting!(SQL, "sql-plans-max", "COUNT", "256", "Plans of statements that are kept to be run again",
        |c, t| c.sql.plans_max = count(t, 1, 1 << 16)? as usize),
    setting!(LOGS, "log", "FILTER", "info", "Which messages: error, warn, info, debug, trace, or per module",
        |c, t| c.log.filter = t.to_owned()),
    setting!(LOGS, "log-json", "BOOL", "false", "One JSON object per line instead of text",
        |c, t| c.log.json = flag(t)?),
];
