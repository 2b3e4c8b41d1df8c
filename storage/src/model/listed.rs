//! What a catalog lists: entities or tables in the order of their creation, found by name and by number without a walk.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What has a number that is never used again, and a name.
pub trait Named {
    /// The number.
    fn id(&self) -> u32;
    /// The name.
    fn name(&self) -> &str;
}

/// Shared values in the order of their numbers, each name once.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed<T> {
    items: Vec<Arc<T>>,
    /// The places of the items in the order of their names.
    by_name: Vec<u32>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { items: Vec::new(), by_name: Vec::new() }
    }
}

impl<T: Named> Listed<T> {
    fn place_of(&self, name: &str) -> Result<usize, usize> {
        self.by_name.binary_search_by(|&place| self.items[place as usize].name().cmp(name))
    }

    /// The item called `name`.
    pub fn named(&self, name: &str) -> Option<&Arc<T>> {
        self.place_of(name).ok().map(|at| &self.items[self.by_name[at] as usize])
    }

    /// The item with `id`.
    pub fn with_id(&self, id: u32) -> Option<&Arc<T>> {
        self.items.binary_search_by_key(&id, |item| item.id()).ok().map(|place| &self.items[place])
    }

    /// Adds `item`, or puts it in the place of the one with its number. `false`, and nothing is changed, if that has
    /// another name or the name another number.
    #[must_use]
    pub fn put(&mut self, item: Arc<T>) -> bool {
        match (self.items.binary_search_by_key(&item.id(), |item| item.id()), self.place_of(item.name())) {
            (Ok(place), _) if self.items[place].name() == item.name() => self.items[place] = item,
            (Err(place), Err(at)) => {
                self.by_name.iter_mut().filter(|known| **known as usize >= place).for_each(|known| *known += 1);
                self.by_name.insert(at, place as u32);
                self.items.insert(place, item);
            }
            _ => return false,
        }
        true
    }

    /// Takes out the item with `id`, if there is one.
    pub fn remove(&mut self, id: u32) {
        let Ok(gone) = self.items.binary_search_by_key(&id, |item| item.id()) else { return };
        self.items.remove(gone);
        self.by_name.retain(|&place| place as usize != gone);
        self.by_name.iter_mut().filter(|place| **place as usize > gone).for_each(|place| *place -= 1);
    }

    /// The list of `items`; `None` if a name or number is there twice.
    pub(super) fn of(mut items: Vec<Arc<T>>) -> Option<Self> {
        items.sort_by_key(|item| item.id());
        let mut by_name: Vec<u32> = (0..items.len() as u32).collect();
        by_name.sort_by(|&left, &right| items[left as usize].name().cmp(items[right as usize].name()));
        let list = Self { items, by_name };
        let ids_once = list.items.windows(2).all(|pair| pair[0].id() < pair[1].id());
        let name = |place: &u32| list.items[*place as usize].name();
        let names_once = list.by_name.windows(2).all(|pair| name(&pair[0]) < name(&pair[1]));
        (ids_once && names_once).then_some(list)
    }
}

impl<T> Deref for Listed<T> {
    type Target = [Arc<T>];

    fn deref(&self) -> &[Arc<T>] {
        &self.items
    }
}

impl<'a, T> IntoIterator for &'a Listed<T> {
    type Item = &'a Arc<T>;
    type IntoIter = std::slice::Iter<'a, Arc<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<T: Serialize> Serialize for Listed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.items.iter().map(AsRef::as_ref))
    }
}

impl<'de, T: Deserialize<'de> + Named> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<T>::deserialize(deserializer)?.into_iter().map(Arc::new).collect();
        Self::of(items).ok_or_else(|| serde::de::Error::custom("a name or number of the catalog is there twice"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Thing(u32, String);

    impl Named for Thing {
        fn id(&self) -> u32 {
            self.0
        }

        fn name(&self) -> &str {
            &self.1
        }
    }

    #[test]
    fn what_is_added_and_taken_out_is_found_as_a_walk_would() {
        let mut list = Listed::default();
        let mut plain: Vec<Arc<Thing>> = Vec::new();
        for id in 0..200_u32 {
            let thing = Arc::new(Thing(id, format!("t{}", id * 7_919 % 211)));
            assert!(list.put(Arc::clone(&thing)) && list.put(Arc::clone(&thing)));
            assert!(!list.put(Arc::new(Thing(id, "another name".to_owned()))));
            assert!(!list.put(Arc::new(Thing(id + 1, thing.1.clone()))), "the name is taken");
            plain.push(thing);
            if id % 3 == 2 {
                let gone = id * 31 % (id + 1);
                list.remove(gone);
                plain.retain(|thing| thing.0 != gone);
            }
            assert_eq!(list[..], plain);
            assert_eq!(Listed::of(plain.clone()).as_ref(), Some(&list));
            for asked in 0..=id {
                assert_eq!(list.with_id(asked), plain.iter().find(|thing| thing.0 == asked));
                let name = format!("t{}", asked * 7_919 % 211);
                assert_eq!(list.named(&name), plain.iter().find(|thing| thing.1 == name));
            }
        }
        let twice = vec![Arc::new(Thing(1, "a".to_owned())), Arc::new(Thing(2, "a".to_owned()))];
        assert_eq!(Listed::of(twice), None);
    }
}
