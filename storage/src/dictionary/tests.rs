//! The dictionary against a hash map, through every kind of maintenance, and against damaged files.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::BinaryArray;
use arrow_buffer::Buffer;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::io::simulated::{Fault, Simulated};
use crate::model::key::hash;

/// A disk with the folder, and the numbers of its files.
struct Disk {
    simulated: Simulated,
    files: Arc<dyn Files>,
    number: Cell<u64>,
}

impl Disk {
    fn new() -> Self {
        Self::of(Simulated::new())
    }

    fn of(simulated: Simulated) -> Self {
        let files: Arc<dyn Files> = Arc::new(simulated.clone());
        files.create_directory("dictionaries").unwrap();
        Self { simulated, files, number: Cell::new(0) }
    }

    fn next(&self) -> u64 {
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    fn persist(&self, dictionary: &Dictionary) -> Vec<DictionaryMeta> {
        let maintained = dictionary.persist(&self.files, &|| self.next()).unwrap();
        let metas = maintained.metas();
        dictionary.adopt(maintained);
        metas
    }
}

fn batch(keys: &[Vec<u8>]) -> (Keys, Vec<u32>, Vec<u64>) {
    let hashes = keys.iter().map(|key| hash(key)).collect();
    let rows = (0..keys.len() as u32).collect();
    let width = keys.first().map_or(0, Vec::len);
    let keys = if width > 0 && keys.iter().all(|key| key.len() == width) {
        Keys::Fixed { width, bytes: Buffer::from(keys.concat()) }
    } else {
        Keys::from_binary(BinaryArray::from_iter_values(keys))
    };
    (keys, rows, hashes)
}

fn insert(dictionary: &Dictionary, keys: &[Vec<u8>]) -> Vec<u32> {
    let (keys, rows, hashes) = batch(keys);
    let mut out = vec![UNKNOWN; rows.len()];
    dictionary.find_or_insert(&keys, &rows, &hashes, &mut out).unwrap();
    out
}

fn find(dictionary: &Dictionary, keys: &[Vec<u8>]) -> Result<Vec<u32>> {
    let (keys, rows, hashes) = batch(keys);
    let mut out = vec![7; rows.len()];
    dictionary.find(&keys, &rows, &hashes, &mut out)?;
    Ok(out)
}

/// A key of the family `width`: 0 has keys of all lengths.
fn key_of(id: u32, width: usize) -> Vec<u8> {
    // Odd, so that no key is another one shifted by a byte: a search for its bytes would find them there.
    let digits = u64::from(2 * id + 1).wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
    match width {
        0 => [&digits[..1 + id as usize % 8], &id.to_be_bytes(), &vec![b'x'; id as usize % 37]].concat(),
        8 => digits.to_vec(),
        width => [id.to_be_bytes().as_slice(), &digits].concat()[..width].to_vec(),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<u32>),
    Erase(Vec<u32>),
    Persist,
    PersistWithoutAdopting,
    Purge,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(0..400_u32, 0..80).prop_map(Step::Insert),
        2 => vec(0..400_u32, 0..20).prop_map(Step::Erase),
        3 => Just(Step::Persist),
        1 => Just(Step::PersistWithoutAdopting),
        1 => Just(Step::Purge),
        1 => Just(Step::Reopen),
    ]
}

/// What the dictionary should hold.
#[derive(Default)]
struct Model {
    ordinals: HashMap<u32, u32>,
    /// The id of each ordinal; `None` once erased.
    ids: Vec<Option<u32>>,
}

