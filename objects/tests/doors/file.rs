//! Files of users in a bucket: read as they were found, written whole or not at all, whatever the store does.

use std::io::{self, Read};

use firn_objects::file::{File, Files, Located};
use firn_objects::options::Options;
use firn_storage::error::Kind;

use crate::options;
use crate::server::{Reaction, Server};

const SLOW_DOWN: Reaction = Reaction::Status(503, "<Code>SlowDown</Code>");

/// The file at `address`, on the server of the tests or another.
pub(crate) fn file(options: Options, address: &str) -> File {
    match Files::new(options).open(address).unwrap() {
        Located::Object(file) => file,
        Located::Path(path) => panic!("{address} is {}", path.display()),
    }
}

/// More than two parts.
pub(crate) fn large() -> Vec<u8> {
    (0..(20_u32 << 20) + 3).map(|place| (place ^ (place >> 9)) as u8).collect()
}

/// Asserts that `content` goes into `file` and comes out of it, whole and in ranges.
pub(crate) fn takes(file: &File, content: &[u8]) {
    file.write(&mut &*content, content.len() as u64).unwrap();
    let found = file.find().unwrap().unwrap();
    assert_eq!(found.length, content.len() as u64);
    let (middle, length) = (found.length / 3, found.length);
    for range in [0..1, 0..length, middle..length, middle..middle + 1, length - 1..length] {
        let (start, end) = (range.start as usize, range.end as usize);
        assert!(file.read(&found, range).unwrap() == content[start..end], "{start} to {end}");
    }
}

/// Bytes that call `seen` before each read.
struct Watched<'a, F: FnMut()>(&'a [u8], F);

impl<F: FnMut()> Read for Watched<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (self.1)();
        self.0.read(into)
    }
}

#[test]
fn files_of_any_name_and_size_are_written_and_read() {
    let server = Server::start();
    for address in ["s3://tests/rows.csv", "s3://tests/a%20year/day=1/%C3%BC,%2B(1).parquet"] {
        let file = file(options(server.endpoint()), address);
        assert_eq!(file.find().unwrap(), None);
        takes(&file, b"a");
        takes(&file, &large());
        file.write(&mut io::empty(), 0).unwrap();
        assert_eq!(file.find().unwrap().unwrap().length, 0);
    }
}

#[test]
fn a_file_in_parts_is_not_there_before_its_last_byte() {
    let (server, content) = (Server::start(), large());
    let file = file(options(server.endpoint()), "s3://tests/rows.parquet");
    let mut looks = 0;
    let mut planned = false;
    let mut from = Watched(&content, || {
        looks += 1;
        assert_eq!(server.content("rows.parquet"), None);
        // A storm over the parts, and the reply to the end of all is lost.
        if !std::mem::replace(&mut planned, true) {
            server.plan("PUT", [SLOW_DOWN, Reaction::Close, Reaction::Land]);
            server.plan("POST", [Reaction::Land]);
        }
    });
    file.write(&mut from, content.len() as u64).unwrap();
    assert!(looks > 2 && server.is_done());
    assert!(server.content("rows.parquet").unwrap() == content);
    assert_eq!(server.waiting_parts(), 0);
}

#[test]
fn a_write_that_fails_leaves_what_was_there_and_no_parts() {
    let (server, content) = (Server::start(), large());
    let file = file(options(server.endpoint()), "s3://tests/rows.parquet");
    server.plant("rows.parquet", b"before");
    let mut planned = false;
    let mut from = Watched(&content, || {
        // The second part is refused.
        if server.waiting_parts() == 1 && !std::mem::replace(&mut planned, true) {
            server.plan("PUT", [Reaction::Status(403, "<Code>AccessDenied</Code>")]);
        }
    });
    let error = file.write(&mut from, content.len() as u64).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
    for part in ["could not write s3://tests/rows.parquet", "AccessDenied"] {
        assert!(error.message().contains(part), "{error}");
    }
    // What ends early is no file either.
    let error = file.write(&mut &content[1..], content.len() as u64).unwrap_err();
    assert_eq!(error.kind(), Kind::Io, "{error}");
    assert_eq!(server.content("rows.parquet").unwrap(), b"before");
    assert_eq!(server.waiting_parts(), 0);
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_an_error() {
    let server = Server::start();
    let file = file(options(server.endpoint()), "s3://tests/rows.parquet");
    server.plant("rows.parquet", b"before");
    let found = file.find().unwrap().unwrap();
    server.plan("GET", [SLOW_DOWN, Reaction::Cut]);
    assert_eq!(file.read(&found, 1..3).unwrap(), "ef");
    assert!(server.is_done());
    server.plant("rows.parquet", b"behind");
    let error = file.read(&found, 1..3).unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition, "{error}");
    assert!(error.message().contains("s3://tests/rows.parquet: it was replaced"), "{error}");
}

#[test]
fn addresses_name_files() {
    let files = Files::new(options("http://127.0.0.1:1".to_owned()));
    let Located::Path(path) = files.open("file:///var/a%20year.csv").unwrap() else { panic!("it is on this machine") };
    assert_eq!(path.to_str(), Some("/var/a year.csv"));
    for (address, words) in [
        ("s3://tests", "names no file"),
        ("s3://tests/folder/", "names no file"),
        ("s3://tests/a//b", "a key that cannot be"),
        ("s3:///key", "names no bucket"),
        ("https://host/rows.csv", "gs://BUCKET/KEY"),
        ("file://rows.csv", "file:///PATH"),
        ("s3://me:secret@tests/rows.csv", "credentials in the environment"),
    ] {
        let error = files.open(address).unwrap_err();
        assert!(error.kind() == Kind::Invalid && error.message().contains(words), "{address}: {error}");
        assert!(!error.message().contains("secret"), "{error}");
    }
}
