//! The entity dictionary of one bucket: encoded key → ordinal, and back.
//!
//! Ordinals are dense, given in the order in which keys are inserted, and never reused, so a replay of the same keys
//! gives the same ordinals. Keys that came since the last file are in memory ([`fresh`]), all others in write-once,
//! memory-mapped files ([`file`]) of geometrically growing size; opening maps them and builds nothing.
//!
//! Any number of threads may read while one writes. Maintenance ([`Dictionary::persist`], [`Dictionary::purge`]) is
//! the work of one thread at a time and may run beside both: it writes and opens files, the caller records them in its
//! manifest together with [`Dictionary::erased_in`] *taken after it*, and only then does [`Dictionary::adopt`] swap them
//! in, which cannot fail. The caller removes the files that are no longer listed.

use std::sync::Arc;

use parking_lot::RwLock;
use roaring::RoaringBitmap;

use self::fresh::Fresh;
use self::part::{Part, Search};
use self::table::mix;
use crate::error::{Error, Kind, Result};
use crate::io::Files;
use crate::model::key::Keys;

mod file;
mod fresh;
mod part;
pub(crate) mod salvage;
mod table;
#[cfg(test)]
mod tests;

use self::file::Mapped;
pub use self::file::{DictionaryMeta, file_name};

/// Stands for "no ordinal" in the answers of [`Dictionary::find`].
pub const UNKNOWN: u32 = u32::MAX;

/// Files of fewer keys are merged whatever their neighbours' size: one more file to search costs more than this.
const MERGE_COUNT_MIN: u32 = if cfg!(test) { 8 } else { 1 << 16 };
/// A file of so many times the keys that come after it stays. Each file that a key is not in costs a lookup a cache
/// miss: against a ratio of two there are half as many files, and each key is written 7 times instead of 4 when millions
/// come in flushes of 100,000.
const MERGE_RATIO: u64 = 4;

/// The writer lets readers in after so many new keys.
const INSERT_KEYS: usize = if cfg!(test) { 16 } else { 1024 };
/// A fresh part of so many keys, and as many as are frozen, is frozen too: readers never wait for a large table to
/// grow, and there are O(log n) parts in memory.
const FRESH_COUNT_MIN: u32 = if cfg!(test) { 48 } else { 1 << 18 };

/// The dictionary of one bucket of one entity.
#[derive(Debug)]
pub struct Dictionary {
    state: RwLock<State>,
}

/// The complete list of files of a dictionary after maintenance, open.
#[derive(Debug)]
pub struct Maintained {
    mapped: Vec<Arc<Mapped>>,
}

impl Maintained {
    /// For the manifest.
    pub fn metas(&self) -> Vec<DictionaryMeta> {
        self.mapped.iter().map(|part| part.meta().clone()).collect()
    }
}

/// All parts, in the order of their ordinals: files, frozen parts on their way into a file, the fresh part.
#[derive(Debug)]
struct State {
    mapped: Vec<Arc<Mapped>>,
    frozen: Vec<Arc<Fresh>>,
    fresh: Fresh,
    erased: Arc<RoaringBitmap>,
}

impl State {
    fn erased(&self) -> Option<&RoaringBitmap> {
        if self.erased.is_empty() { None } else { Some(&self.erased) }
    }

    /// Looks the rows `pending` up and keeps those not found.
    fn find(&self, keys: &Keys, hashes: &[u64], pending: &mut Vec<u32>, out: &mut [u32]) -> Result<()> {
        let search = Search { keys, hashes, erased: self.erased() };
        for part in &self.mapped {
            search.find_in(part.as_ref(), pending, out)?;
        }
        for part in &self.frozen {
            search.find_in(part.as_ref(), pending, out)?;
        }
        search.find_in(&self.fresh, pending, out)
    }

    /// Visits the first of `ordinals` and those after it that lie in the same part, as [`Dictionary::keys`] does; how
    /// many they are.
    fn visit_together(
        &self,
        ordinals: &[u32],
        visit: &mut impl FnMut(usize, Option<&[u8]>) -> Result<()>,
    ) -> Result<usize> {
        let (erased, ordinal) = (self.erased(), ordinals[0]);
        if ordinal >= self.fresh.end() {
            return visit(0, None).map(|()| 1);
        }
        if ordinal >= self.fresh.first_ordinal() {
            return visit_chosen(&self.fresh, ordinals, erased, visit);
        }
        let in_files = self.mapped.partition_point(|part| part.first_ordinal() <= ordinal);
        if let Some(part) = in_files.checked_sub(1).map(|at| &self.mapped[at])
            && ordinal - part.first_ordinal() < part.count()
        {
            return visit_chosen(part.as_ref(), ordinals, erased, visit);
        }
        let in_memory = self.frozen.partition_point(|part| part.first_ordinal() <= ordinal);
        visit_chosen(self.frozen[in_memory - 1].as_ref(), ordinals, erased, visit)
    }
}

