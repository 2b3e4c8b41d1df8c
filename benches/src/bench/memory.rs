//! Latest vectors where the data is four times the memory: Zipf keys over 10 M entities of 50 features, after a restart.
//!
//! Memory is taken away by a ballast that this process holds. Without swap nothing can push it out, so that the page
//! cache has what is left. Should memory run out all the same, the kernel is told to end this process first.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use rustix::fs::{Advice, fadvise};

use super::open::entities;
use crate::data::{Source, keys};
use crate::firn::{self, Firn};
use crate::harness::{Harness, Reading, Result};
use crate::load;
use crate::report::{Bound, FIRN};
use crate::statistics::latencies;

const WORK: &str = "Zipf 0.99, data 4 × memory";
const EXPONENT: f64 = 0.99;
/// What the server takes beside the page cache.
const SERVER_BYTES: u64 = 256 << 20;

/// Measures, and says the target of data beyond memory.
pub(super) fn run(harness: &mut Harness) -> Result<()> {
    let users = harness.sized(10_000_000, 10_000);
    let directory = entities(harness)?;
    let requests = requests(users, harness.sized(50_000, 100));
    let data = forget(&directory)?;
    let ballast = match harness.settings.is_tiny() {
        true => Vec::new(),
        false => ballast(data / 4 + SERVER_BYTES)?,
    };
    let firn = Firn::start(harness, &directory)?;
    let client = harness.runtime.block_on(firn.client())?;
    let round =
        |requests: &[RecordBatch]| harness.runtime.block_on(load::closed(&client, &firn::lookup(&["t"]), requests, 4));
    // Until what is asked for often is in memory.
    let (warming, measuring) = requests.split_at(requests.len() / 2);
    round(warming)?;
    let before = faults(firn.process())?;
    let started = Instant::now();
    let load = round(measuring)?;
    let per_lookup = (faults(firn.process())? - before) / measuring.len() as f64;
    let worst = load.waits.iter().max().copied().unwrap_or(Duration::ZERO);
    std::hint::black_box(&ballast);
    let [p50, p99] = latencies(WORK, &load.waits);
    harness.record(FIRN, p50);
    harness.record(FIRN, p99.clone());
    harness.record(FIRN, Reading::new(format!("{WORK}, worst"), "ms", worst.as_secs_f64() * 1e3));
    harness.record(FIRN, Reading::new(format!("{WORK}, faults"), "per lookup", per_lookup));
    let rate = measuring.len() as f64 / started.elapsed().as_secs_f64();
    harness.record(FIRN, Reading::new(format!("{WORK}, rate"), "lookups/s", rate));
    harness.target(&format!("{WORK}: p99, ms"), Some(p99.value), Bound::AtMost(10.0));
    firn.stop()
}

/// Requests for one user each, the n-th most wanted of them n^0.99 times less often than the first.
fn requests(users: usize, count: usize) -> Vec<RecordBatch> {
    let mut shares = Vec::with_capacity(users);
    let mut sum = 0.0;
    for rank in 1..=users {
        sum += (rank as f64).powf(-EXPONENT);
        shares.push(sum);
    }
    let mut source = Source::new(60);
    let request = |_: usize| {
        let share = source.share() * sum;
        let rank = shares.partition_point(|until| *until < share).min(users - 1);
        // Wanted users do not lie side by side.
        keys(&[("user", vec![(rank as i64).wrapping_mul(2_654_435_761).rem_euclid(users as i64)])])
    };
    (0..count).map(request).collect()
}

/// Takes the files of `directory` out of the page cache; the bytes of those that latest reads.
fn forget(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            bytes += forget(&entry.path())?;
            continue;
        }
        let file = File::open(entry.path())?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        let name = entry.file_name();
        let of_latest = [".pack", ".dictionary"].iter().any(|ending| name.to_string_lossy().ends_with(ending));
        bytes += if of_latest { entry.metadata()?.len() } else { 0 };
    }
    Ok(bytes)
}

/// Holds all memory but `left` bytes.
fn ballast(left: u64) -> Result<Vec<u8>> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let kilobytes = lines.filter_map(|(name, rest)| Some((name, rest.split_whitespace().next()?.parse::<u64>().ok()?)));
    let memory: BTreeMap<&str, u64> = kilobytes.collect();
    let bytes =
        |name: &str| memory.get(name).map(|kilobytes| kilobytes << 10).ok_or_else(|| format!("no {name} is told"));
    if bytes("SwapTotal")? > 0 {
        return Err("there is swap, into which a ballast would sink; turn it off for this bench".into());
    }
    std::fs::write("/proc/self/oom_score_adj", "1000")?;
    Ok(vec![1; bytes("MemAvailable")?.saturating_sub(left) as usize])
}

/// How often `process` has waited for a page from disk.
fn faults(process: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after = text.rsplit_once(')').ok_or("the kernel's line on the process has no name")?.1;
    Ok(after.split_whitespace().nth(9).ok_or("the kernel's line on the process is short")?.parse()?)
}
