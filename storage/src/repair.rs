//! `firn repair`: keeps everything that is whole, so that the database opens and answers for it.
//!
//! What can be made again is made again: packs by the next compaction, dictionaries from their own tables, headers of
//! the log from its records, the ceiling from the clock. What would give up acknowledged rows is done only on demand.
//! Nothing is deleted: a file that is changed or left out goes to `damaged/` first, the manifest with it. A repair that
//! is interrupted can be run again.

use std::sync::Arc;

use serde::Serialize;

use crate::dictionary::salvage::Salvage;
use crate::erase::{decode_bitmap, encode_bitmap};
use crate::error::Result;
use crate::ingest_clock::{CEILING, renew_ceiling};
use crate::io::{Files, copy_aside, directory_of, move_aside};
use crate::manifest::ManifestState;
use crate::recovery::next_number;
use crate::segment;
use crate::time::{Clock, Sequence};
use crate::verify::{Broken, Damage, Report, Survey, is_of};
use crate::wal;

/// How many sequences are passed over after commits were lost, so that none of theirs is given again. Damaged records
/// do not tell theirs; a commit has at most one sequence for each eight bytes of the log, so this is enough for 32 GiB.
const SEQUENCES_SKIPPED: Sequence = 1 << 32;

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// What was found.
    pub before: Report,
    /// What was done about it, for a person.
    pub done: Vec<String>,
    /// What was left: it cannot be mended, or not without giving up rows.
    pub left: Vec<Damage>,
    /// Where files were put.
    pub set_aside: Vec<String>,
}

/// Mends what can be mended; with `drop_damaged` also what costs acknowledged rows.
pub fn repair(files: &Arc<dyn Files>, clock: &dyn Clock, drop_damaged: bool) -> Result<Repaired> {
    let survey = Survey::of(files)?;
    let mut repairing = Repairing { files, drop_damaged, done: Repaired::default(), obsolete: Vec::new() };
    let Some(mut manifest) = survey.manifest else {
        repairing.done.left.clone_from(&survey.report.damages);
        repairing.done.before = survey.report;
        return Ok(repairing.done);
    };
    let mut mended = Vec::new();
    if !survey.broken.is_empty() {
        let copy = copy_aside(files, &manifest.file_name())?;
        repairing.done.set_aside.push(copy);
    }
    let mut state = ManifestState::clone(&manifest.state);
    state.next_number = next_number(files, &state)?;
    for (broken, file) in &survey.broken {
        if repairing.mend(*broken, file, &mut state, clock)? {
            mended.push(file.as_str());
        }
    }
    if !mended.is_empty() {
        manifest.write(state)?;
        repairing.finish(&survey.broken, manifest.state.wal_first)?;
    }
    let mut done = repairing.done;
    let is_mended = |damage: &Damage| mended.iter().any(|file| is_of(&damage.file, file));
    done.left = survey.report.damages.iter().filter(|damage| !is_mended(damage)).cloned().collect();
    done.before = survey.report;
    Ok(done)
}

struct Repairing<'a> {
    files: &'a Arc<dyn Files>,
    drop_damaged: bool,
    done: Repaired,
    /// Files to remove once the manifest no longer names them.
    obsolete: Vec<String>,
}

