//! Random calls on a door and on a map answer alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use firn_objects::local::Local;
use firn_storage::error::Kind;
use firn_storage::objects::memory::Memory;
use firn_storage::objects::{Creation, Listed, Objects};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::server::Server;
use crate::{bucket, name};

/// Names of which none is a folder of another, so that a directory can hold them all.
const NAMES: [&str; 6] = ["a", "a-b", "b/c", "b/cd/e", "b/cd/f", "bc/d"];
const FOLDERS: [&str; 6] = ["", "b", "b/cd", "bc", "a", "none"];

#[derive(Debug, Clone)]
enum Call {
    Create(usize, Vec<u8>),
    Put(usize, Vec<u8>),
    Get(usize),
    Range(usize, u64, u64),
    Length(usize),
    List(usize),
    Delete(usize),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let object = 0..NAMES.len();
    let content = || vec(any::<u8>(), 0..40);
    let call = prop_oneof![
        3 => (object.clone(), content()).prop_map(|(at, content)| Call::Create(at, content)),
        3 => (object.clone(), content()).prop_map(|(at, content)| Call::Put(at, content)),
        2 => object.clone().prop_map(Call::Get),
        3 => (object.clone(), 0..40_u64, 1..40_u64).prop_map(|(at, start, count)| Call::Range(at, start, count)),
        1 => object.clone().prop_map(Call::Length),
        2 => (0..FOLDERS.len()).prop_map(Call::List),
        2 => object.prop_map(Call::Delete),
    ];
    vec(call, 1..60)
}

/// Makes `calls` on `objects` and on a map.
fn compare(objects: &dyn Objects, calls: Vec<Call>) -> Result<(), TestCaseError> {
    let mut map: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for (number, call) in calls.into_iter().enumerate() {
        match call {
            Call::Create(at, mut content) => {
                // No two creates send the same bytes.
                content.extend(number.to_le_bytes());
                let expected = if map.contains_key(NAMES[at]) { Creation::Found } else { Creation::Created };
                prop_assert_eq!(objects.put_new(&name(NAMES[at]), content.clone().into()).unwrap(), expected);
                map.entry(NAMES[at]).or_insert(content);
            }
            Call::Put(at, content) => {
                objects.put(&name(NAMES[at]), content.clone().into()).unwrap();
                map.insert(NAMES[at], content);
            }
            Call::Get(at) => {
                let read = objects.get(&name(NAMES[at])).unwrap();
                prop_assert_eq!(read.as_deref(), map.get(NAMES[at]).map(Vec::as_slice));
            }
            Call::Range(at, start, count) => {
                let read = objects.get_range(&name(NAMES[at]), start..start + count);
                let whole = map.get(NAMES[at]);
                match whole.map(|whole| whole.get(start as usize..(start + count) as usize)) {
                    None => prop_assert_eq!(read.unwrap(), None),
                    Some(None) => prop_assert_eq!(read.unwrap_err().kind(), Kind::Corrupt),
                    Some(Some(part)) => prop_assert_eq!(read.unwrap().unwrap(), part),
                }
            }
            Call::Length(at) => {
                let expected = map.get(NAMES[at]).map(|content| content.len() as u64);
                prop_assert_eq!(objects.length(&name(NAMES[at])).unwrap(), expected);
            }
            Call::List(at) => {
                let below = |name: &str| FOLDERS[at].is_empty() || name.starts_with(&format!("{}/", FOLDERS[at]));
                let inside = map.iter().filter(|(name, _)| below(name));
                let expected: Vec<Listed> =
                    inside.map(|(key, content)| Listed { name: name(key), length: content.len() as u64 }).collect();
                prop_assert_eq!(objects.list(FOLDERS[at]).unwrap(), expected);
            }
            Call::Delete(at) => {
                objects.delete(&name(NAMES[at])).unwrap();
                map.remove(NAMES[at]);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_in_memory_is_a_map(calls in calls()) {
        compare(&Memory::new(), calls)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_directory_is_a_map(calls in calls()) {
        let folder = tempfile::tempdir().unwrap();
        compare(&Local::open(folder.path()).unwrap(), calls)?;
    }

    #[test]
    fn s3_over_the_wire_is_a_map(calls in calls()) {
        let server = Server::start();
        let objects: Arc<dyn Objects> = bucket(&server);
        compare(objects.as_ref(), calls)?;
    }
}
