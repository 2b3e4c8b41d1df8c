//! The part of verify that reads dictionaries, segments and packs.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::{Broken, Survey};
use crate::annex::AnnexMeta;
use crate::block_list::BlockList;
use crate::dictionary::salvage::{self, Salvage};
use crate::erase::{self, Erasures, decode_bitmap};
use crate::error::{Error, Result};
use crate::io::Files;
use crate::manifest::{EntityManifest, ManifestState, PackEntry, SegmentEntry};
use crate::model::catalog::Entity;
use crate::pack::{self, Pack};
use crate::segment;
use crate::versions::Versions;

/// What is damaged in one file.
#[derive(Debug, Default)]
struct Damages {
    errors: Vec<Error>,
    bytes: u64,
}

/// Reads every block of a file, and looks for sense with `sense` if all of them check.
fn damages(files: &Arc<dyn Files>, blocks: Result<BlockList>, sense: impl FnOnce() -> Result<()>) -> Damages {
    let blocks = match blocks {
        Ok(blocks) => blocks,
        Err(error) => return Damages { errors: vec![error], bytes: 0 },
    };
    let mut buffer = Vec::new();
    let check = |block| blocks.check(files.as_ref(), block, &mut buffer).err();
    let mut errors: Vec<Error> = (0..blocks.len()).filter_map(check).collect();
    if errors.is_empty() {
        errors.extend(sense().err());
    }
    Damages { errors, bytes: blocks.covered }
}

impl Survey {
    /// Reads the files of schema versions; whether all are whole. Without them no other file has a meaning.
    pub(super) fn version_files(&mut self, files: &Arc<dyn Files>, state: &ManifestState) -> Result<bool> {
        let before = self.broken.len();
        for file in &state.version_files {
            let name = file.name();
            let found = damages(files, file.block_list(files.as_ref()), || file.read(files).map(drop));
            self.read(found.bytes);
            if !found.errors.is_empty() {
                self.broken.push((Broken::Versions, name.clone()));
            }
            let lost = "everything: the schema versions in it say what was declared";
            let mend = format!("restore {name} from a copy: a file never changes, so any copy of it will do");
            found.errors.iter().try_for_each(|error| self.damage(&name, error, lost, &mend))?;
        }
        Ok(self.broken.len() == before)
    }

    /// Reads all files that the manifest names.
    pub(super) fn published(
        &mut self,
        files: &Arc<dyn Files>,
        state: &ManifestState,
        versions: &Versions,
    ) -> Result<()> {
        let nothing = EntityManifest::default();
        for entity in &versions.newest().entities {
            let kept = state.entities.get(&entity.id).unwrap_or(&nothing);
            self.dictionaries(files, entity, kept)?;
            if let Some(meta) = &kept.erasures {
                let sense = || Erasures::read(files, meta, state.secret, &entity.key).map(drop);
                self.erasures(files, entity, meta, sense)?;
            }
        }
        for table in &versions.newest().tables {
            let Some(kept) = state.tables.get(&table.id) else { continue };
            let dictionaries = state.entities.get(&table.entity).unwrap_or(&nothing);
            let ordinals = |bucket: u32| {
                let metas = dictionaries.dictionaries.get(bucket as usize);
                metas.and_then(|metas| metas.last()).map_or(0, |meta| meta.end())
            };
            for entry in &kept.segments {
                self.segment(files, table.id, &table.name, entry, ordinals(entry.bucket))?;
            }
            for entry in &kept.packs {
                self.pack(files, table.id, entry, ordinals(entry.bucket))?;
            }
        }
        Ok(())
    }

    fn erasures(
        &mut self,
        files: &Arc<dyn Files>,
        entity: &Entity,
        meta: &AnnexMeta,
        sense: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let name = erase::file_name(meta.number);
        let found = damages(files, erase::block_list(files.as_ref(), meta), sense);
        self.read(found.bytes);
        if !found.errors.is_empty() {
            self.broken.push((Broken::Erasures { entity: entity.id }, name.clone()));
        }
        let lost = format!("receipts and blocks of erased entities of {}; what was erased stays so", entity.name);
        let mend = format!(
            "restore {name} from a copy; without one, `firn repair --drop-damaged` gives receipts and blocks up"
        );
        found.errors.iter().try_for_each(|error| self.damage(&name, error, &lost, &mend))
    }

