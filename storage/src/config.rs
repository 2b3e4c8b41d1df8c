//! Every setting of the engine, its unit, its default and its bound; checked once, when the database is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::io::Files;
use crate::objects::Objects;
use crate::objects::counted::Counted;
use crate::time::Clock;
use crate::traffic::Traffic;

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; created if it does not exist.
    pub directory: PathBuf,
    /// The door to files; `None` is the real directory. Tests give a simulated disk.
    pub files: Option<Arc<dyn Files>>,
    /// The door to the clock; `None` is the system's.
    pub clock: Option<Arc<dyn Clock>>,
    /// Whether segments are memory-mapped (else they are read to the heap).
    pub map: bool,
    /// Bytes that memtables of all tables may hold together before writes wait.
    pub memory_bytes_max: u64,
    /// Bytes of one table's memtable at which it is flushed.
    pub flush_bytes_max: u64,
    /// Age of the oldest row in a memtable at which it is flushed, so that a slow table cannot pin the WAL.
    pub wal_age_max: Duration,
    /// Bytes of one WAL file after which the next is begun.
    pub wal_bytes_max: u64,
    /// How far the wall clock may jump against the monotonic clock between two commits.
    pub clock_skew_max: Duration,
    /// How long a write waits for memory before it is refused.
    pub stall_wait_max: Duration,
    /// Bytes of writes that may be on their way through the log; a batch that takes more is refused.
    pub queue_bytes_max: u64,
    /// Memory maps that may be open at once.
    pub maps_max: u64,
    /// Rows of one segment.
    pub segment_rows_max: u32,
    /// Bytes of one column of a segment.
    pub segment_bytes_max: u64,
    /// Groups of segments (what one flush or merge wrote) of one bucket of one table at which writes wait for
    /// compaction.
    pub segment_groups_max: usize,
    /// Age at which a read's pinned snapshot is refused further answers.
    pub snapshot_age_max: Duration,
    /// Bytes per second that compaction may write; 0 is unlimited.
    pub compaction_bytes_per_second: u64,
    /// Bytes per second that the scrub reads; 0 turns it off.
    pub scrub_bytes_per_second: u64,
    /// Bytes that requests, answers and scans may hold at once.
    pub request_bytes_max: u64,
    /// How long one of them waits for its share of `request_bytes_max`.
    pub request_wait_max: Duration,
    /// Bytes of answers' memory that are kept for the next answers instead of being given back to the system.
    pub spare_slabs_bytes_max: u64,
    /// Threads that join and scan use.
    pub reader_threads: usize,
    /// Producers that one table remembers.
    pub producers_max: usize,
    /// The bucket that the database is at home in; `None` is the local disk alone.
    pub home: Option<HomeOptions>,
    /// The bucket of a database that another process writes, and that this one follows; `None` is a database of its own.
    pub follow: Option<FollowOptions>,
    /// Whether flush and compaction run by themselves. Tests turn it off and call them.
    pub background: bool,
}

/// The bucket of a database that is followed, opened, and how it is.
#[derive(Debug, Clone)]
pub struct FollowOptions {
    /// The bucket. Nothing is ever written there.
    pub objects: Arc<dyn Objects>,
    /// How often it is asked for what is newer.
    pub interval: Duration,
    /// How ice is read.
    pub ice: IcePolicy,
    /// The checkpoint to stay at; none follows the writer.
    pub checkpoint: Option<String>,
}

/// What a write must have survived before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// The end of the process: it is on the local disk.
    #[default]
    Local,
    /// The loss of the disk: it is in the bucket.
    Object,
}

/// The bucket of a database, opened, and how it keeps to it.
#[derive(Debug, Clone)]
pub struct HomeOptions {
    /// The bucket.
    pub objects: Arc<dyn Objects>,
    /// Host and process, for people.
    pub writer: String,
    /// How the database keeps to it.
    pub policy: HomePolicy,
}

/// How a database keeps to its bucket.
#[derive(Debug, Clone, Default)]
pub struct HomePolicy {
    /// What writes are acknowledged for.
    pub acknowledge: Level,
    /// How long a commit may wait to go up when nobody waits for it.
    pub upload_interval: Duration,
    /// So many bytes of the log that are not in the bucket yet make writes wait.
    pub backlog_bytes_max: u64,
    /// A root is published after so many bytes of the log.
    pub publish_bytes: u64,
    /// And after so long, if anything was written.
    pub publish_interval: Duration,
    /// How long an object stays that no root names any more.
    pub garbage_age: Duration,
    /// How many checkpoints there may be.
    pub checkpoints_max: usize,
    /// Whether a local disk that another writer has overtaken is given up for what the bucket has.
    pub discard_local: bool,
    /// What of it is ice.
    pub ice: IcePolicy,
}