fn check(dictionary: &Dictionary, model: &Model, width: usize) {
    let ids: Vec<u32> = (0..420).rev().collect();
    let keys: Vec<Vec<u8>> = ids.iter().map(|&id| key_of(id, width)).collect();
    let found = find(dictionary, &keys).unwrap();
    for (id, found) in ids.iter().zip(found) {
        assert_eq!(found, model.ordinals.get(id).copied().unwrap_or(UNKNOWN), "id {id}");
    }
    assert_eq!(dictionary.len() as usize, model.ids.len());
    let mut live = Vec::new();
    for ordinal in 0..model.ids.len() as u32 + 2 {
        let key = model.ids.get(ordinal as usize).copied().flatten().map(|id| key_of(id, width));
        assert_eq!(dictionary.key(ordinal).unwrap(), key, "ordinal {ordinal}");
        live.extend(key.map(|key| (ordinal, key)));
    }
    for from in [0, 7, dictionary.len() / 2, dictionary.len()] {
        let mut visited = Vec::new();
        let end = dictionary.visit(from, &mut |ordinal, key| visited.push((ordinal, key.to_vec()))).unwrap();
        assert_eq!(end, dictionary.len());
        let expected: Vec<_> = live.iter().filter(|(ordinal, _)| *ordinal >= from).cloned().collect();
        assert_eq!(visited, expected, "from {from}");
    }
    dictionary.check_all().unwrap();
}

/// No file of the list holds the key of an id that is erased and did not come again.
fn assert_no_bytes(disk: &Disk, metas: &[DictionaryMeta], model: &Model, erased: &HashSet<u32>, width: usize) {
    let live: HashSet<u32> = model.ids.iter().flatten().copied().collect();
    for meta in metas {
        let content = disk.simulated.content(&meta.name());
        for &id in erased.difference(&live) {
            let key = key_of(id, width);
            let found = content.windows(key.len()).any(|window| window == key);
            // Short keys may be found by chance.
            assert!(key.len() < 8 || !found, "id {id} was purged");
        }
    }
}

fn run(steps: Vec<Step>, width: usize) {
    let disk = Disk::new();
    let mut dictionary = Dictionary::open(&disk.files, &[], RoaringBitmap::new()).unwrap();
    let (mut model, mut metas, mut erased_ids) = (Model::default(), Vec::new(), HashSet::new());
    for step in steps {
        match step {
            Step::Insert(ids) => {
                let keys: Vec<Vec<u8>> = ids.iter().map(|&id| key_of(id, width)).collect();
                let found = insert(&dictionary, &keys);
                for (id, found) in ids.into_iter().zip(found) {
                    let next = model.ids.len() as u32;
                    let expected = *model.ordinals.entry(id).or_insert(next);
                    if expected == next {
                        model.ids.push(Some(id));
                    }
                    assert_eq!(found, expected);
                }
            }
            Step::Erase(ids) => {
                let ordinals: RoaringBitmap = ids.iter().filter_map(|id| model.ordinals.remove(id)).collect();
                ordinals.iter().for_each(|ordinal| {
                    erased_ids.extend(model.ids[ordinal as usize].take());
                });
                dictionary.erase(&ordinals);
            }
            Step::Persist => metas = disk.persist(&dictionary),
            Step::PersistWithoutAdopting => {
                dictionary.persist(&disk.files, &|| disk.next()).unwrap();
            }
            Step::Purge => {
                let maintained = dictionary.purge(&disk.files, &|| disk.next()).unwrap();
                metas = maintained.metas();
                dictionary.adopt(maintained);
                assert!(!dictionary.needs_purge());
                assert_no_bytes(&disk, &metas, &model, &erased_ids, width);
            }
            Step::Reopen => {
                metas = disk.persist(&dictionary);
                let erased = dictionary.erased().as_ref().clone();
                let text = serde_json::to_string(&metas).unwrap();
                metas = serde_json::from_str(&text).unwrap();
                dictionary = Dictionary::open(&disk.files, &metas, erased).unwrap();
            }
        }
        check(&dictionary, &model, width);
    }
    assert!(metas.len() <= 8, "the number of files is logarithmic");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn agrees_with_a_hash_map(steps in vec(step(), 1..25), width in prop_oneof![Just(0), Just(4), Just(8), Just(11)]) {
        run(steps, width);
    }
}

