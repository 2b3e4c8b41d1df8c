//! The contract of the door, for a directory and for S3 over the wire.

use std::sync::Arc;

use firn_objects::bucket::Bucket;
use firn_objects::options::Options;
use firn_storage::objects::Objects;
use firn_storage::objects::conformance::{PAGE_OBJECTS, check, race};
use firn_storage::objects::faulty::Faulty;
use firn_storage::objects::memory::Memory;

use crate::bucket;
use crate::server::Server;

#[test]
fn a_directory_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("file://{}/deep/er", folder.path().display());
    let objects = Bucket::open(&address, &Options::default()).unwrap();
    check(&objects, "a/folder", 300).unwrap();
    check(&objects, "other", 10).unwrap();
}

#[test]
fn s3_over_the_wire_keeps_the_contract() {
    let server = Server::start();
    // What others keep in the bucket is nobody's business.
    for key in ["prodigal/file", "prod/.hidden", "prod/not ours", "elsewhere"] {
        server.plant(key, b"theirs");
    }
    let objects = bucket(&server);
    check(&objects, "a/folder", PAGE_OBJECTS + 5).unwrap();
    race(&objects, "a/folder", 16, 10).unwrap();
    assert_eq!(objects.list("").unwrap(), []);
}

#[test]
fn a_store_in_memory_keeps_the_contract_also_behind_what_could_fail() {
    let memory: Arc<dyn Objects> = Arc::new(Memory::new());
    check(&memory, "a/folder", 100).unwrap();
    let faulty: Arc<dyn Objects> = Arc::new(Faulty::new(memory));
    check(&faulty, "a/folder", 100).unwrap();
    race(&faulty, "a/folder", 16, 40).unwrap();
}
