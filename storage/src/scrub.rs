//! The scrub: reads every published file again at a bounded rate, so that damage is found before a read needs the
//! bytes.
//!
//! It reads from the medium, one block at a time, and never through a map: what the medium refuses is an error. It
//! counts and logs what it finds and changes nothing. It does not read the log, which is short-lived and read whole at
//! every opening.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::annex::AnnexMeta;
use crate::block_list::BlockList;
use crate::compaction::throttle::Throttle;
use crate::dictionary::DictionaryMeta;
use crate::dictionary::salvage;
use crate::engine::Engine;
use crate::erase;
use crate::error::{Error, Kind, Result};
use crate::manifest::{ManifestState, NamedFile};
use crate::pack::{self, PackMeta};
use crate::segment::{self, SegmentMeta};
use crate::versions::VersionFile;

/// A round begins at most this often: a small database is not read again and again.
const ROUND_MIN: Duration = Duration::from_secs(3600);

/// A file that the manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Segment(SegmentMeta),
    Pack(PackMeta),
    Dictionary(DictionaryMeta),
    Versions(VersionFile),
    Erasures(AnnexMeta),
}

impl Named {
    fn named(&self) -> NamedFile {
        match self {
            Self::Segment(meta) => NamedFile::Segment(meta.number),
            Self::Pack(meta) => NamedFile::Pack(meta.number),
            Self::Dictionary(meta) => NamedFile::Dictionary(meta.number),
            Self::Versions(file) => NamedFile::Versions(file.file.number),
            Self::Erasures(meta) => NamedFile::Erasures(meta.number),
        }
    }

    fn blocks(&self, engine: &Engine) -> Result<BlockList> {
        let files = engine.files.as_ref();
        match self {
            Self::Segment(meta) => segment::block_list(files, meta),
            Self::Pack(meta) => pack::block_list(files, meta),
            Self::Dictionary(meta) => salvage::block_list(files, meta),
            Self::Versions(file) => file.block_list(files),
            Self::Erasures(meta) => erase::block_list(files, meta),
        }
    }
}

/// Scrubs until the database closes.
pub(crate) fn run(engine: &Arc<Engine>) {
    while !engine.is_closing() {
        Round::new(engine).read();
        engine.sleep(ROUND_MIN);
    }
}

/// One reading of every file.
struct Round<'a> {
    engine: &'a Engine,
    throttle: Throttle,
    /// The manifest when it was last asked, and the files that it names.
    named: (Arc<ManifestState>, HashSet<NamedFile>),
}

impl<'a> Round<'a> {
    fn new(engine: &'a Engine) -> Self {
        let listed = engine.listed.load_full();
        let files = listed.files();
        Self { engine, throttle: Throttle::new(engine.options.scrub_bytes_per_second), named: (listed, files) }
    }

    /// Reads every file once.
    fn read(mut self) {
        for file in all_named(&self.named.0) {
            if self.engine.is_closing() {
                return;
            }
            // A file that was merged away meanwhile may be gone.
            if self.is_named(&file) {
                self.scrub(&file);
            }
        }
        self.engine.statistics.scrubs.add(1);
    }

    fn is_named(&mut self, file: &Named) -> bool {
        let listed = self.engine.listed.load_full();
        if !Arc::ptr_eq(&listed, &self.named.0) {
            let files = listed.files();
            self.named = (listed, files);
        }
        self.named.1.contains(&file.named())
    }

    /// Reads `file` and counts its damage.
    fn scrub(&mut self, file: &Named) {
        let blocks = match file.blocks(self.engine) {
            Ok(blocks) => blocks,
            Err(error) => return self.found(file, &error),
        };
        let mut buffer = Vec::new();
        for block in 0..blocks.len() {
            if self.engine.is_closing() {
                return;
            }
            match blocks.check(self.engine.files.as_ref(), block, &mut buffer) {
                Ok(bytes) => self.engine.statistics.scrub_bytes.add(bytes),
                Err(error) => self.found(file, &error),
            }
            self.engine.sleep(self.throttle.spend(buffer.len() as u64));
        }
    }

    fn found(&mut self, file: &Named, error: &Error) {
        let about_bytes = matches!(error.kind(), Kind::Corrupt | Kind::Io);
        if about_bytes && self.is_named(file) {
            self.engine.statistics.scrub_damages.add(1);
            let name = error.place().map(|place| place.file.clone());
            tracing::error!(file = name, %error, "the scrub found damage");
        }
    }
}

/// All files that `state` names.
fn all_named(state: &ManifestState) -> Vec<Named> {
    let tables = state.tables.values();
    let entities = state.entities.values();
    let segments =
        tables.clone().flat_map(|table| &table.segments).map(|entry| Named::Segment(entry.serving().clone()));
    let packs = tables.flat_map(|table| &table.packs).map(|entry| Named::Pack(entry.meta.clone()));
    let erasures = entities.clone().filter_map(|entity| entity.erasures).map(Named::Erasures);
    let dictionaries = entities.flat_map(|entity| entity.dictionaries.iter().flatten()).cloned().map(Named::Dictionary);
    let versions = state.version_files.iter().cloned().map(Named::Versions);
    segments.chain(packs).chain(dictionaries).chain(versions).chain(erasures).collect()
}
