//! A database that statements run against, in this process.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use firn_flight_sql::answer::Answered;
use firn_flight_sql::door::{Caller, Door, IngestRoles, Need};
use firn_flight_sql::limits::Limits;
use firn_flight_sql::moment::Bounds;
use firn_flight_sql::session::Session;
use firn_flight_sql::sql::Sql;
use firn_storage::config::Options;
use firn_storage::database::Database;
use firn_storage::error::{Error, Result};
use firn_storage::model::catalog::Catalog;
use futures::TryStreamExt;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use tempfile::TempDir;

/// Where rows lie when they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As they were written.
    Memory,
    /// All in segments and packs.
    Segments,
}

/// A fresh database.
pub(crate) struct Fresh {
    database: Database,
    sql: Arc<Sql>,
    caller: Caller,
    layout: Layout,
    /// The ingest time of each write.
    known: Vec<i64>,
    _directory: TempDir,
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fresh {:?}", self.layout)
    }
}

/// Everybody may do everything.
#[derive(Debug)]
struct Open(Database);

impl Door for Open {
    fn grant(&self, _need: Need) -> Result<Database> {
        Ok(self.0.clone())
    }

    fn catalog(&self, bounds: &Bounds) -> Result<Arc<Catalog>> {
        self.0.catalog_asked(bounds.schema_version)
    }
}

impl Fresh {
    /// An empty one.
    pub(crate) fn new(layout: Layout) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let options = Options { background: false, ..Options::new(directory.path()) };
        let database = Database::open(options).expect("it opens");
        let sql = Arc::new(Sql::new(Limits { threads: 2, ..Limits::default() }).expect("it begins"));
        let door = Arc::new(Open(database.clone()));
        let session =
            |cookie: Option<String>| Session::of_cookies(cookie.as_deref(), sql.unheard()).expect("a session");
        let session = session(session(None).set_cookie());
        let (session, ingest) = (Arc::new(session), IngestRoles::default());
        let caller = Caller { door, bounds: Bounds::default(), session, ingest, is_java: false };
        Self { database, sql, caller, layout, known: Vec::new(), _directory: directory }
    }

    /// What `statement` answers.
    pub(crate) async fn answer(&self, statement: &str) -> Result<Answered> {
        let caller = Caller { bounds: self.caller.session.bounds(), ..self.caller.clone() };
        self.sql.answer(&caller, statement, Vec::new()).await
    }

    /// The ingest time of the last write.
    async fn last_known(&self) -> Result<i64> {
        let mut last = 0;
        for table in &*self.database.catalog().tables {
            let statement = format!("SELECT CAST(max(ingest_time) AS BIGINT) FROM history('{}')", table.name);
            let Answered::Rows(rows) = self.answer(&statement).await? else { unreachable!("a query answers rows") };
            for batch in rows.batches.try_collect::<Vec<_>>().await? {
                last = last.max(batch.column(0).as_primitive::<Int64Type>().iter().flatten().max().unwrap_or(0));
            }
        }
        Ok(last)
    }

    /// `e(n)` is the event time n, `t(n)` the ingest time of the n-th write.
    fn written_out(&self, statement: &str) -> String {
        let mut out = String::new();
        let mut rest = statement;
        while let Some(at) = rest.find(['e', 't']) {
            let word_before =
                rest[..at].chars().next_back().is_some_and(|before| before.is_alphanumeric() || before == '_');
            let number = rest[at + 1..].strip_prefix('(').and_then(|inside| inside.split_once(')'));
            let number = number.and_then(|(digits, _)| digits.parse::<i64>().ok()).filter(|_| !word_before);
            out.push_str(&rest[..at]);
            let Some(number) = number else {
                out.push_str(&rest[at..=at]);
                rest = &rest[at + 1..];
                continue;
            };
            let micros = if rest[at..].starts_with('e') { number } else { self.known[number as usize - 1] };
            out.push_str(&format!("to_timestamp_micros({micros})"));
            rest = &rest[at + 1 + number.to_string().len() + 2..];
        }
        out + rest
    }
}

#[async_trait::async_trait]
impl AsyncDB for Fresh {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, statement: &str) -> Result<DBOutput<DefaultColumnType>> {
        let statement = self.written_out(statement);
        match self.answer(&statement).await? {
            Answered::Rows(rows) => {
                let types = rows.schema.fields().iter().map(|field| column_type(field.data_type())).collect();
                let batches: Vec<RecordBatch> = rows.batches.try_collect().await?;
                let rows = batches.iter().flat_map(cells).collect();
                Ok(DBOutput::Rows { types, rows })
            }
            Answered::Changed(count) => {
                if statement.starts_with("INSERT") || statement.starts_with("DELETE") {
                    self.known.push(self.last_known().await?);
                    if self.layout == Layout::Segments {
                        self.database.compact(&self.database.catalog(), None)?;
                    }
                }
                Ok(DBOutput::StatementComplete(count))
            }
        }
    }

    async fn shutdown(&mut self) {}
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        data_type if data_type.is_integer() => DefaultColumnType::Integer,
        data_type if data_type.is_floating() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

fn cells(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let formatters: Vec<_> = formatters.collect::<std::result::Result<_, _>>().expect("every type is shown");
    (0..batch.num_rows()).map(|row| formatters.iter().map(|cells| cells.value(row).to_string()).collect()).collect()
}
