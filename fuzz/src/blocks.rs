//! Files of checked blocks: any bytes as a dictionary, a pack, older schema versions or erasures of a database.
//!
//! The first byte chooses which file of the sample the rest takes the place of; the manifest is told its length and
//! checksum. The database opens, and answers every entity or refuses, or says which file is wrong.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use firn_storage::database::Database;
use firn_storage::error::{Kind, Result};
use firn_storage::io::simulated::Simulated;
use firn_storage::read::{Bound, FeatureReference, PointRequest};
use serde_json::Value;

use crate::manifest::{name, newest};
use crate::sample::{NOW, everything, options, sample};
use crate::{Verdict, names, seal};

/// The letters of files of schema versions.
const VERSIONS: [u8; 4] = *b"VERS";

/// A dictionary, a pack, schema versions or erasures of the sample.
struct Held {
    name: String,
    number: u64,
    letters: [u8; 4],
}

fn held() -> Vec<Held> {
    let held = |name: &String| {
        let (letters, number) = match name.split_once('/')? {
            ("dictionaries", file) => (*b"DICT", file.strip_suffix(".dictionary")?),
            ("packs", file) => (*b"PACK", file.strip_suffix(".pack")?),
            ("versions", file) => (VERSIONS, file.strip_suffix(".versions")?),
            ("erasures", file) => (*b"ERAS", file.strip_suffix(".erasures")?),
            _ => return None,
        };
        Some(Held { name: name.clone(), number: number.parse().ok()?, letters })
    };
    sample().old.names().iter().filter_map(held).collect()
}

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let Some((choice, bytes)) = bytes.split_first() else { return Verdict::Refused };
    let held = held();
    let file = &held[*choice as usize % held.len()];
    let disk = sample().old.copy();
    let mut bytes = bytes.to_vec();
    let crc = seal::blocks(&mut bytes, file.letters, file.number);
    disk.plant(&file.name, &bytes);
    tell_manifest(&disk, file.number, bytes.len() as u64, crc);
    let told = Database::open(options(&disk)).and_then(|database| {
        let told = (everything(&database)?, latest(&database)?);
        database.close().map(|()| told)
    });
    match told {
        Ok(_) => Verdict::Accepted,
        // A schema that fits no other file may be told by any of them.
        Err(error) if file.letters == VERSIONS => {
            assert!(!error.message().is_empty());
            Verdict::Refused
        }
        Err(error) => {
            assert!(matches!(error.kind(), Kind::Corrupt | Kind::Precondition), "{error:?}");
            // A key that is none is found by whoever decodes it, far from its file.
            if !error.message().contains("encoded key") {
                names(&error, &file.name);
            }
            Verdict::Refused
        }
    }
}

/// Gives the file `number` another length and checksum in the manifest.
fn tell_manifest(disk: &Simulated, number: u64, length: u64, crc: u64) {
    let (manifest, payload) = newest(disk);
    let mut state: Value = serde_json::from_slice(&payload).expect("a manifest is JSON");
    tell(&mut state, number, length, crc);
    disk.plant(&name(manifest), &seal::manifest(state.to_string().as_bytes(), manifest));
}

fn tell(value: &mut Value, number: u64, length: u64, crc: u64) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| tell(value, number, length, crc)),
        Value::Object(fields) => {
            if fields.get("number") == Some(&Value::from(number)) && fields.contains_key("crc") {
                fields.insert("length".to_owned(), Value::from(length));
                fields.insert("crc".to_owned(), Value::from(crc));
            }
            fields.values_mut().for_each(|value| tell(value, number, length, crc));
        }
        _ => {}
    }
}

/// The latest features of every airport, which packs hold.
fn latest(database: &Database) -> Result<Vec<RecordBatch>> {
    let airports: ArrayRef =
        Arc::new(StringArray::from(vec!["EWR", "JFK", "LGA", "", "a rather long name of an airport", "none"]));
    let rows = RecordBatch::try_from_iter([("origin", airports)]).expect("one column");
    let read = |table: &str| {
        let feature = FeatureReference {
            table: table.to_owned(),
            feature: "*".to_owned(),
            rename: None,
            prefix: None,
            entity: Vec::new(),
        };
        let request = PointRequest {
            features: vec![feature],
            as_of: Bound::Latest,
            known_at: Bound::Latest,
            position: None,
            durable: false,
            schema_version: None,
            clock: Some(NOW),
            status: true,
            event_times: true,
            keep_null_keys: false,
            max_age: None,
            standing: None,
        };
        let plan = database.plan(&database.catalog(), &request, &rows.schema())?;
        let snapshot = database.snapshot(&plan, &rows)?;
        database.read(&plan, &snapshot, &rows)
    };
    ["weather", "flights"].into_iter().map(read).collect()
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seed = |(choice, file): (usize, Held)| [vec![choice as u8], sample().old.content(&file.name)].concat();
    held().into_iter().enumerate().map(seed).collect()
}