impl Dictionary {
    /// Opens the dictionary that `metas` lists, in the order of their ordinals. `erased` must hold every ordinal that
    /// was erased when the files were written.
    pub fn open(files: &Arc<dyn Files>, metas: &[DictionaryMeta], erased: RoaringBitmap) -> Result<Self> {
        let mapped = open_all(files, metas, &[])?;
        let fresh = Fresh::new(metas.last().map_or(0, DictionaryMeta::end), 0);
        let state = State { mapped, frozen: Vec::new(), fresh, erased: Arc::new(erased) };
        Ok(Self { state: RwLock::new(state) })
    }

    /// Finds the ordinals of the keys in `rows`. `hashes` and `out` are by row of `keys`: for each of `rows`,
    /// `out[row]` becomes the ordinal, or [`UNKNOWN`]; other places of `out` stay as they are.
    pub fn find(&self, keys: &Keys, rows: &[u32], hashes: &[u64], out: &mut [u32]) -> Result<()> {
        let mut pending = rows.to_vec();
        self.state.read().find(keys, hashes, &mut pending, out)?;
        for row in pending {
            out[row as usize] = UNKNOWN;
        }
        Ok(())
    }

    /// [`Dictionary::find`], but unknown keys get the next ordinals, in the order of `rows`. After an error some may
    /// have got theirs. For the one writer.
    pub fn find_or_insert(&self, keys: &Keys, rows: &[u32], hashes: &[u64], out: &mut [u32]) -> Result<()> {
        let mut pending = rows.to_vec();
        let next = {
            let state = self.state.read();
            state.find(keys, hashes, &mut pending, out)?;
            state.fresh.end()
        };
        if u64::from(next) + pending.len() as u64 >= u64::from(UNKNOWN) {
            let most = "a bucket holds at most 4,294,967,294 entities; declare the entity with more buckets";
            return Err(Error::new(Kind::Exhausted, most));
        }
        while !pending.is_empty() {
            let batch = Search { keys, hashes, erased: None };
            match self.insert(&batch, &pending, out)? {
                None => break,
                Some((inserted, room)) => {
                    self.roll(room);
                    // What this batch inserted before is no longer fresh.
                    pending.drain(..inserted);
                    self.state.read().find(keys, hashes, &mut pending, out)?;
                }
            }
        }
        Ok(())
    }

    /// Gives the keys of `rows`, which are in no part but perhaps the fresh one, the next ordinals. If the fresh part is
    /// full meanwhile, answers how many rows are done, and how much room the next one should have.
    fn insert(&self, batch: &Search<'_>, rows: &[u32], out: &mut [u32]) -> Result<Option<(usize, u32)>> {
        let mut inserted = 0;
        for rows in rows.chunks(INSERT_KEYS) {
            let mut state = self.state.write();
            for &row in rows {
                let (key, hash) = (batch.keys.get(row as usize), batch.hashes[row as usize]);
                // An earlier row of this batch may have inserted the same key.
                let search = Search { erased: state.erased(), ..*batch };
                let known = search.probe(&state.fresh, mix(hash), key)?;
                out[row as usize] = known.unwrap_or_else(|| state.fresh.insert(key, hash));
            }
            inserted += rows.len();
            let frozen: u32 = state.frozen.iter().map(|part| part.count()).sum();
            if state.fresh.count() >= frozen.max(FRESH_COUNT_MIN) {
                return Ok(Some((inserted, state.fresh.count() + frozen)));
            }
        }
        Ok(None)
    }

    /// Freezes a full fresh part. The table of the next one is made before readers have to wait.
    fn roll(&self, room: u32) {
        let next = Fresh::new(self.len(), room);
        let mut state = self.state.write();
        // Maintenance may have frozen it first.
        if state.fresh.count() > 0 {
            let full = std::mem::replace(&mut state.fresh, next);
            state.frozen.push(Arc::new(full));
        }
    }