#[test]
fn files_grow_geometrically() {
    let disk = Disk::new();
    let dictionary = Dictionary::open(&disk.files, &[], RoaringBitmap::new()).unwrap();
    let mut written = 0;
    for round in 0..200_u32 {
        let keys: Vec<Vec<u8>> = (0..10).map(|index| key_of(round * 10 + index, 8)).collect();
        insert(&dictionary, &keys);
        let before = disk.number.get();
        let metas = disk.persist(&dictionary);
        let new = metas.iter().filter(|meta| meta.number > before);
        written += new.map(|meta| u64::from(meta.count)).sum::<u64>();
        assert!(metas.len() <= 5, "round {round}: {} files", metas.len());
        for pair in metas.windows(2) {
            assert!(pair[0].count >= pair[1].count * 4, "older files are larger");
        }
    }
    assert!(written < 2_000 * 16, "each key is written O(log n) times, not {written}/2000");
}

#[test]
fn empty_keys_and_equal_lengths_by_chance() {
    let disk = Disk::new();
    let dictionary = Dictionary::open(&disk.files, &[], RoaringBitmap::new()).unwrap();
    let keys = [vec![], vec![1], vec![0; 8], vec![2; 70_000], vec![255; 8]];
    assert_eq!(insert(&dictionary, &keys), [0, 1, 2, 3, 4]);
    let metas = disk.persist(&dictionary);
    let reopened = Dictionary::open(&disk.files, &metas, RoaringBitmap::new()).unwrap();
    for dictionary in [&dictionary, &reopened] {
        assert_eq!(find(dictionary, &keys).unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(find(dictionary, &[vec![0; 7], vec![0]]).unwrap(), [UNKNOWN, UNKNOWN]);
        assert_eq!(dictionary.key(3).unwrap(), Some(vec![2; 70_000]));
    }
}

#[test]
fn eight_zero_bytes_are_a_key_like_any_other() {
    let disk = Disk::new();
    let dictionary = Dictionary::open(&disk.files, &[], RoaringBitmap::new()).unwrap();
    insert(&dictionary, &[vec![9; 8]]);
    disk.persist(&dictionary);
    assert_eq!(find(&dictionary, &[vec![0; 8]]).unwrap(), [UNKNOWN]);
    assert_eq!(insert(&dictionary, &[vec![0; 8]]), [1]);
    disk.persist(&dictionary);
    assert_eq!(find(&dictionary, &[vec![0; 8], vec![9; 8]]).unwrap(), [1, 0]);
}

#[test]
fn only_the_rows_asked_for_are_answered() {
    let disk = Disk::new();
    let dictionary = Dictionary::open(&disk.files, &[], RoaringBitmap::new()).unwrap();
    let (keys, _, hashes) = batch(&(0..6).map(|id| key_of(id, 8)).collect::<Vec<_>>());
    let mut out = vec![77; 6];
    dictionary.find_or_insert(&keys, &[4, 1], &hashes, &mut out).unwrap();
    assert_eq!(out, [77, 1, 77, 77, 0, 77]);
    dictionary.find(&keys, &[5, 1], &hashes, &mut out).unwrap();
    assert_eq!(out, [77, 1, 77, 77, 0, UNKNOWN]);
}

#[test]
fn readers_see_every_key_while_files_change() {
    let disk = Disk::new();
    let dictionary = Dictionary::open(&disk.files, &[], RoaringBitmap::new()).unwrap();
    let keys: Vec<Vec<u8>> = (0..50).map(|id| key_of(id, 8)).collect();
    insert(&dictionary, &keys);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u64;
            while !done.load(Ordering::Relaxed) || reads == 0 {
                assert_eq!(find(&dictionary, &keys).unwrap(), (0..50).collect::<Vec<_>>());
                reads += 1;
            }
        });
        for round in 0..60 {
            let new: Vec<Vec<u8>> = (0..40).map(|id| key_of(1000 + round * 40 + id, 8)).collect();
            insert(&dictionary, &new);
            disk.persist(&dictionary);
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

/// Any file call of a persist may fail: nothing is lost, and a later one succeeds.
#[test]
fn every_failed_call_is_survived() {
    let keys: Vec<Vec<u8>> = (0..60).map(|id| key_of(id, 8)).collect();
    for call in 1.. {
        let disk = Disk::new();
        let dictionary = Dictionary::open(&disk.files, &[], RoaringBitmap::new()).unwrap();
        insert(&dictionary, &keys[..40]);
        disk.persist(&dictionary);
        insert(&dictionary, &keys[40..]);
        disk.simulated.fail_call(call, Fault::NoSpace);
        let adopted = dictionary.persist(&disk.files, &|| disk.next()).map(|maintained| dictionary.adopt(maintained));
        disk.simulated.heal();
        assert_eq!(find(&dictionary, &keys).unwrap(), (0..60).collect::<Vec<_>>());
        let metas = disk.persist(&dictionary);
        let reopened = Dictionary::open(&disk.files, &metas, RoaringBitmap::new()).unwrap();
        assert_eq!(find(&reopened, &keys).unwrap(), (0..60).collect::<Vec<_>>());
        if adopted.is_ok() {
            assert!(call > 5, "a persist makes several calls");
            return;
        }
    }
}

/// Damages a dictionary file in every place: each answer is an error that says corrupt, or right.
fn survive_damage(width: usize, damage: impl Fn(&Simulated, &str, usize), places: impl Fn(usize) -> usize) {
    let disk = Disk::new();
    let dictionary = Dictionary::open(&disk.files, &[], RoaringBitmap::new()).unwrap();
    let keys: Vec<Vec<u8>> = (0..60).map(|id| key_of(id, width)).collect();
    insert(&dictionary, &keys);
    dictionary.erase(&RoaringBitmap::from([5, 17]));
    let metas = disk.persist(&dictionary);
    let expected = find(&dictionary, &keys).unwrap();
    let (name, length) = (metas[0].name(), metas[0].length as usize);
    let mut refused = 0;
    for place in 0..places(length) {
        let copy = disk.simulated.copy();
        damage(&copy, &name, place);
        let files: Arc<dyn Files> = Arc::new(copy);
        let answer = Dictionary::open(&files, &metas, RoaringBitmap::from([5, 17])).and_then(|dictionary| {
            for ordinal in 0..60 {
                dictionary.key(ordinal)?;
            }
            find(&dictionary, &keys)
        });
        match answer {
            Ok(found) => assert_eq!(found, expected, "place {place}"),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Corrupt, "place {place}: {error}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, places(length), "a small file is read whole, so all damage is found");
}

#[test]
fn every_flipped_byte_is_found() {
    for width in [0, 4, 8] {
        survive_damage(width, Simulated::flip, |length| length);
    }
}

#[test]
fn every_truncation_is_found() {
    for width in [0, 8] {
        survive_damage(width, Simulated::truncate, |length| length);
    }
}

#[test]
fn a_file_of_another_number_is_refused() {
    let disk = Disk::new();
    let dictionary = Dictionary::open(&disk.files, &[], RoaringBitmap::new()).unwrap();
    insert(&dictionary, &(0..60).map(|id| key_of(id, 8)).collect::<Vec<_>>());
    let metas = disk.persist(&dictionary);
    let content = disk.simulated.content(&metas[0].name());
    let mut other = metas.clone();
    other[0].number = 99;
    disk.simulated.plant(&other[0].name(), &content);
    let refused = Dictionary::open(&disk.files, &other, RoaringBitmap::new()).unwrap_err();
    assert_eq!(refused.kind(), Kind::Corrupt);
}
