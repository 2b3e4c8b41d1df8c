//! The scrub: reads every published file again at a bounded rate, so that damage is found before a read needs the
//! bytes.
//!
//! It reads from the medium, one block at a time, and never through a map: what the medium refuses is an error. It
//! counts and logs what it finds and changes nothing. It does not read the log, which is short-lived and read whole at
//! every opening.

use std::sync::Arc;
use std::time::Duration;

use crate::block_list::BlockList;
use crate::compaction::throttle::Throttle;
use crate::dictionary::DictionaryMeta;
use crate::dictionary::salvage;
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::pack::{self, PackMeta};
use crate::segment::{self, SegmentMeta};

/// A round begins at most this often: a small database is not read again and again.
const ROUND_MIN: Duration = Duration::from_secs(3600);
/// How long the thread sleeps at a time.
const NAP: Duration = Duration::from_millis(200);

/// A file that the manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Segment(SegmentMeta),
    Pack(PackMeta),
    Dictionary(DictionaryMeta),
}

impl Named {
    fn blocks(&self, engine: &Engine) -> Result<BlockList> {
        let files = engine.files.as_ref();
        match self {
            Self::Segment(meta) => segment::block_list(files, meta),
            Self::Pack(meta) => pack::block_list(files, meta),
            Self::Dictionary(meta) => salvage::block_list(files, meta),
        }
    }
}

/// Scrubs until the database closes.
pub(crate) fn run(engine: &Arc<Engine>) {
    while !engine.is_closing() {
        round(engine);
        let mut rested = Duration::ZERO;
        while rested < ROUND_MIN && !engine.is_closing() {
            std::thread::sleep(NAP);
            rested += NAP;
        }
    }
}

/// Reads every file once.
fn round(engine: &Arc<Engine>) {
    let throttle = Throttle::new(engine.options.scrub_bytes_per_second);
    for file in named(engine) {
        if engine.is_closing() {
            return;
        }
        // A file that was merged away meanwhile may be gone.
        if named(engine).contains(&file) {
            scrub(engine, &file, &throttle);
        }
    }
    engine.statistics.scrubs.add(1);
}

/// Reads `file` and counts its damage.
fn scrub(engine: &Arc<Engine>, file: &Named, throttle: &Throttle) {
    let found = |error: crate::error::Error| {
        let about_bytes = matches!(error.kind(), Kind::Corrupt | Kind::Io);
        if about_bytes && named(engine).contains(file) {
            engine.statistics.scrub_damages.add(1);
            let name = error.place().map(|place| place.file.clone());
            tracing::error!(file = name, %error, "the scrub found damage");
        }
    };
    let blocks = match file.blocks(engine) {
        Ok(blocks) => blocks,
        Err(error) => return found(error),
    };
    let mut buffer = Vec::new();
    for block in 0..blocks.len() {
        if engine.is_closing() {
            return;
        }
        match blocks.check(engine.files.as_ref(), block, &mut buffer) {
            Ok(bytes) => engine.statistics.scrub_bytes.add(bytes),
            Err(error) => found(error),
        }
        throttle.spend(buffer.len() as u64);
    }
}

/// All files that the manifest names now.
fn named(engine: &Engine) -> Vec<Named> {
    let manifest = engine.manifest.lock();
    let tables = manifest.state.tables.values();
    let entities = manifest.state.entities.values();
    let segments = tables.clone().flat_map(|table| &table.segments).map(|entry| Named::Segment(entry.meta.clone()));
    let packs = tables.flat_map(|table| &table.packs).map(|entry| Named::Pack(entry.meta.clone()));
    let dictionaries = entities.flat_map(|entity| entity.dictionaries.iter().flatten()).cloned().map(Named::Dictionary);
    segments.chain(packs).chain(dictionaries).collect()
}
