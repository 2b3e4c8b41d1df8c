//! Hostile bytes (promise P7): one function per kind of bytes that FirnDB reads and did not just write itself.
//!
//! A [`Target`] takes any bytes, reads them as FirnDB would, and panics where a promise is broken: a panic of the
//! engine, an error that names no file, an answer that changes when it is written and read again. The same functions
//! are run by `cargo test` (`tests/corpora.rs`: the kept corpora, then random mutations of them) and by cargo-fuzz
//! (`libfuzzer/`), which looks for inputs that reach new code.
//!
//! Files carry checksums. A mutated file would only ever test those, so the file targets *seal* their input first
//! (`seal.rs`): every checksum is made right again, and what is read is everything behind it.
//!
//! It is not where flipped bytes without a new checksum are tested: that is promise P5, in the storage crate.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

mod blocks;
mod commands;
mod frames;
mod manifest;
pub mod mutate;
pub mod parts;
mod recovery;
mod sample;
mod seal;
mod segment;
mod wal;

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was read.
    Accepted,
    /// It was refused with an error.
    Refused,
}

/// One kind of bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Names the corpus too.
    pub name: &'static str,
    /// Reads one input; panics if a promise is broken.
    pub run: fn(&[u8]) -> Verdict,
    /// Inputs that are accepted, made by the FirnDB of today.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes of memory that one input may take, whatever it says.
    pub memory_bytes_max: usize,
    /// Mutated inputs of a bounded run.
    pub mutations: usize,
}

const MIB: usize = 1 << 20;

/// Every kind of bytes.
pub const TARGETS: [Target; 7] = [
    Target { name: "blocks", run: blocks::run, seeds: blocks::seeds, memory_bytes_max: 64 * MIB, mutations: 5_000 },
    Target { name: "wal", run: wal::run, seeds: wal::seeds, memory_bytes_max: 4 * MIB, mutations: 20_000 },
    Target {
        name: "recovery",
        run: recovery::run,
        seeds: recovery::seeds,
        memory_bytes_max: 64 * MIB,
        mutations: 5_000,
    },
    Target { name: "segment", run: segment::run, seeds: segment::seeds, memory_bytes_max: 16 * MIB, mutations: 20_000 },
    Target {
        name: "manifest",
        run: manifest::run,
        seeds: manifest::seeds,
        memory_bytes_max: 64 * MIB,
        mutations: 5_000,
    },
    Target {
        name: "commands",
        run: commands::run,
        seeds: commands::seeds,
        memory_bytes_max: 16 * MIB,
        mutations: 20_000,
    },
    Target { name: "frames", run: frames::run, seeds: frames::seeds, memory_bytes_max: 16 * MIB, mutations: 20_000 },
];

/// The target called `name`.
pub fn target(name: &str) -> Target {
    let found = TARGETS.into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("there is no target {name}"))
}

/// What the last panic said, and where it was.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Keeps panics quiet: decoders catch those of libraries, and a caught panic is no finding. What a panic said is kept
/// for [`contained`]. A panic on any other thread than a target's is caught by nobody, and ends the process.
pub fn quiet() {
    let owner = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() != owner {
            eprintln!("a panic on a thread of the engine: {panic}");
            std::process::abort();
        }
        *LAST_PANIC.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = panic.to_string();
    }));
}

/// Runs a target; a panic becomes its text. After [`quiet`].
pub fn contained(target: &Target, bytes: &[u8]) -> Result<Verdict, String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).map_err(|_| {
        let last = LAST_PANIC.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        format!("target {}: {last}", target.name)
    })
}

/// What cargo-fuzz calls: a broken promise ends the process, so that libFuzzer keeps the input.
pub fn fuzz(name: &str, bytes: &[u8]) {
    if let Err(finding) = contained(&target(name), bytes) {
        eprintln!("{finding}");
        std::process::abort();
    }
}

/// Checks that an error about a file says which one.
pub(crate) fn names(error: &firn_storage::error::Error, folder: &str) {
    assert!(error.message().contains(folder), "the error names no file of {folder}: {error:?}");
}
