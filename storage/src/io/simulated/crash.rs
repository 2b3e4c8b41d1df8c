//! What is left of a simulated disk after the power went, by seed.
//!
//! Of the changes of names in one directory a prefix survives. Of the pending bytes of a file survive a prefix, or a
//! prefix followed by garbage, or an arbitrary choice of sectors with zeros between, since the kernel writes pages
//! in whatever order it likes. Bytes that a failed sync dropped are zeros, or missing at the end of the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Content, Disk, Shared, Simulated};

/// Pages of a file survive or not in pieces of this many bytes.
const SECTOR_BYTES: usize = 512;

impl Simulated {
    /// The disk after power loss, as `seed` decides. The disk before goes on by itself, for processes still running.
    pub fn crash(&self, seed: u64) -> Simulated {
        let disk = self.disk.lock();
        let mut random = Random(seed);
        let mut kept = disk.durable.clone();
        for directory in disk.directories.iter().map(String::as_str).chain([""]) {
            let changes: Vec<_> = disk.pending.iter().filter(|change| change.directory == directory).collect();
            let count = random.below(changes.len() + 1);
            for change in &changes[..count] {
                change.apply(&mut kept);
            }
        }
        let mut survivors = Survivors::default();
        let names: BTreeMap<_, _> =
            kept.iter().map(|(name, file)| (name.clone(), survivors.file(file, &mut random))).collect();
        let directories = disk.directories.clone();
        Simulated::of(Disk { durable: names.clone(), names, directories, ..Disk::default() })
    }

    /// A disk of its own with everything that this one shows, all of it durable.
    pub fn copy(&self) -> Simulated {
        let disk = self.disk.lock();
        let names: BTreeMap<_, _> = disk.names.iter().map(|(name, file)| (name.clone(), whole(file))).collect();
        let directories = disk.directories.clone();
        Simulated::of(Disk { durable: names.clone(), names, directories, ..Disk::default() })
    }

    /// The kernel drops its cache: bytes that a failed sync lost now read as zeros.
    pub fn evict(&self) {
        for file in self.disk.lock().names.values() {
            file.lock().zero_lost();
        }
    }
}

impl Content {
    fn zero_lost(&mut self) {
        for range in self.lost.clone() {
            let end = range.end.min(self.bytes.len());
            self.bytes[range.start.min(end)..end].fill(0);
        }
    }

    /// The bytes that the disk has after a crash.
    fn survive(&self, random: &mut Random) -> Vec<u8> {
        let mut now = self.clone();
        now.zero_lost();
        // The file need not have grown over bytes that were lost at its end.
        let lost_end = now.lost.last().filter(|range| range.end >= now.synced).map_or(now.synced, |range| range.start);
        let synced = if random.below(2) == 0 { now.synced } else { lost_end };
        let mut bytes = now.bytes;
        bytes.truncate(synced + random.below(bytes.len() - synced + 1));
        match random.below(4) {
            0 => bytes.truncate(synced),
            1 => {}
            2 => {
                let start = synced + random.below(bytes.len() - synced + 1);
                bytes[start..].fill_with(|| random.next() as u8);
            }
            _ => {
                let mut start = synced;
                while start < bytes.len() {
                    let end = bytes.len().min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
                    if random.below(2) == 0 {
                        bytes[start..end].fill(0);
                    }
                    start = end;
                }
            }
        }
        bytes
    }
}

/// Files of the new disk: one under two names stays one.
#[derive(Default)]
struct Survivors(Vec<(Shared, Shared)>);

impl Survivors {
    fn file(&mut self, old: &Shared, random: &mut Random) -> Shared {
        if let Some((_, new)) = self.0.iter().find(|(known, _)| Arc::ptr_eq(known, old)) {
            return Arc::clone(new);
        }
        let bytes = old.lock().survive(random);
        let new = Arc::new(Mutex::new(Content { synced: bytes.len(), bytes, ..Content::default() }));
        self.0.push((Arc::clone(old), Arc::clone(&new)));
        new
    }
}

fn whole(file: &Shared) -> Shared {
    let bytes = file.lock().bytes.clone();
    Arc::new(Mutex::new(Content { synced: bytes.len(), bytes, ..Content::default() }))
}

/// SplitMix64: enough randomness to choose what survives, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
