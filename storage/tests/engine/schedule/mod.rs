//! The protocol of the bucket under the real code: seeded schedules of writers, a follower and openers on empty disks, and for
//! each rule a bucket that lies so that the rule is as good as removed. The model of `objects/tests/model` goes through every order
//! of the rules; this goes through many orders of the code that follows them.
//!
//! `FIRN_SCHEDULES=n` runs n schedules, `FIRN_SEED=s` begins at seed s; a failure prints its seed and every call until then.

mod bucket;
mod call;
mod gate;
mod lie;
mod outcome;
mod process;
mod promise;
mod rest;
mod run;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use lie::{LIES, Lie};
use run::{Summary, run};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Runs the schedules of `count` seeds from `first` on; the first failure with its seed, and what they came to together.
fn many(first: u64, count: u64, lie: Option<Lie>) -> (Option<(u64, String)>, Summary) {
    let next = AtomicU64::new(first);
    let failure: Mutex<Option<(u64, String)>> = Mutex::default();
    let all: Mutex<Summary> = Mutex::default();
    // They wait for one another more than they work.
    let threads = 2 * std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failure.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    match run(seed, lie) {
                        Ok(summary) => all.lock().unwrap().add(summary),
                        Err(error) => *failure.lock().unwrap() = Some((seed, error)),
                    }
                }
            });
        }
    });
    (failure.into_inner().unwrap(), all.into_inner().unwrap())
}

#[test]
fn schedules_of_the_bucket_keep_every_promise() {
    let (first, count) = (number("FIRN_SEED", 1), number("FIRN_SCHEDULES", 2000));
    let begun = Instant::now();
    let (failure, all) = many(first, count, None);
    println!("{count} schedules from seed {first} in {:.1} s: {all:?}", begun.elapsed().as_secs_f64());
    if let Some((seed, error)) = failure {
        panic!("seed {seed}: {error}");
    }
    assert!(all.commits > count && all.recovered > count, "schedules go somewhere");
}

/// An invariant that no lie can break would prove nothing.
#[test]
fn a_bucket_that_lies_is_found_out_within_two_hundred_schedules() {
    for lie in LIES {
        let begun = Instant::now();
        let (failure, _) = many(1, 200, Some(lie));
        let Some((seed, error)) = failure else { panic!("200 schedules hold although {lie:?}: what is the rule for?") };
        let first = error.lines().next().unwrap_or_default();
        println!("{lie:?}: seed {seed}, {:.1} s: {}", begun.elapsed().as_secs_f64(), &first[..first.len().min(160)]);
    }
}
