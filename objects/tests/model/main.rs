//! The protocol by which writers share a bucket, explored in every order of its steps.
//!
//! Writers claim epochs, take over, append, publish, delete what a root condemned and sweep orphans; each call of the
//! store is one step, any writer may stand still for ever after any of them, and a write that was given up may land
//! later. In every world that can come about this holds: what was acknowledged is recovered by whoever opens the bucket
//! then; no object that it needs is missing; what an epoch served of earlier ones never changes. For each rule of the
//! protocol there is a test that removes it and sees the model break: a rule that nothing needs is none.
//!
//! It is a model of the rules, not a test of the code that follows them.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use store::Violation;
use writer::{Removed, Step, World};
use xxhash_rust::xxh3::xxh3_128;

mod store;
mod writer;

/// What an exploration found.
struct Explored {
    /// How many worlds there are.
    worlds: usize,
    /// The first broken one, with the steps that lead to it.
    broken: Option<(Violation, Vec<String>)>,
}

/// A way to a world: the one before, who made the step, which.
#[derive(Clone, Copy)]
struct Way {
    from: u32,
    epoch: u8,
    step: Step,
}

/// The bytes of a world. It is known by a hash of them of 128 bits: for two of some millions to share one is as good as
/// impossible, and whole worlds would take gigabytes.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the bytes are hashed as a whole")
    }
}

impl Bytes {
    fn hash_of(&mut self, world: &World) -> u128 {
        self.0.clear();
        world.hash(self);
        xxh3_128(&self.0)
    }
}

/// Goes through every world that can come about, nearest first, until one is broken.
fn explore(writers: usize, late: u8, flight: bool, removed: Removed) -> Explored {
    let first = World::new(writers, late, flight);
    let mut bytes = Bytes::default();
    let mut known = HashSet::from([bytes.hash_of(&first)]);
    let mut ways = vec![Way { from: 0, epoch: 0, step: Step::Gone }];
    let mut edge = vec![(0, first)];
    while !edge.is_empty() {
        let mut next = Vec::new();
        for (from, world) in edge {
            for (epoch, step, after) in world.next(removed) {
                if !known.insert(bytes.hash_of(&after)) {
                    continue;
                }
                let number = u32::try_from(ways.len()).expect("worlds are millions");
                ways.push(Way { from, epoch, step });
                if let Some(violation) = after.broken(removed) {
                    return Explored { worlds: ways.len(), broken: Some((violation, steps(&ways, number))) };
                }
                next.push((number, after));
            }
        }
        edge = next;
    }
    Explored { worlds: ways.len(), broken: None }
}

/// The steps that lead to the world `number`.
fn steps(ways: &[Way], mut number: u32) -> Vec<String> {
    let mut found = Vec::new();
    while number != 0 {
        let Way { from, epoch, step } = ways[number as usize];
        let shown = if epoch == 0 { "something lands late".to_owned() } else { format!("epoch {epoch}: {step:?}") };
        found.push(shown);
        number = from;
    }
    found.reverse();
    found
}

/// Asserts that no world is broken.
fn holds(writers: usize, late: u8, flight: bool) {
    let explored = explore(writers, late, flight, Removed::Nothing);
    let flying = if flight { ", two log objects in flight" } else { "" };
    println!("{writers} writers, {late} late writes{flying}: {} states", explored.worlds);
    if let Some((violation, steps)) = explored.broken {
        panic!("{violation:?} after:\n  {}", steps.join("\n  "));
    }
    assert!(explored.worlds > 1000, "the model goes somewhere");
}

/// Asserts that `writers` come to a broken world without a rule.
fn breaks(writers: usize, removed: Removed) {
    let explored = explore(writers, 0, true, removed);
    let Some((violation, steps)) = explored.broken else {
        panic!("without {removed:?}, {} worlds are whole: what is the rule for?", explored.worlds)
    };
    println!("without {removed:?}: {violation:?} within {} states, after {} steps", explored.worlds, steps.len());
}

#[test]
fn two_writers_lose_nothing() {
    holds(2, 0, false);
}

#[test]
fn two_writers_with_two_log_objects_in_flight_lose_nothing() {
    holds(2, 0, true);
}

#[test]
fn two_writers_lose_nothing_though_a_write_lands_late() {
    holds(2, 1, true);
}

#[test]
fn three_writers_lose_nothing() {
    holds(3, 0, false);
}

#[test]
fn a_writer_must_look_for_the_next_epoch_after_each_log_object() {
    breaks(2, Removed::CheckAfterLog);
}

#[test]
fn looking_before_the_log_object_is_too_early() {
    breaks(2, Removed::LogBeforeCheck);
}

#[test]
fn a_writer_must_look_before_it_deletes() {
    breaks(2, Removed::CheckBeforeDelete);
}

#[test]
fn the_root_must_be_there_before_anything_is_deleted() {
    breaks(2, Removed::RootBeforeDelete);
}

#[test]
fn the_root_must_be_there_before_anything_is_served() {
    breaks(2, Removed::RootBeforeServe);
}

#[test]
fn the_newest_root_is_that_of_the_greatest_epoch() {
    breaks(2, Removed::NewestByEpoch);
}

#[test]
fn the_numbers_of_epochs_are_dense() {
    breaks(2, Removed::DenseEpochs);
}

#[test]
fn a_writer_must_look_before_it_serves() {
    breaks(3, Removed::CheckBeforeServe);
}

#[test]
fn log_objects_are_acknowledged_in_order() {
    breaks(2, Removed::OrderOfAcknowledging);
}
