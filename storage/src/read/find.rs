//! Finding entities by their keys: the one way from keys to ordinals when reading.

use arrow_array::ArrayRef;

use super::resolved::Item;
use crate::dictionary::UNKNOWN;
use crate::error::Result;
use crate::model::catalog::Entity;
use crate::model::key;
use crate::view::EntityState;

/// The known entities among the keys in `columns`, per bucket; `first` is the place of the first of them.
pub(crate) fn find(entity: &Entity, state: &EntityState, columns: &[ArrayRef], first: u32) -> Result<Vec<Vec<Item>>> {
    let keys = key::encode(&entity.key, columns)?;
    let mut places: Vec<Vec<u32>> = vec![Vec::new(); entity.buckets as usize];
    let mut hashes: Vec<u64> = Vec::with_capacity(keys.len());
    for row in 0..keys.len() {
        let bytes = keys.get(row);
        let hash = key::hash(bytes);
        places[key::bucket_of(entity, bytes, hash) as usize].push(row as u32);
        hashes.push(hash);
    }
    let mut ordinals = vec![UNKNOWN; keys.len()];
    let mut items = Vec::with_capacity(places.len());
    for (bucket, places) in places.iter().enumerate() {
        if places.is_empty() {
            items.push(Vec::new());
            continue;
        }
        // The dictionary is locked against its writer meanwhile, so large requests come in pieces.
        for places in places.chunks(FIND_KEYS) {
            state.dictionaries[bucket].find(&keys, places, &hashes, &mut ordinals)?;
        }
        let found = places.iter().map(|&row| Item { place: first + row, ordinal: ordinals[row as usize] });
        items.push(found.filter(|item| item.ordinal != UNKNOWN).collect());
    }
    Ok(items)
}

/// Keys that are looked up in a dictionary at once.
const FIND_KEYS: usize = 8192;