impl Repairing<'_> {
    /// Mends what is `broken` in `state`; whether it could be.
    fn mend(&mut self, broken: Broken, file: &str, state: &mut ManifestState, clock: &dyn Clock) -> Result<bool> {
        match broken {
            Broken::Manifest | Broken::Versions => return Ok(false),
            Broken::Ceiling => {
                let copy = copy_aside(self.files, CEILING)?;
                self.done.set_aside.push(copy);
                renew_ceiling(self.files, clock.now().max(state.ingest_time))?;
                self.say("wrote a new ceiling above the time of now");
            }
            Broken::Pack { table, number } => {
                self.move_aside(file)?;
                let Some(kept) = state.tables.get_mut(&table) else { return Ok(false) };
                kept.packs.retain(|entry| entry.meta.number != number);
                self.say(format!("left {file} out; compaction makes a new latest pack"));
            }
            Broken::Dictionary { entity, bucket, number, lost } => {
                if lost && !self.drop_damaged {
                    return Ok(false);
                }
                self.dictionary(state, (entity, bucket, number), file)?;
            }
            Broken::Erasures { entity } => {
                let Some(kept) = state.entities.get_mut(&entity).filter(|_| self.drop_damaged) else {
                    return Ok(false);
                };
                kept.erasures = None;
                self.move_aside(file)?;
                self.say(format!("gave up {file}: the receipts of erases, and which entities take no more rows"));
            }
            Broken::Segment { table, bucket, number } => {
                if !self.drop_damaged {
                    return Ok(false);
                }
                self.segment(state, table, bucket, number)?;
            }
            Broken::Log { cut } => {
                if cut && !self.drop_damaged {
                    return Ok(false);
                }
                if cut {
                    let losses = wal::losses(self.files.as_ref(), state.wal_first)?;
                    let last = losses.sequences_lost.map_or(0, |(_, last)| last);
                    state.sequence = state.sequence.max(losses.kept_last).max(last) + SEQUENCES_SKIPPED;
                }
            }
        }
        Ok(true)
    }

    /// Writes anew what is left of a dictionary file, and gives up the ordinals whose keys are lost.
    fn dictionary(&mut self, state: &mut ManifestState, place: (u32, usize, u64), file: &str) -> Result<()> {
        let (entity, bucket, number) = place;
        let new = state.next_number;
        let Some(kept) = state.entities.get_mut(&entity) else { return Ok(()) };
        if kept.erased.len() < kept.dictionaries.len() {
            kept.erased.resize_with(kept.dictionaries.len(), || encode_bitmap(&roaring::RoaringBitmap::new()));
        }
        let mut erased = decode_bitmap(&kept.erased[bucket])?;
        let metas = &mut kept.dictionaries[bucket];
        let Some(meta) = metas.iter_mut().find(|meta| meta.number == number) else { return Ok(()) };
        let salvage = Salvage::of(self.files, meta, &erased);
        let given_up = salvage.lost.len();
        erased |= &salvage.lost;
        *meta = salvage.write(self.files, new, &erased)?;
        kept.erased[bucket] = encode_bitmap(&erased);
        state.next_number = new + 1;
        // Copied, not moved: until the manifest names the new file, a second attempt needs this one in its place.
        let there = self.files.list(directory_of(file))?.iter().any(|name| file.ends_with(name.as_str()));
        if there {
            let copy = copy_aside(self.files, file)?;
            self.done.set_aside.push(copy);
            self.obsolete.push(file.to_owned());
        }
        self.say(match given_up {
            0 => format!("wrote the keys of {file} to a new dictionary file; none is lost"),
            lost => format!("wrote the other keys of {file} to a new dictionary file and gave up {lost} entities"),
        });
        Ok(())
    }

    /// Leaves a segment out, and with it the pack of its bucket, which may hold winners from it.
    fn segment(&mut self, state: &mut ManifestState, table: u32, bucket: u32, number: u64) -> Result<()> {
        let Some(kept) = state.tables.get_mut(&table) else { return Ok(()) };
        let Some(at) = kept.segments.iter().position(|entry| entry.meta.number == number) else { return Ok(()) };
        let meta = kept.segments.remove(at).serving().clone();
        let file = segment::file_name(meta.number);
        let (of_bucket, others) = kept.packs.drain(..).partition(|entry| entry.bucket == bucket);
        kept.packs = others;
        self.move_aside(&file)?;
        for pack in Vec::from_iter::<Vec<crate::manifest::PackEntry>>(of_bucket) {
            self.move_aside(&pack.meta.name())?;
        }
        let (rows, first, last) = (meta.rows, meta.sequence_min, meta.sequence_max);
        self.say(format!("gave up {file}: {rows} rows of the commits {first} to {last}"));
        Ok(())
    }

    /// What may be done only once the new manifest is durable.
    fn finish(&mut self, broken: &[(Broken, String)], wal_first: u64) -> Result<()> {
        for file in std::mem::take(&mut self.obsolete) {
            self.files.remove(&file)?;
        }
        for (what, _) in broken {
            let Broken::Log { cut } = what else { continue };
            if *cut && !self.drop_damaged {
                continue;
            }
            let done = wal::repair(self.files, wal_first)?;
            self.done.set_aside.extend(done.copies);
            self.say(match (done.cut, done.sequences_lost) {
                (None, _) => "wrote headers of the log anew; no record is lost".to_owned(),
                (Some((file, offset)), None) => {
                    format!("cut the log at {file} offset {offset}; commits up to {} are kept", done.kept_last)
                }
                (Some((file, offset)), Some((first, last))) => format!(
                    "cut the log at {file} offset {offset}; commits up to {} are kept, the commits {first} to {last} and \
                     any before them that are damaged are given up",
                    done.kept_last
                ),
            });
        }
        Ok(())
    }

    fn move_aside(&mut self, file: &str) -> Result<()> {
        let there = self.files.list(directory_of(file))?.iter().any(|name| file.ends_with(name.as_str()));
        if there {
            let to = move_aside(self.files.as_ref(), file)?;
            self.done.set_aside.push(to);
        }
        Ok(())
    }

    fn say(&mut self, text: impl Into<String>) {
        self.done.done.push(text.into());
    }
}