    /// The key of `ordinal`; `None` if it is erased or not yet given.
    pub fn key(&self, ordinal: u32) -> Result<Option<Vec<u8>>> {
        let mut found = None;
        self.keys(&[ordinal], |_, key| {
            found = key.map(<[u8]>::to_vec);
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `visit` with the index of each of `ordinals` and its key; `None` if it is erased or not yet given. The
    /// dictionary is locked against the writer meanwhile: pass some thousands at a time.
    pub fn keys(&self, ordinals: &[u32], mut visit: impl FnMut(usize, Option<&[u8]>) -> Result<()>) -> Result<()> {
        let state = self.state.read();
        let mut visited = 0;
        while visited < ordinals.len() {
            let mut visit = |index: usize, key: Option<&[u8]>| visit(visited + index, key);
            visited += state.visit_together(&ordinals[visited..], &mut visit)?;
        }
        Ok(())
    }

    /// The next ordinal: one more than the greatest ever given.
    pub fn len(&self) -> u32 {
        self.state.read().fresh.end()
    }

    /// Whether no ordinal was ever given.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` with every ordinal from `from` on that is not erased, and its key; answers the next ordinal. The
    /// writer waits for a thousand keys at most.
    pub fn visit(&self, from: u32, visit: &mut dyn FnMut(u32, &[u8])) -> Result<u32> {
        let (mapped, frozen, erased, fresh) = {
            let state = self.state.read();
            let fresh = state.fresh.first_ordinal()..state.fresh.end();
            (state.mapped.clone(), state.frozen.clone(), Arc::clone(&state.erased), fresh)
        };
        mapped.iter().try_for_each(|part| visit_part(part.as_ref(), from, &erased, visit))?;
        frozen.iter().try_for_each(|part| visit_part(part.as_ref(), from, &erased, visit))?;
        let (mut next, end) = (from.max(fresh.start), fresh.end);
        while next < end {
            let ordinals: Vec<u32> = (next..end.min(next.saturating_add(INSERT_KEYS as u32))).collect();
            self.keys(&ordinals, |index, key| {
                key.into_iter().for_each(|key| visit(ordinals[index], key));
                Ok(())
            })?;
            next += ordinals.len() as u32;
        }
        Ok(end)
    }

    /// From now on the keys of `ordinals` are not found; if they come again, they get new ordinals. Answers how many were
    /// not yet erased. For the one writer: nothing is copied while readers wait.
    pub fn erase(&self, ordinals: &RoaringBitmap) -> u64 {
        let before = self.erased();
        let after = Arc::new(before.as_ref() | ordinals);
        let count = after.len() - before.len();
        self.state.write().erased = after;
        count
    }

    /// Every ordinal that was ever erased.
    pub fn erased(&self) -> Arc<RoaringBitmap> {
        Arc::clone(&self.state.read().erased)
    }

    /// Every ordinal in the files of `maintained` that was ever erased. What lies after them is given again when the log
    /// is replayed, perhaps to other keys.
    pub fn erased_in(&self, maintained: &Maintained) -> RoaringBitmap {
        let mut erased = RoaringBitmap::clone(&self.erased());
        erased.remove_range(maintained.mapped.last().map_or(0, |part| part.meta().end())..);
        erased
    }

    /// Writes what is only in memory to a new file, together with the newest files as far as they are small beside
    /// it, so that there are O(log n) files. Answers the complete new list; see the module's text for what to do
    /// with it.
    pub fn persist(&self, files: &Arc<dyn Files>, next_number: &dyn Fn() -> u64) -> Result<Maintained> {
        self.maintain(files, next_number, false)
    }

    /// [`Dictionary::persist`] that also rewrites every file with bytes of erased keys.
    pub fn purge(&self, files: &Arc<dyn Files>, next_number: &dyn Fn() -> u64) -> Result<Maintained> {
        self.maintain(files, next_number, true)
    }

    /// Whether bytes of erased keys are left, in memory or in a file.
    pub fn needs_purge(&self) -> bool {
        let state = self.state.read();
        let in_files = state.mapped.iter().any(|part| holds_erased(part.meta(), &state.erased));
        let first = state.frozen.first().map_or(state.fresh.first_ordinal(), |part| part.first_ordinal());
        in_files || state.erased.range_cardinality(first..state.fresh.end()) > 0
    }

    /// Reads from the files of `maintained` from now on.
    pub fn adopt(&self, maintained: Maintained) {
        let mapped = maintained.mapped;
        let end = mapped.last().map_or(0, |part| part.meta().end());
        let mut state = self.state.write();
        let covered = state.mapped.last().map_or(0, |part| part.meta().end());
        assert!(
            covered <= end && end <= state.fresh.first_ordinal(),
            "adopted files cover all keys that were in files"
        );
        state.frozen.retain(|part| part.first_ordinal() >= end);
        let next = state.frozen.first().map_or(state.fresh.first_ordinal(), |part| part.first_ordinal());
        assert_eq!(next, end, "adopted files end where a part in memory starts");
        let older = std::mem::replace(&mut state.mapped, mapped);
        drop(state);
        // Unmapping takes its time, and readers wait for the lock.
        drop(older);
    }

    /// Checks every byte of every file.
    pub fn check_all(&self) -> Result<()> {
        let mapped = self.state.read().mapped.clone();
        mapped.iter().try_for_each(|part| part.check_all())
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        let state = self.state.read();
        let frozen: usize = state.frozen.iter().map(|part| part.bytes()).sum();
        state.fresh.bytes() + frozen + state.erased.serialized_size()
    }

    /// Bytes in memory-mapped files.
    pub fn mapped_bytes(&self) -> usize {
        self.state.read().mapped.iter().map(|part| part.mapped_bytes()).sum()
    }

    fn maintain(&self, files: &Arc<dyn Files>, next_number: &dyn Fn() -> u64, purge: bool) -> Result<Maintained> {
        let (mapped, frozen, erased) = self.freeze();
        let mut count: u64 = frozen.iter().map(|part| u64::from(part.count())).sum();
        let mut kept = mapped.len();
        if count > 0 {
            while let Some(last) = kept.checked_sub(1).map(|at| mapped[at].meta()) {
                if u64::from(last.count) >= count * MERGE_RATIO && last.count >= MERGE_COUNT_MIN {
                    break;
                }
                count += u64::from(last.count);
                kept -= 1;
            }
        }
        let mut metas = Vec::with_capacity(kept + 1);
        for part in &mapped[..kept] {
            if purge && holds_erased(part.meta(), &erased) {
                metas.push(file::write(files, next_number(), &[part.as_ref()], &erased)?);
            } else {
                metas.push(part.meta().clone());
            }
        }
        if count > 0 {
            let mut parts: Vec<&dyn Part> = Vec::new();
            parts.extend(mapped[kept..].iter().map(|part| part.as_ref() as &dyn Part));
            parts.extend(frozen.iter().map(|part| part.as_ref() as &dyn Part));
            metas.push(file::write(files, next_number(), &parts, &erased)?);
        }
        Ok(Maintained { mapped: open_all(files, &metas, &mapped)? })
    }

    /// Freezes the fresh part and answers everything that is ready for files.
    fn freeze(&self) -> (Vec<Arc<Mapped>>, Vec<Arc<Fresh>>, Arc<RoaringBitmap>) {
        let mut state = self.state.write();
        if state.fresh.count() > 0 {
            let next = Fresh::new(state.fresh.end(), 0);
            let full = std::mem::replace(&mut state.fresh, next);
            state.frozen.push(Arc::new(full));
        }
        (state.mapped.clone(), state.frozen.clone(), Arc::clone(&state.erased))
    }
}

/// [`Dictionary::visit`] of one part that does not change.
fn visit_part<P: Part>(part: &P, from: u32, erased: &RoaringBitmap, visit: &mut dyn FnMut(u32, &[u8])) -> Result<()> {
    let first = part.first_ordinal();
    for relative in from.saturating_sub(first)..part.count() {
        if !erased.contains(first + relative) {
            visit(first + relative, part.key(relative)?);
        }
    }
    Ok(())
}

/// [`State::visit_together`] in `part`, which holds the first of `ordinals`.
fn visit_chosen<P: Part>(
    part: &P,
    ordinals: &[u32],
    erased: Option<&RoaringBitmap>,
    visit: &mut impl FnMut(usize, Option<&[u8]>) -> Result<()>,
) -> Result<usize> {
    let (first, count) = (part.first_ordinal(), part.count());
    for (index, &ordinal) in ordinals.iter().enumerate() {
        let relative = ordinal.wrapping_sub(first);
        if relative >= count {
            return Ok(index);
        }
        let live = erased.is_none_or(|erased| !erased.contains(ordinal));
        visit(index, if live { Some(part.key(relative)?) } else { None })?;
    }
    Ok(ordinals.len())
}

/// Whether a file has bytes of erased keys: the purged ones are among the erased.
fn holds_erased(meta: &DictionaryMeta, erased: &RoaringBitmap) -> bool {
    erased.range_cardinality(meta.first_ordinal..meta.end()) > u64::from(meta.purged)
}

/// Opens `metas`, reusing what is `open` already.
fn open_all(files: &Arc<dyn Files>, metas: &[DictionaryMeta], open: &[Arc<Mapped>]) -> Result<Vec<Arc<Mapped>>> {
    let mut mapped = Vec::with_capacity(metas.len());
    let mut next = 0;
    for meta in metas {
        if meta.first_ordinal != next || meta.count == 0 {
            return Err(Error::corrupt(&meta.name(), 0, format!("the file does not start at ordinal {next}")));
        }
        next = meta.end();
        mapped.push(match open.iter().find(|part| part.meta() == meta) {
            Some(part) => Arc::clone(part),
            None => Arc::new(Mapped::open(files, meta)?),
        });
    }
    Ok(mapped)
}