/// What of a database is in the bucket only, and how it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcePolicy {
    /// Segments from so many bytes on are frozen once nothing merges them any more.
    pub freeze_bytes_min: u64,
    /// Bytes of frozen segments that stay on the local disk; the oldest leave it first.
    pub hot_bytes_max: u64,
    /// Bytes of cells that came back and are kept in memory.
    pub cache_bytes_max: u64,
    /// Bytes of segments that came back to the local disk because they are often read.
    pub thawed_bytes_max: u64,
    /// Requests for cells in flight, of all reads together.
    pub requests_max: usize,
    /// Two pieces of an object that are no farther apart are fetched with one request.
    pub gap_bytes: u64,
    /// Bytes of one request, at most.
    pub request_bytes_max: u64,
}

impl Default for IcePolicy {
    fn default() -> Self {
        Self {
            freeze_bytes_min: 256 * MIB,
            hot_bytes_max: u64::MAX,
            cache_bytes_max: 1024 * MIB,
            thawed_bytes_max: 4096 * MIB,
            requests_max: 64,
            gap_bytes: 64 << 10,
            request_bytes_max: 8 * MIB,
        }
    }
}

const MIB: u64 = 1 << 20;

/// Some small batches: what a batch keeps beside its rows is counted generously.
pub const QUEUE_BYTES_MIN: u64 = 64 << 10;

/// The least rate of background work: one block of a file in a second. A lower one would never get through.
pub const BYTES_PER_SECOND_MIN: u64 = 64 << 10;

impl Options {
    /// The same, with every request to the bucket counted in `traffic`.
    pub(crate) fn counted(mut self, traffic: &Arc<Traffic>) -> Self {
        let home = self.home.iter_mut().map(|home| &mut home.objects);
        for objects in home.chain(self.follow.iter_mut().map(|follow| &mut follow.objects)) {
            *objects = Arc::new(Counted::new(Arc::clone(objects), Arc::clone(traffic)));
        }
        self
    }

    /// The defaults for the data directory `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            files: None,
            clock: None,
            map: true,
            memory_bytes_max: 1024 * MIB,
            flush_bytes_max: 128 * MIB,
            wal_age_max: Duration::from_secs(600),
            wal_bytes_max: 256 * MIB,
            clock_skew_max: Duration::from_secs(5),
            stall_wait_max: Duration::from_secs(30),
            queue_bytes_max: 128 * MIB,
            maps_max: 32_768,
            segment_rows_max: 1 << 28,
            segment_bytes_max: 1 << 31,
            segment_groups_max: 64,
            snapshot_age_max: Duration::from_secs(3600),
            compaction_bytes_per_second: 0,
            scrub_bytes_per_second: 8 * MIB,
            request_bytes_max: 1024 * MIB,
            request_wait_max: Duration::from_secs(30),
            spare_slabs_bytes_max: 256 * MIB,
            reader_threads: std::thread::available_parallelism().map_or(2, usize::from),
            producers_max: 10_000,
            home: None,
            follow: None,
            background: true,
        }
    }

    /// Refuses settings outside their bounds.
    pub fn check(&self) -> Result<()> {
        if self.home.is_some() && self.follow.is_some() {
            return Err(Error::invalid("a database is either at home in a bucket or follows who is, not both"));
        }
        let bounded = [
            ("flush_bytes_max", self.flush_bytes_max, 1, self.memory_bytes_max),
            ("wal_bytes_max", self.wal_bytes_max, 4096, 1 << 40),
            ("queue_bytes_max", self.queue_bytes_max, QUEUE_BYTES_MIN, 1 << 40),
            ("maps_max", self.maps_max, 16, 1 << 24),
            ("segment_rows_max", u64::from(self.segment_rows_max), 1, 1 << 31),
            ("segment_bytes_max", self.segment_bytes_max, 1, 1 << 31),
            ("segment_groups_max", self.segment_groups_max as u64, 8, 1 << 16),
            ("request_bytes_max", self.request_bytes_max, 1 << 20, 1 << 50),
            ("spare_slabs_bytes_max", self.spare_slabs_bytes_max, 0, 1 << 40),
            ("reader_threads", self.reader_threads as u64, 1, 1024),
            ("producers_max", self.producers_max as u64, 1, 1 << 24),
        ];
        for (name, value, least, most) in bounded {
            if value < least || value > most {
                return Err(Error::invalid(format!("setting {name} is {value}; it must be from {least} to {most}")));
            }
        }
        let rates = [
            ("scrub_bytes_per_second", self.scrub_bytes_per_second, "no scrub"),
            ("compaction_bytes_per_second", self.compaction_bytes_per_second, "no limit"),
        ];
        for (name, rate, none) in rates {
            if rate != 0 && rate < BYTES_PER_SECOND_MIN {
                return Err(Error::invalid(format!(
                    "setting {name} is {rate}; it must be at least {BYTES_PER_SECOND_MIN}, or 0 for {none}"
                )));
            }
        }
        Ok(())
    }
}
