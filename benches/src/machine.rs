//! The machine that measures: what it is, and whether it does something else meanwhile.

use std::time::Duration;

use crate::harness::Result;

/// How long to look before a bench begins.
const LOOK: Duration = Duration::from_millis(500);
/// Cores that may be busy with other work without a word about it.
const BUSY_MAX: f64 = 0.2;

/// A sentence about other work on the machine, if there is much of it; figures are worse for it.
pub(crate) fn warning() -> Result<Option<String>> {
    let before = busy_ticks()?;
    std::thread::sleep(LOOK);
    let busy = (busy_ticks()? - before) / 100.0 / LOOK.as_secs_f64();
    Ok((busy > BUSY_MAX).then(|| format!("other work keeps {busy:.1} cores busy; the figures are worse for it")))
}

/// Whether flush and compaction of the databases in `process` wait for work: none of their threads, nor those that they
/// started, runs or waits for the disk.
pub(crate) fn background_rests(process: u32) -> Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end while it is looked at.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("stat")) else { continue };
        let Some((name, rest)) = text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") ")) else { continue };
        if ["firn-flush", "firn-compact"].contains(&name) && !rest.starts_with('S') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Cores, memory and kernel, in one line.
pub(crate) fn description() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let file = |name: &str| std::fs::read_to_string(name);
    let (memory, kernel, processor) =
        (file("/proc/meminfo")?, file("/proc/sys/kernel/osrelease")?, file("/proc/cpuinfo")?);
    let kilobytes = memory.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let model = model.trim_start_matches(['\t', ' ', ':']);
    Ok(format!("{cores} cores ({model}), {:.0} GB, Linux {}", kilobytes / 1e6, kernel.trim()))
}

/// Hundredths of a second that all cores were busy since the machine started.
fn busy_ticks() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or("");
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, then idle and waiting, then interrupts and what other machines took.
    let busy = ticks.iter().enumerate().filter(|(place, _)| ![3, 4, 8, 9].contains(place));
    Ok(busy.map(|(_, ticks)| ticks).sum())
}
