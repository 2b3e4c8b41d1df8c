//! P3: answers equal the oracle's over random histories.
//!
//! `FIRN_HISTORIES=n` runs n histories, `FIRN_SEED=s` begins at seed s; a failure prints its seed and the smallest
//! history found that still fails. A failure that was found
//! becomes a vector of `docs/time.md`, or a test beside the promise that it broke.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

mod aggregates;
pub mod generator;
pub mod runner;

use generator::{Size, generate};

const SMALL: Size = Size { steps: 25, rows: 30 };
const LONG: Size = Size { steps: 200, rows: 300 };

/// Where the files of a history lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// On a disk that loses what was not synced.
    Simulated,
    /// In a directory.
    Real,
    /// On such a disk, beside a bucket, so that a crash may take all of it.
    Bucket,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Runs the history of `seed`, or says how the smallest like it fails.
fn check(seed: u64, size: Size, place: Place) -> Result<(), String> {
    let mut history = generate(seed, size);
    history.setting.real = place == Place::Real;
    history.setting.home = place == Place::Bucket;
    let Err(failure) = runner::run(&history) else { return Ok(()) };
    let (smallest, failure) = runner::shrink(&history, failure);
    let steps: Vec<String> = smallest.steps.iter().map(|step| format!("  {step:?}")).collect();
    let world = (smallest.setting, smallest.keys, &smallest.tables);
    Err(format!("smallest: {world:?}\n{}\n\nseed {seed} ({size:?}): {failure}", steps.join("\n")))
}

/// Runs `count` histories from `first` on all cores; stops at the first failure.
fn check_many(first: u64, count: u64, size: Size, place: Place) {
    let next = AtomicU64::new(first);
    let failure: Mutex<Option<String>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || failure.lock().unwrap().is_some() {
                        return;
                    }
                    if let Err(error) = check(seed, size, place) {
                        *failure.lock().unwrap() = Some(error);
                    }
                }
            });
        }
    });
    let failure = failure.into_inner().unwrap();
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    println!("{count} histories from seed {first} in {:.1} s", begun.elapsed().as_secs_f64());
    println!("answers compared so far, by status: {}", crate::world::ask::compared());
}

#[test]
fn random_histories_answer_as_the_oracle_does() {
    check_many(number("FIRN_SEED", 1), number("FIRN_HISTORIES", 20_000), SMALL, Place::Simulated);
}

#[test]
fn long_histories_answer_as_the_oracle_does() {
    check_many(number("FIRN_SEED", 1), number("FIRN_HISTORIES", 20_000) / 200, LONG, Place::Simulated);
}

/// Seeds decide whether files are mapped or read to the heap (`--no-mmap`); crashes become clean ends.
#[test]
fn histories_on_a_real_directory_answer_as_the_oracle_does() {
    check_many(number("FIRN_SEED", 1), number("FIRN_HISTORIES", 20_000) / 100, SMALL, Place::Real);
}

/// Everything is acknowledged for the bucket, and half of the crashes take the disk.
#[test]
fn histories_whose_disk_is_lost_answer_as_the_oracle_does() {
    check_many(number("FIRN_SEED", 1), number("FIRN_HISTORIES", 20_000) / 20, SMALL, Place::Bucket);
    check_many(number("FIRN_SEED", 1), number("FIRN_HISTORIES", 20_000) / 1000, LONG, Place::Bucket);
}
