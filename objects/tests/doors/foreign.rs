//! S3 by `moto_server` and Azure by `azurite-blob`: servers that are not ours, over a real socket.
//!
//! `FIRN_MOTO` and `FIRN_AZURITE` name the programs. Without them the tests say that they were left out.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use firn_objects::bucket::Bucket;
use firn_objects::options::Options;
use firn_objects::probe::probe;
use firn_storage::error::Kind;
use firn_storage::objects::Objects;
use firn_storage::objects::conformance::{PAGE_OBJECTS, check, race};

use crate::file::{file, large, takes};
use crate::{name, options};

/// A running server, which ends with this.
struct Foreign {
    process: Child,
    port: u16,
}

impl Foreign {
    /// Starts the program that `variable` names, with `arguments` for a port; none if it names none.
    fn start(variable: &str, arguments: impl Fn(&str) -> Vec<String>) -> Option<Self> {
        let Ok(program) = std::env::var(variable) else {
            // Said past the test runner, which swallows what passing tests print.
            let message = format!("left out: set {variable} to the path of the server to test against\n");
            std::io::stderr().write_all(message.as_bytes()).unwrap();
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(&program);
        command.args(arguments(&port.to_string())).stdout(Stdio::null()).stderr(Stdio::null());
        let foreign = Self { process: command.spawn().unwrap(), port };
        // It takes seconds to start; a machine under load gets a minute.
        let started = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        assert!(started, "{program} does not listen");
        Some(foreign)
    }

    /// Creates a bucket, which is no call of the door.
    fn create_bucket(&self, request: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request =
            format!("{request}\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", self.port);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asserts that the bucket that `open` opens keeps every promise.
fn serves(open: impl Fn() -> Arc<dyn Objects>) {
    let objects = open();
    check(&objects, "a/folder", PAGE_OBJECTS + 5).unwrap();
    race(&objects, "a/folder", 16, 10).unwrap();
    probe(objects.as_ref(), open().as_ref()).unwrap();
    assert_eq!(objects.list("").unwrap(), []);
}

/// Asserts that a file is taken at `address`, small and in parts, and that one that changed is not taken for what was found.
fn takes_files(options: Options, address: &str) {
    let file = file(options, address);
    takes(&file, b"a");
    let found = file.find().unwrap().unwrap();
    takes(&file, &large());
    assert_eq!(file.read(&found, 0..1).unwrap_err().kind(), Kind::Precondition);
}

/// Asserts that an object in a bucket that does not exist is not said to be absent.
fn is_no_bucket(objects: &dyn Objects) {
    for error in [
        objects.get(&name("a")).unwrap_err(),
        objects.length(&name("a")).unwrap_err(),
        objects.list("").unwrap_err(),
        objects.put_new(&name("a"), "x".into()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Precondition, "{error}");
        assert!(error.message().contains("the bucket does not exist"), "{error}");
    }
}

#[test]
fn s3_by_moto_keeps_the_contract_and_passes_the_probe() {
    let arguments = |port: &str| ["-H", "127.0.0.1", "-p", port].map(str::to_owned).to_vec();
    let Some(moto) = Foreign::start("FIRN_MOTO", arguments) else { return };
    let options = options(format!("http://127.0.0.1:{}", moto.port));
    is_no_bucket(Bucket::open("s3://nowhere/prod", &options).unwrap().as_ref());
    let credential = "Credential=test/20261126/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    moto.create_bucket(&format!("PUT /tests HTTP/1.1\r\nAuthorization: AWS4-HMAC-SHA256 {credential}"));
    serves(|| Bucket::open("s3://tests/prod", &options).unwrap());
    takes_files(options, "s3://tests/a%20year/rows.csv");
}

#[test]
fn azure_by_azurite_keeps_the_contract_and_passes_the_probe() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().display().to_string();
    let arguments = |port: &str| {
        // Without the first it tells its makers of each run.
        let flags = ["--disableTelemetry", "--silent", "--skipApiVersionCheck"];
        let place = ["--blobHost", "127.0.0.1", "--blobPort", port, "--location", &location];
        flags.iter().chain(&place).map(|&argument| argument.to_owned()).collect()
    };
    let Some(azurite) = Foreign::start("FIRN_AZURITE", arguments) else { return };
    // The account and the key that the emulator has for everybody.
    let account = "devstoreaccount1";
    let key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    let settings = [("AZURE_STORAGE_ACCOUNT_NAME", account), ("AZURE_STORAGE_ACCOUNT_KEY", key)];
    let options = Options {
        endpoint: Some(format!("http://127.0.0.1:{}/{account}", azurite.port)),
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..Options::default()
    };
    is_no_bucket(Bucket::open("az://nowhere/prod", &options).unwrap().as_ref());
    // Allows everything to everybody until 2099, signed with that key.
    let signature = "K%2BOQqJj6KnEczTtcVU385IwXLAzlxsauImxanI94hY0%3D";
    let rights = "sv=2018-11-09&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00:00:00Z&spr=https,http";
    let token = format!("{rights}&sig={signature}");
    azurite.create_bucket(&format!("PUT /{account}/tests?restype=container&{token} HTTP/1.1"));
    serves(|| Bucket::open("az://tests/prod", &options).unwrap());
    takes_files(options, "az://tests/a%20year/rows.csv");
}