    fn dictionaries(&mut self, files: &Arc<dyn Files>, entity: &Entity, kept: &EntityManifest) -> Result<()> {
        for (bucket, metas) in kept.dictionaries.iter().enumerate() {
            let erased = kept.erased.get(bucket).map(|text| decode_bitmap(text)).transpose();
            let erased = match erased {
                Ok(erased) => erased.unwrap_or_default(),
                Err(error) => {
                    self.lost_manifest(&error)?;
                    RoaringBitmap::new()
                }
            };
            let mut next = 0;
            for meta in metas {
                if meta.first_ordinal != next {
                    let what = format!("{} does not start at ordinal {next}", meta.name());
                    self.lost_manifest(&Error::new(crate::error::Kind::Corrupt, what))?;
                }
                next = meta.end();
                let name = meta.name();
                let blocks = salvage::block_list(files.as_ref(), meta);
                let found = damages(files, blocks, || salvage::verify(files, meta, &erased));
                self.read(found.bytes);
                if found.errors.is_empty() {
                    continue;
                }
                let lost = Salvage::of(files, meta, &erased).lost.len();
                let broken = Broken::Dictionary { entity: entity.id, bucket, number: meta.number, lost: lost > 0 };
                self.broken.push((broken, name.clone()));
                let (lost, mend) = match lost {
                    0 => ("nothing: every key of it can be told", "`firn repair` writes the file anew".to_owned()),
                    _ => (
                        &*format!(
                            "{lost} of {} entities of {}: their keys, and so their rows",
                            meta.count, entity.name
                        ),
                        format!(
                            "restore {name} from a copy; without one, `firn repair --drop-damaged` gives these entities up"
                        ),
                    ),
                };
                for error in found.errors {
                    self.damage(&name, &error, lost, &mend)?;
                }
            }
        }
        Ok(())
    }

    fn segment(
        &mut self,
        files: &Arc<dyn Files>,
        table: u32,
        table_name: &str,
        entry: &SegmentEntry,
        ordinals: u32,
    ) -> Result<()> {
        let meta = entry.serving();
        let name = segment::file_name(meta.number);
        // What is away is read, and checked, when it is asked for.
        let open = || if entry.is_away() { segment::open_rows(files, meta) } else { segment::open(files, meta) };
        let sense = || segment::verify(&open()?, meta, ordinals);
        let found = damages(files, segment::block_list(files.as_ref(), meta), sense);
        self.read(found.bytes);
        if found.errors.is_empty() {
            return Ok(());
        }
        self.broken.push((Broken::Segment { table, bucket: entry.bucket, number: entry.meta.number }, name.clone()));
        let until = match open() {
            Ok(_) => "reads of the damaged bytes fail, all others answer",
            Err(_) => "the database does not open",
        };
        let (rows, bucket, first, last) = (meta.rows, entry.bucket, meta.sequence_min, meta.sequence_max);
        let lost = format!(
            "up to {rows} rows of table {table_name}, bucket {bucket}, of the commits {first} to {last}: {until}"
        );
        let mend =
            format!("restore {name} from a copy; without one, `firn repair --drop-damaged` sets all its rows aside");
        found.errors.iter().try_for_each(|error| self.damage(&name, error, &lost, &mend))
    }

    fn pack(&mut self, files: &Arc<dyn Files>, table: u32, entry: &PackEntry, ordinals: u32) -> Result<()> {
        let meta = &entry.meta;
        let name = meta.name();
        let sense = || {
            Pack::open(files, meta)?.check_all()?;
            let fits = meta.ordinals <= ordinals;
            let beyond = || Error::corrupt(&name, 0, "it has ordinals that the dictionary did not give");
            if fits { Ok(()) } else { Err(beyond()) }
        };
        let found = damages(files, pack::block_list(files.as_ref(), meta), sense);
        self.read(found.bytes);
        if !found.errors.is_empty() {
            self.broken.push((Broken::Pack { table, number: meta.number }, name.clone()));
        }
        let lost = "nothing: a latest pack is made from segments";
        let mend = "`firn repair` sets it aside, and compaction makes a new one";
        found.errors.iter().try_for_each(|error| self.damage(&name, error, lost, mend))
    }
}
