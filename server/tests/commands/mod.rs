//! The command line, end to end: the real binary against its own server, in directories of its own.

mod address;
mod bucket;
mod demo;
mod mend;
mod show;
mod sql;
mod transfer;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use firn_client::wire::Put;
use firn_client::{Client, EntityDeclaration, FeatureDeclaration, TableDeclaration};
use tokio::runtime::Runtime;

use super::times;

/// A data directory, files beside it, and perhaps a server.
struct Place {
    directory: tempfile::TempDir,
    server: Option<Child>,
    port: u16,
    metrics: u16,
    runtime: Runtime,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn firn(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firn")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, server: None, port: 0, metrics: 0, runtime: Runtime::new().unwrap() }
    }

    fn serving(more: &[&str]) -> Self {
        let mut place = Self::new();
        place.serve(more);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.name(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Starts a server and waits until it answers.
    fn serve(&mut self, more: &[&str]) {
        (self.port, self.metrics) = (free_port(), free_port());
        let log = std::fs::File::create(self.path("server.log")).unwrap();
        // Upkeep runs when a test says so, unless it asks for more.
        let background = if more.is_empty() { &["--background=false"][..] } else { &[] };
        let child = Command::new(env!("CARGO_BIN_EXE_firn"))
            .args(["serve", "--data", self.data().to_str().unwrap()])
            .args(background)
            .args([
                "--listen",
                &format!("127.0.0.1:{}", self.port),
                "--metrics",
                &format!("127.0.0.1:{}", self.metrics),
            ])
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.server = Some(child.unwrap());
        for _ in 0..500 {
            if self.ask(&["status"]).status.success() {
                return;
            }
            if self.server.as_mut().is_some_and(|server| server.try_wait().unwrap().is_some()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not start: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Runs a command against the server.
    fn ask(&self, arguments: &[&str]) -> Output {
        let server = format!("grpc://127.0.0.1:{}", self.port);
        firn(&[arguments, &["--server", &server]].concat())
    }

    /// The same, which must succeed; what it printed.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// The same, of an import that loads all rows but those that it sets aside.
    fn partly(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// The same, which must fail; what it said.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stderr)
    }

    fn client(&self) -> Client {
        self.runtime.block_on(Client::connect(&format!("grpc://127.0.0.1:{}", self.port))).unwrap()
    }

    /// Declares the entity `user` and tables of an integer, a number and a text.
    fn declare(&self, tables: &[&str]) {
        let client = self.client();
        let entity = EntityDeclaration::new("user").key("user_id", "int64").buckets(2);
        self.runtime.block_on(client.create_entity(&entity)).unwrap();
        for table in tables {
            let features = [("clicks", "int64"), ("score", "float64"), ("note", "utf8")];
            let table = TableDeclaration::new(table, "user", "happened").row_id("event", "utf8");
            let add = |table: TableDeclaration, (name, kind)| table.feature(FeatureDeclaration::new(name, kind));
            self.runtime.block_on(client.create_table(&features.into_iter().fold(table, add))).unwrap();
        }
    }

    fn put(&self, put: Put, batch: &RecordBatch) {
        self.runtime.block_on(self.client().write(put, batch)).unwrap();
    }

    /// All rows of the history of a table as text, without what differs from load to load.
    fn history(&self, table: &str) -> Vec<String> {
        let file = self.name(&format!("history-of-{table}.arrow"));
        self.done(&["export", table, "--to", &file, "--history", "--overwrite"]);
        rows_of(Path::new(&file), &["sequence", "row"])
    }
}

/// The rows of an Arrow file as text, sorted, without some columns.
fn rows_of(path: &Path, without: &[&str]) -> Vec<String> {
    let reader = arrow_ipc::reader::FileReader::try_new(std::fs::File::open(path).unwrap(), None).unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let schema = batch.schema();
        let columns =
            schema.fields().iter().zip(batch.columns()).filter(|(field, _)| !without.contains(&field.name().as_str()));
        let columns: Vec<_> = columns.collect();
        for row in 0..batch.num_rows() {
            let cell = |(field, array): &(&std::sync::Arc<arrow_schema::Field>, &arrow_array::ArrayRef)| {
                let value = arrow_cast::display::array_value_to_string(array, row).unwrap();
                format!("{}={}{value}", field.name(), if arrow_array::Array::is_null(array, row) { "null" } else { "" })
            };
            rows.push(columns.iter().map(cell).collect::<Vec<_>>().join(" "));
        }
    }
    rows.sort();
    rows
}

/// Rows of one user and event, without features.
fn identities(users: &[i64], hours: &[i64], events: Option<&[Option<&str>]>) -> RecordBatch {
    let users = std::sync::Arc::new(Int64Array::from(users.to_vec())) as arrow_array::ArrayRef;
    let mut columns = vec![("user_id", users, true), ("happened", times(hours), true)];
    if let Some(events) = events {
        columns.push(("event", std::sync::Arc::new(StringArray::from(events.to_vec())), true));
    }
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}
