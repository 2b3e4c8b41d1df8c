//! The client: one short method for each thing that FirnDB does.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_flight::{Action, FlightDescriptor, Ticket};
use arrow_schema::{Schema, SchemaRef};
use serde_json::{Value, json};

use crate::connection::{self, Options, Stub};
use crate::declare::{EntityDeclaration, TableDeclaration};
use crate::error::{Error, Result};
use crate::exchange::{self, Answered, Answers, Requests};
use crate::retry::Retry;
use crate::scan::{self, Parts};
use crate::wire::{
    Blocked, Command, Erase, Join, Lookup, ProducerStep, Producers, ProducersOf, Put, Receipts, Scan, TableName,
};
use crate::write::{Writer, Written};

/// A connection to FirnDB. Clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    stub: Stub,
    retry: Retry,
}

impl Client {
    /// Connects to the server at `url` (`grpc://host:port`).
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(&Options::new(url)).await
    }

    /// Connects with all options.
    pub async fn connect_with(options: &Options) -> Result<Self> {
        Ok(Self { stub: connection::connect(options).await?, retry: options.retry })
    }

    /// The calls of Arrow Flight on this connection, with its credentials: for what has no method here, such as SQL.
    pub fn flight(&self) -> Stub {
        self.stub.clone()
    }

    /// Runs any action once.
    pub async fn action(&self, name: &str, body: &Value) -> Result<Value> {
        let action = Action::new(name, body.to_string());
        let mut results = self.stub.clone().do_action(action).await?.into_inner();
        let missing = || Error::unreadable(format!("the action {name} answered nothing"));
        let result = results.message().await?.ok_or_else(missing)?;
        serde_json::from_slice(&result.body).map_err(Error::unreadable)
    }

    /// Runs an action that changes nothing, again if the server is away.
    async fn ask(&self, name: &str, table: Option<&str>) -> Result<Value> {
        let body = TableName { name: table.map(str::to_owned) }.encode();
        self.retry.run(|| self.action(name, &body)).await
    }

    /// Declares an entity and answers its full declaration.
    pub async fn create_entity(&self, entity: &EntityDeclaration) -> Result<Value> {
        self.action("create_entity", &entity.body()).await
    }

    /// Declares a feature table and answers its full declaration.
    pub async fn create_table(&self, table: &TableDeclaration) -> Result<Value> {
        self.action("create_table", &table.body()).await
    }

    /// Changes a table (the body of `alter_table`) and answers its full declaration.
    pub async fn alter_table(&self, change: &Value) -> Result<Value> {
        self.action("alter_table", change).await
    }

    /// Removes a table and all its rows.
    pub async fn drop_table(&self, table: &str) -> Result<Value> {
        self.action("drop_table", &json!({ "table": table })).await
    }

    /// Removes an entity that has no tables.
    pub async fn drop_entity(&self, entity: &str) -> Result<Value> {
        self.action("drop_entity", &json!({ "entity": entity })).await
    }

    /// Ends the history load of a table.
    pub async fn seal_table(&self, table: &str) -> Result<Value> {
        self.ask("seal_table", Some(table)).await
    }

    /// The declared tables.
    pub async fn list_tables(&self) -> Result<Value> {
        self.ask("list_tables", None).await
    }

    /// The declared entities.
    pub async fn list_entities(&self) -> Result<Value> {
        self.ask("list_entities", None).await
    }

    /// The full declaration of a table.
    pub async fn describe_table(&self, table: &str) -> Result<Value> {
        self.ask("describe_table", Some(table)).await
    }

    /// How the server is.
    pub async fn status(&self) -> Result<Value> {
        self.ask("status", None).await
    }

    /// Writes what is in memory into segments, of one table or of all.
    pub async fn flush(&self, table: Option<&str>) -> Result<Value> {
        self.ask("flush", table).await
    }

    /// Merges segments, of one table or of all.
    pub async fn compact(&self, table: Option<&str>) -> Result<Value> {
        self.ask("compact", table).await
    }

    /// Freezes segments, of one table or of all: their cells go to the bucket as Parquet.
    pub async fn freeze(&self, table: Option<&str>) -> Result<Value> {
        self.ask("freeze", table).await
    }

    /// Keeps the database as it is now in its bucket, by this name, until it is dropped. Answers the checkpoint.
    pub async fn create_checkpoint(&self, name: &str) -> Result<Value> {
        self.action("create_checkpoint", &json!({ "checkpoint": name })).await
    }

    /// The checkpoints, the oldest first.
    pub async fn list_checkpoints(&self) -> Result<Value> {
        self.ask("list_checkpoints", None).await
    }

    /// Lets a checkpoint go.
    pub async fn drop_checkpoint(&self, name: &str) -> Result<Value> {
        self.action("drop_checkpoint", &json!({ "checkpoint": name })).await
    }

    /// The last number of each producer of a table whose batch is durable and readable.
    pub async fn producers(&self, table: &str) -> Result<BTreeMap<String, u64>> {
        self.numbers(ProducersOf { table: table.to_owned(), producer: None }).await
    }

    /// The last number of one producer of a table, from which it goes on; `None` if it has sent nothing.
    pub async fn producer(&self, table: &str, producer: &str) -> Result<Option<u64>> {
        let asked = ProducersOf { table: table.to_owned(), producer: Some(producer.to_owned()) };
        Ok(self.numbers(asked).await?.get(producer).copied())
    }

    async fn numbers(&self, asked: ProducersOf) -> Result<BTreeMap<String, u64>> {
        let answer = self.action("producers", &asked.encode()).await?;
        let answer: Producers = serde_json::from_value(answer)
            .map_err(|error| Error::unreadable(format!("the answer of `producers` does not read: {error}")))?;
        Ok(answer.producers)
    }

    /// Removes every row of entities for good and answers the receipt.
    pub async fn erase(&self, erase: &Erase) -> Result<Value> {
        self.action("erase", &erase.encode()).await
    }

    /// The receipts of erases: what each found, when its last byte went, and from where.
    pub async fn receipts(&self, receipts: &Receipts) -> Result<Value> {
        let body = receipts.encode();
        self.retry.run(|| self.action("receipts", &body)).await
    }

    /// How many entities an erase has blocked, and which of those named.
    pub async fn blocked(&self, blocked: &Blocked) -> Result<Value> {
        let body = blocked.encode();
        self.retry.run(|| self.action("blocked", &body)).await
    }

    /// Takes rows again of entities that an erase has blocked.
    pub async fn unblock(&self, blocked: &Blocked) -> Result<Value> {
        self.action("unblock", &blocked.encode()).await
    }

    /// Opens a stream of writes, deletes or retracts of batches with `schema`.
    ///
    /// It must be called inside a tokio runtime, which reads the acknowledgements.
    pub fn writer(&self, put: Put, schema: SchemaRef) -> Writer {
        Writer::open(self.stub.clone(), put, schema)
    }

    /// Writes one batch and waits until it is durable and readable. It is not tried again: it may have arrived.
    pub async fn write(&self, put: Put, batch: &RecordBatch) -> Result<Written> {
        let mut writer = self.writer(put, batch.schema());
        let sent = writer.send(batch).await;
        finish(writer, sent).await
    }

    /// Writes one batch of a producer (`put.producer`), again if the server goes away: it is applied exactly once.
    pub async fn write_step(&self, put: &Put, batch: &RecordBatch, step: ProducerStep) -> Result<Written> {
        if put.producer.is_none() {
            return Err(Error::invalid("a producer step needs the name of its producer in `put.producer`"));
        }
        self.retry.run(|| self.one_step(put, batch, step)).await
    }

    async fn one_step(&self, put: &Put, batch: &RecordBatch, step: ProducerStep) -> Result<Written> {
        let mut writer = self.writer(put.clone(), batch.schema());
        let sent = writer.send_step(batch, step).await;
        finish(writer, sent).await
    }

    /// Looks up the features of one batch of entities.
    pub async fn lookup(&self, lookup: &Lookup, entities: &RecordBatch) -> Result<Answered> {
        let command = Command::Lookup(lookup.clone());
        self.retry.run(|| exchange::ask(self.stub.clone(), &command, entities)).await
    }

    /// Joins a spine that fits into one batch.
    pub async fn join(&self, join: &Join, spine: &RecordBatch) -> Result<Answered> {
        let command = Command::Join(join.clone());
        self.retry.run(|| exchange::ask(self.stub.clone(), &command, spine)).await
    }

    /// The columns that a write takes, or that a scan answers.
    pub async fn schema(&self, command: &Command) -> Result<Schema> {
        self.retry.run(|| self.schema_once(command)).await
    }

    async fn schema_once(&self, command: &Command) -> Result<Schema> {
        let descriptor = FlightDescriptor::new_cmd(command.encode());
        let found = self.stub.clone().get_schema(descriptor).await?.into_inner();
        Schema::try_from(&found).map_err(Error::unreadable)
    }

    /// Opens a stream of lookups whose requests have `schema`; send and receive at the same time to pipeline them.
    pub async fn lookups(&self, lookup: Lookup, schema: SchemaRef) -> Result<(Requests, Answers)> {
        exchange::open(self.stub.clone(), &Command::Lookup(lookup), schema).await
    }

    /// Opens a join whose spine has `schema`; send and receive at the same time to stream it.
    pub async fn joins(&self, join: Join, schema: SchemaRef) -> Result<(Requests, Answers)> {
        exchange::open(self.stub.clone(), &Command::Join(join), schema).await
    }

    /// Joins a whole spine, sending it while answers come; the answers are those of its batches, in order.
    pub async fn join_all(&self, join: Join, spine: &[RecordBatch]) -> Result<Vec<Answered>> {
        let Some(first) = spine.first() else { return Ok(Vec::new()) };
        let (mut requests, mut answers) = self.joins(join, first.schema()).await?;
        let send = async move {
            for batch in spine {
                // The answers say why a stream has ended.
                if requests.send(batch).await.is_err() {
                    break;
                }
            }
        };
        let receive = async {
            let mut received = Vec::with_capacity(spine.len());
            while let Some(answered) = answers.answer().await? {
                received.push(answered);
            }
            Ok(received)
        };
        let ((), received) = tokio::join!(send, receive);
        received
    }

    /// Divides a scan into parts.
    pub async fn scan(&self, scan: &Scan) -> Result<Parts> {
        self.retry.run(|| Parts::ask(self.stub.clone(), scan.clone())).await
    }

    /// Reads one part of a scan, counted from 0.
    pub async fn scan_part(&self, parts: &Parts, part: usize) -> Result<Answers> {
        scan::get(self.stub.clone(), parts.ticket(part)?).await
    }

    /// Reads what a command asks for without sending rows: a lookup with entities, or a scan.
    pub async fn get(&self, command: &Command) -> Result<Answers> {
        scan::get(self.stub.clone(), Ticket::new(command.encode())).await
    }
}

/// The end of a stream of one batch. Why it was refused matters more than that it could not be sent.
async fn finish(writer: Writer, sent: Result<()>) -> Result<Written> {
    let (written, end) = writer.finish().await;
    end?;
    sent?;
    Ok(written)
}
