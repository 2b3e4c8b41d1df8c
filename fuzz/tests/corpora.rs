//! The fuzz targets on stable: seeds, the kept corpora, then random mutations of both, in bounded memory.
//!
//! `FIRN_FUZZ_SEED` starts the mutations elsewhere (the default is the same in every run), `FIRN_FUZZ_MUTATIONS`
//! multiplies their number. `FIRN_FUZZ_SEEDS` names a folder that is filled with the seeds of every target, where
//! cargo-fuzz begins.

#![allow(missing_docs, reason = "a test binary: nothing uses it but itself")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use firn_fuzz::mutate::Mutator;
use firn_fuzz::{TARGETS, Target, Verdict, contained, quiet, target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Held by the target that runs: the panic hook and the peak of memory are of the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a whole number, not {text:?}")))
}

/// The kept inputs of a target, with their names.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder can be read").path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.display().to_string(), fs::read(&path).expect("a kept input can be read"));
    paths.into_iter().map(read).collect()
}

/// Runs one input. A broken promise, or memory beyond the target's, is told, and the input is kept.
fn run(target: &Target, name: &str, bytes: &[u8]) -> Result<Verdict, String> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let outcome = contained(target, bytes);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let finding = match outcome {
        Ok(verdict) if taken <= target.memory_bytes_max => return Ok(verdict),
        Ok(_) => format!("took {taken} bytes of memory, at most {} are allowed", target.memory_bytes_max),
        Err(finding) => finding,
    };
    let kept = std::env::temp_dir().join(format!("firn-fuzz-{}", target.name));
    fs::write(&kept, bytes).expect("a temporary file can be written");
    Err(format!("{name} ({} bytes, kept as {}): {finding}", bytes.len(), kept.display()))
}

/// Runs everything that there is for a target; what it did, in a sentence.
fn run_all(target: &Target, seeds: Vec<Vec<u8>>) -> Result<String, String> {
    // Whatever a target makes once is made before memory is measured.
    drop(contained(target, &seeds[0]));
    let mut inputs = Vec::new();
    for (at, seed) in seeds.into_iter().enumerate() {
        if run(target, &format!("seed {at}"), &seed)? == Verdict::Refused {
            return Err(format!("seed {at} is refused"));
        }
        inputs.push(seed);
    }
    for (path, bytes) in corpus(target) {
        run(target, &path, &bytes)?;
        inputs.push(bytes);
    }
    let first = number("FIRN_FUZZ_SEED", 1);
    let mutations = target.mutations as u64 * number("FIRN_FUZZ_MUTATIONS", 1);
    let mut mutator = Mutator::new(first);
    let mut accepted = 0;
    for at in 0..mutations {
        let bytes = mutator.next(&inputs);
        accepted += u64::from(run(target, &format!("mutation {at} of seed {first}"), &bytes)? == Verdict::Accepted);
    }
    let done = format!("{} inputs, then {mutations} mutations of seed {first}, {accepted} accepted", inputs.len());
    // A target that refuses everything, or nothing, looks at nothing.
    if accepted * 200 > mutations && accepted < mutations { Ok(done) } else { Err(done) }
}

fn bounded(name: &str) {
    let target = target(name);
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let seeds = (target.seeds)();
    quiet();
    let done = run_all(&target, seeds);
    drop(std::panic::take_hook());
    match done {
        Ok(done) => println!("{name}: {done}"),
        Err(finding) => panic!("{name}: {finding}"),
    }
}

#[test]
fn any_bytes_as_a_log_are_records_or_an_error() {
    bounded("wal");
}

#[test]
fn any_records_in_a_log_open_or_are_an_error() {
    bounded("recovery");
}

#[test]
fn any_bytes_as_a_segment_are_rows_or_an_error() {
    bounded("segment");
}

#[test]
fn any_bytes_as_a_dictionary_or_a_pack_are_answers_or_an_error() {
    bounded("blocks");
}

#[test]
fn any_json_as_a_manifest_opens_or_is_an_error() {
    bounded("manifest");
}

#[test]
fn any_text_as_a_command_is_answered_or_refused() {
    bounded("commands");
}

#[test]
fn any_bytes_as_frames_are_rows_or_refused() {
    bounded("frames");
}

#[test]
fn every_target_is_run_here_and_by_cargo_fuzz() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer/targets");
    let here = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora.rs")).expect("this file");
    for target in TARGETS {
        assert!(here.contains(&format!("bounded(\"{}\")", target.name)), "{} is not run here", target.name);
        assert!(folder.join(format!("{}.rs", target.name)).exists(), "{} has no cargo-fuzz binary", target.name);
    }
}

#[test]
fn seeds_are_written_where_cargo_fuzz_begins() {
    let Ok(folder) = std::env::var("FIRN_FUZZ_SEEDS") else { return };
    for target in TARGETS {
        let folder = Path::new(&folder).join(target.name);
        fs::create_dir_all(&folder).expect("a folder can be made");
        for (at, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{at}")), seed).expect("a seed can be written");
        }
    }
}
