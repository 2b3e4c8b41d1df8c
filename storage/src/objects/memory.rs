//! Object storage in memory.
//!
//! It keeps the contract of [`Objects`] to the letter: every call is one step, seen at once by all. Clones share one
//! store. Nothing but tests uses it; [`Faulty`](super::faulty::Faulty) around it is a store that fails.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Creation, Listed, ObjectName, Objects, check_folder, ends_early};
use crate::error::Result;

/// A store in memory.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    objects: Arc<Mutex<BTreeMap<ObjectName, Bytes>>>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store of its own with everything that this one holds.
    pub fn copy(&self) -> Self {
        Self { objects: Arc::new(Mutex::new(self.objects.lock().clone())) }
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<ObjectName> {
        self.objects.lock().keys().cloned().collect()
    }

    /// Flips one bit of the byte at `offset` of `name`.
    pub fn flip(&self, name: &ObjectName, offset: usize) {
        self.change(name, |content| content[offset] ^= 1 << (offset % 8));
    }

    /// Cuts `name` to `length` bytes.
    pub fn truncate(&self, name: &ObjectName, length: usize) {
        self.change(name, |content| {
            assert!(length <= content.len(), "{name} is shorter than {length}");
            content.truncate(length);
        });
    }

    fn change(&self, name: &ObjectName, change: impl FnOnce(&mut Vec<u8>)) {
        let mut objects = self.objects.lock();
        let object = objects.get_mut(name).unwrap_or_else(|| panic!("{name} does not exist"));
        let mut content = object.to_vec();
        change(&mut content);
        *object = content.into();
    }
}

impl Objects for Memory {
    fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Creation> {
        let mut objects = self.objects.lock();
        if objects.contains_key(name) {
            return Ok(Creation::Found);
        }
        objects.insert(name.clone(), bytes);
        Ok(Creation::Created)
    }

    fn put(&self, name: &ObjectName, bytes: Bytes) -> Result<()> {
        self.objects.lock().insert(name.clone(), bytes);
        Ok(())
    }

    fn get(&self, name: &ObjectName) -> Result<Option<Bytes>> {
        Ok(self.objects.lock().get(name).cloned())
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Option<Bytes>> {
        assert!(range.start < range.end, "an empty range of {name} is read");
        let Some(content) = self.get(name)? else { return Ok(None) };
        let length = content.len() as u64;
        if range.end > length {
            return Err(ends_early(name, &range, length));
        }
        // Both ends lie within what is in memory.
        Ok(Some(content.slice(range.start as usize..range.end as usize)))
    }

    fn length(&self, name: &ObjectName) -> Result<Option<u64>> {
        Ok(self.objects.lock().get(name).map(|content| content.len() as u64))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        check_folder(folder)?;
        let objects = self.objects.lock();
        let is_inside = |name: &ObjectName| {
            let inside = name.as_str().strip_prefix(folder);
            folder.is_empty() || inside.is_some_and(|inside| inside.starts_with('/'))
        };
        let inside = objects.iter().filter(|(name, _)| is_inside(name));
        Ok(inside.map(|(name, content)| Listed { name: name.clone(), length: content.len() as u64 }).collect())
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.objects.lock().remove(name);
        Ok(())
    }
}
