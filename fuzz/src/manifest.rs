//! The manifest: any JSON as its payload, alone and as the root of a database.
//!
//! What is read is the same after it was written again. Put in the place of a real manifest, it names files that are
//! there, are not, or are others; schemas that fit them or do not; and the database opens or says which file is wrong.

use std::sync::Arc;

use firn_storage::database::Database;
use firn_storage::error::Kind;
use firn_storage::io::Files;
use firn_storage::io::simulated::Simulated;
use firn_storage::manifest::Manifest;
use serde_json::Value;

use crate::sample::{everything, options, sample};
use crate::{Verdict, names, seal};

/// Where the payload of a manifest begins.
const PAYLOAD_AT: usize = 32;

pub(crate) fn run(payload: &[u8]) -> Verdict {
    let verdict = alone(payload);
    if verdict == Verdict::Accepted {
        as_root(payload);
    }
    verdict
}

fn alone(payload: &[u8]) -> Verdict {
    let disk = Simulated::new();
    disk.create_directory("manifest").expect("an empty disk");
    disk.plant(&name(7), &seal::manifest(payload, 7));
    match Manifest::open(Arc::new(disk)) {
        Ok(None) => panic!("the manifest is there"),
        Ok(Some(manifest)) => {
            let files: Arc<dyn Files> = Arc::new(Simulated::new());
            let state = serde_json::to_value(&*manifest.state).expect("a manifest is plain data");
            Manifest::create(Arc::clone(&files), (*manifest.state).clone()).expect("an empty disk");
            let again = Manifest::open(files).expect("it was written").expect("it was written");
            assert_eq!(serde_json::to_value(&*again.state).expect("a manifest is plain data"), state);
            Verdict::Accepted
        }
        Err(error) => {
            names(&error, "manifest/");
            assert_eq!(error.kind(), Kind::Corrupt, "{error:?}");
            Verdict::Refused
        }
    }
}

fn as_root(payload: &[u8]) {
    let disk = sample().old.copy();
    let (number, _) = newest(&disk);
    disk.plant(&name(number), &seal::manifest(payload, number));
    match Database::open(options(&disk)) {
        Ok(database) => {
            // What it holds may be wrong, for the manifest decides what is right; but it is said or refused.
            if let Err(error) = everything(&database) {
                assert!(!error.message().is_empty());
            }
            drop(database.close());
        }
        Err(error) => names(&error, "/"),
    }
}

/// The name of the manifest `number`.
pub(crate) fn name(number: u64) -> String {
    format!("manifest/{number:020}.manifest")
}

/// The newest manifest of a disk: its number and its payload.
pub(crate) fn newest(disk: &Simulated) -> (u64, Vec<u8>) {
    let names = disk.names();
    let name = names.iter().rev().find(|name| name.starts_with("manifest/")).expect("a database has a manifest");
    let digits = name.trim_start_matches("manifest/").trim_end_matches(".manifest");
    let payload = disk.content(name).split_off(PAYLOAD_AT);
    (digits.parse().expect("a manifest is named by its number"), payload)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seed = |disk: &Simulated| {
        let mut state: Value = serde_json::from_slice(&newest(disk).1).expect("a manifest is JSON");
        // A random number in every new database.
        state["database"] = Value::from(7);
        state.to_string().into_bytes()
    };
    vec![seed(&sample().young), seed(&sample().old)]
}
