//! Plain worlds, for tests that write by hand: one table of few features, and its rows.

use firn_storage::database::EraseRequest;
use firn_storage::objects::Objects;
use serde_json::Value as Json;

use super::keys::KeyShape;
use super::{Batch, Deed, ENTITY, Feature, Sent, Setting, Shape, World};
use crate::oracle::Value;
use crate::types::Type;

/// One unit of event time in these tests, µs.
pub const UNIT: i64 = 1000;

/// A world with a table of these features.
fn of(setting: Setting, features: Vec<Feature>) -> World {
    let mut world = World::new(setting, KeyShape::Composite).expect("a new world");
    world.create_table("t", false, Shape { features, ..Shape::default() }).expect("a table");
    world
}

/// A world with a table of an integer feature.
pub fn of_numbers(setting: Setting) -> World {
    of(setting, vec![Feature::plain(0, "n", Type::Int64)])
}

/// A world with a table of an integer and a text feature.
pub fn of_texts(setting: Setting) -> World {
    of(setting, vec![Feature::plain(0, "n", Type::Int64), Feature::plain(1, "s", Type::Text)])
}

/// A row of the table of [`of_numbers`]: `number` for `entity` at `event` units.
pub fn number(entity: usize, event: i64, number: i64) -> Batch {
    let cells = vec![Some(Value::Int(number.into()))];
    batch(Deed::Write { columns: vec![0], nulls_absent: false }, vec![sent(entity, event, cells)])
}

/// A row of the table of [`of_texts`]: `number` for `entity` at `event` units.
pub fn text(entity: usize, event: i64, number: i64) -> Batch {
    let cells = vec![Some(Value::Int(number.into())), Some(Value::Text(format!("text {number}")))];
    batch(Deed::Write { columns: vec![0, 1], nulls_absent: false }, vec![sent(entity, event, cells)])
}

/// A row of any such table.
pub fn sent(entity: usize, event: i64, cells: Vec<Option<Value>>) -> Sent {
    Sent { entity, event_time: event * UNIT, row_id: None, cells }
}

/// What is done with `rows`.
pub fn batch(deed: Deed, rows: Vec<Sent>) -> Batch {
    Batch { table: 0, deed, rows, ingest_times: None, producer: None, bad_rows: 0 }
}

impl World {
    /// Writes so many of `row`, one after another, to four entities in turn.
    pub fn fill(&mut self, count: i64, row: fn(usize, i64, i64) -> Batch) {
        (0..count).for_each(|number| self.apply(&row(number as usize % 4, number, number)).unwrap());
    }

    /// Erases an entity and answers the receipt.
    pub fn erase_for_receipt(&mut self, entity: usize) -> Json {
        let keys = self.keys.columns(&[entity]).into_iter();
        let keys = keys.map(|(field, values)| (field.name().clone(), values)).collect();
        let request = EraseRequest { entity: ENTITY.to_owned(), keys, block: false };
        let receipt = self.database().erase(&self.database().catalog(), &request).expect("it is removed everywhere");
        self.know_erased(entity);
        receipt
    }

    /// All receipts that the database has.
    pub fn receipts(&self) -> Json {
        self.database().receipts(&self.database().catalog(), ENTITY, 100).expect("an entity")
    }

    /// Looks for the value `secret`, which was erased, in everything that the bucket and the disk have.
    pub fn check_gone(&self, secret: i64) {
        let holds = |bytes: &[u8]| bytes.windows(8).any(|bytes| bytes == secret.to_le_bytes());
        for name in self.objects.names() {
            let bytes = self.objects.get(&name).unwrap().unwrap();
            assert!(!holds(&bytes), "object {name} has the value");
        }
        for name in self.files.names() {
            assert!(!holds(&self.files.content(&name)), "file {name} has the value");
            assert!(!name.starts_with("purging/"), "{name} is left");
        }
    }
}
