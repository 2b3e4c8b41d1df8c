//! Import and export from and to addresses: `file:///…`, and the S3 of the tests of `objects/` and, if `FIRN_MOTO` names
//! it, `moto_server`, over a real socket.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use super::{Place, free_port, text};

#[allow(dead_code, reason = "the tests of the door need more of it")]
#[path = "../../../objects/tests/doors/server.rs"]
mod server;

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Files below an address, and how their store is reached.
struct Store<'a> {
    place: &'a Place,
    below: String,
    endpoint: Option<String>,
}

impl Store<'_> {
    fn address(&self, name: &str) -> String {
        format!("{}/{name}", self.below)
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let server = format!("grpc://127.0.0.1:{}", self.place.port);
        let mut command = Command::new(env!("CARGO_BIN_EXE_firn"));
        let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")];
        command.args(arguments).args(["--server", &server]).envs(keys).stdin(Stdio::null());
        let endpoint = self.endpoint.as_ref().map(|endpoint| ["--bucket-endpoint", endpoint]);
        command.args(endpoint.into_iter().flatten()).output().unwrap()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    fn refused(&self, arguments: &[&str], words: &[&str]) {
        let output = self.ask(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}{said}", text(&output.stdout));
        assert!(words.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
    }
}

/// A place with `rows` rows in the table `first`, which make a file of more than one part, and tables to load them into.
fn place(rows: usize) -> Place {
    let place = Place::serving(&[]);
    place.declare(&["first", "by_parquet", "by_csv", "by_arrow", "counted", "several"]);
    let mut lines = "user_id,happened,event,clicks,score,note\n".to_owned();
    for row in 0..rows {
        let hour = row % 24;
        writeln!(lines, "{},2024-03-01T{hour:02}:00:00Z,e{row},{row},{row}.5,note of row {row:060}", row % 70).unwrap();
    }
    place.done(&["import", "first", &place.file("rows.csv", &lines)]);
    place
}

const SUMS: &str = "SELECT count(*), count(DISTINCT note), sum(clicks), sum(score), max(happened) FROM ";

/// What is to be the same of a table and of its copy.
fn sums(place: &Place, table: &str) -> String {
    place.done(&["sql", "--format", "csv", "-c", &format!("{SUMS} history('{table}')")])
}

/// Asserts that what is exported to a store is what it was, in every format, and that errors say what is wrong.
fn goes_out_and_comes_back(store: &Store<'_>) {
    let (place, before) = (store.place, sums(store.place, "first"));
    for ending in ["parquet", "csv", "arrow"] {
        let (address, table) = (store.address(&format!("a%20year/history.{ending}")), format!("by_{ending}"));
        let said = store.done(&["export", "first", "--to", &address, "--history"]);
        assert!(said.contains(" rows to "), "{said}");
        store.refused(&["export", "first", "--to", &address], &["is there already", "--overwrite"]);
        store.done(&["export", "first", "--to", &address, "--history", "--overwrite"]);
        store.done(&["import", &table, &address, "--history"]);
        assert_eq!(sums(place, &table), before, "{ending}");
        let again = store.done(&["import", &table, &address, "--history"]);
        assert!(again.contains("had been sent before"), "{again}");
        assert_eq!(sums(place, &table), before, "{ending}");
    }
    store.refused(&["import", "first", &store.address("absent.csv")], &["absent.csv: could not open it"]);
    store.refused(&["export", "first", "--to", &store.address("rows.data")], &["--format"]);
}

#[test]
fn a_file_of_this_machine_has_an_address_too() {
    let place = place(500);
    std::fs::create_dir(place.path("a year")).unwrap();
    let store = Store { place: &place, below: format!("file://{}", place.directory.path().display()), endpoint: None };
    goes_out_and_comes_back(&store);
    assert!(place.path("a year/history.csv").exists());
    for (address, words) in [("https://host/rows.csv", "gs://BUCKET/KEY"), ("s3://tests/folder/", "names no file")] {
        store.refused(&["import", "first", address], &[address, words]);
        store.refused(&["export", "first", "--to", address], &[address, words]);
    }
}

#[test]
fn a_bucket_takes_exports_and_gives_imports() {
    let place = place(100_000);
    let s3 = server::Server::start();
    let store = Store { place: &place, below: "s3://tests".to_owned(), endpoint: Some(s3.endpoint()) };
    goes_out_and_comes_back(&store);
    let arrow = s3.content("a%20year/history.arrow").unwrap();
    assert!(arrow.len() > 8 << 20, "{} bytes are no parts", arrow.len());
    // Several times all of it, and in few requests.
    s3.requests();
    store.done(&["import", "counted", "s3://tests/a%20year/history.arrow", "--history"]);
    let requests = s3.requests().len();
    assert!(requests < 200, "{requests} requests for {} bytes", arrow.len());
    let refused = ["import", "first", "more.csv", "--bad-rows", "s3://tests/refused.csv"];
    store.refused(&refused, &["--bad-rows s3://tests/refused.csv", "name a file of this machine"]);
    // Several files are one import, wherever each lies, packed or not.
    let row = |number: usize| format!("user_id,happened,event\n{number},2024-03-02T00:00:00Z,e\n");
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(row(2).as_bytes()).unwrap();
    s3.plant("more/1.csv", row(1).as_bytes());
    s3.plant("more/2.csv.gz", &packer.finish().unwrap());
    let both = ["s3://tests/more/1.csv", "s3://tests/more/2.csv.gz", &place.file("3.csv", &row(3))];
    let said = store.done(&[&["import", "several"], &both[..]].concat());
    assert!(said.contains("several: 3 rows"), "{said}");
    // What the store says is told, with the address.
    s3.plan("GET", [server::Reaction::Status(403, "<Code>AccessDenied</Code>")]);
    store.refused(&["import", "several", both[0]], &[both[0], "AccessDenied"]);
    s3.plan("PUT", [server::Reaction::Status(403, "<Code>AccessDenied</Code>")]);
    let to = ["export", "first", "--to", "s3://tests/denied.csv", "--features", "clicks"];
    store.refused(&to, &["could not write s3://tests/denied.csv", "AccessDenied"]);
    assert_eq!(s3.content("denied.csv"), None);
}

#[test]
fn moto_takes_exports_and_gives_imports() {
    let Ok(program) = std::env::var("FIRN_MOTO") else {
        // Said past the test runner, which swallows what passing tests print.
        let message = "left out: set FIRN_MOTO to the path of the server to test against\n";
        std::io::stderr().write_all(message.as_bytes()).unwrap();
        return;
    };
    let place = place(100_000);
    let port = free_port();
    let arguments = ["-H", "127.0.0.1", "-p", &port.to_string()];
    let moto = Command::new(&program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _moto = Running(moto);
    // It takes seconds to start; a machine under load gets a minute.
    let connected = (0..600).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let mut stream = connected.unwrap();
    let credential = "Credential=test/20261126/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let head = format!("PUT /tests HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close");
    stream.write_all(format!("{head}\r\nAuthorization: AWS4-HMAC-SHA256 {credential}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");

    let endpoint = Some(format!("http://127.0.0.1:{port}"));
    let store = Store { place: &place, below: "s3://tests".to_owned(), endpoint };
    goes_out_and_comes_back(&store);
    store.refused(&["import", "first", "s3://nowhere/rows.csv"], &["s3://nowhere/rows.csv", "bucket does not exist"]);
}
