//! P1 beside a bucket: many writers, everything in the background, and at random moments the process is gone and its disk too.
//!
//! What was acknowledged for the bucket is the ledger. After each loss a database on an empty disk has every acknowledged batch,
//! whole and once, and beyond the ledger at most the one that each writer had on its way. `FIRN_WIPE_ROUNDS=n` sets the rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use firn_storage::config::{HomeOptions, HomePolicy, IcePolicy, Level, Options};
use firn_storage::database::Database;
use firn_storage::io::simulated::Simulated;
use firn_storage::objects::faulty::{Fault, Faulty};
use firn_storage::objects::memory::Memory;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::kill::{WRITERS, check_ledger, declare, write};

/// Opens the database of `bucket` on an empty disk. It flushes, merges, freezes and publishes at the least occasion.
fn open(bucket: Faulty) -> Database {
    let mut options = Options::new("unused");
    options.files = Some(Arc::new(Simulated::new()));
    options.flush_bytes_max = 32 << 10;
    options.wal_bytes_max = 64 << 10;
    options.home = Some(HomeOptions {
        objects: Arc::new(bucket),
        policy: HomePolicy {
            acknowledge: Level::Object,
            upload_interval: Duration::from_millis(1),
            backlog_bytes_max: 1 << 30,
            publish_bytes: 16 << 10,
            publish_interval: Duration::from_millis(300),
            garbage_age: Duration::ZERO,
            ice: IcePolicy { freeze_bytes_min: 64 << 10, hot_bytes_max: 0, ..IcePolicy::default() },
            ..HomePolicy::default()
        },
        writer: "a test".to_owned(),
    });
    Database::open(options).expect("whatever was lost, the bucket has a database")
}

/// Writers write until the process is gone, which is after `wait`; the last acknowledged batch of each.
fn write_until_lost(database: &Database, bucket: &Faulty, found: &[i64], wait: Duration) -> Vec<i64> {
    let acknowledged: Vec<AtomicI64> = found.iter().copied().map(AtomicI64::new).collect();
    std::thread::scope(|scope| {
        for (writer, last) in (0..).zip(&acknowledged) {
            scope.spawn(move || {
                let known = last.load(Ordering::SeqCst);
                if known > 0
                    && let Ok(duplicate) = write(database, writer, known)
                {
                    assert!(duplicate, "batch {known} of {writer} was applied twice");
                }
                for number in known + 1.. {
                    match write(database, writer, number) {
                        Ok(duplicate) => assert!(!duplicate, "batch {number} of {writer} was not new"),
                        Err(_) => return,
                    }
                    last.store(number, Ordering::SeqCst);
                }
            });
        }
        std::thread::sleep(wait);
        // Nothing reaches the bucket from here on, whatever the process still does.
        bucket.fail_calls(1, 1 << 40, Fault::Before);
        drop(database.close());
    });
    acknowledged.iter().map(|last| last.load(Ordering::SeqCst)).collect()
}

#[test]
fn acknowledged_writes_survive_the_loss_of_the_disk_at_any_moment() {
    let rounds: u64 = std::env::var("FIRN_WIPE_ROUNDS").map_or(50, |text| text.parse().expect("a number of rounds"));
    let (mut random, begun) = (StdRng::seed_from_u64(rounds), Instant::now());
    let memory = Memory::new();
    let database = open(Faulty::new(Arc::new(memory.clone())));
    declare(&database);
    database.close().expect("a healthy bucket");
    let mut found = vec![0; WRITERS as usize];
    for round in 0..rounds {
        let bucket = Faulty::new(Arc::new(memory.clone()));
        let database = open(bucket.clone());
        found = check_ledger(&database, &found, &format!("round {round}"));
        let wait = Duration::from_micros(random.random_range(0..300_000));
        found = write_until_lost(&database, &bucket, &found, wait);
    }
    let database = open(Faulty::new(Arc::new(memory.clone())));
    found = check_ledger(&database, &found, "in the end");
    let batches: i64 = found.iter().sum();
    assert!(batches > rounds as i64, "there was a load");
    let roots = memory.names().into_iter().filter(|name| name.as_str().starts_with("epochs/")).count();
    println!(
        "{rounds} lost disks, {batches} acknowledged batches, {roots} epochs, in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
}
