//! Answers of lookups and joins, in the order of their requests.
//!
//! A small lookup is answered where it came in. Any other request is cut into [`Chunks`], at the [`Moment`] that its
//! command says, and its answer leaves through [`Outgoing`] as the client takes it. So a stream holds a bounded number
//! of chunks, and a client that stops reading stops being read.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_schema::{Field, Schema, SchemaRef};
use firn_client::wire::{Answer, Bound, FeatureReference, ReadOptions};
use firn_storage::read;
use firn_storage::read::digest::Digest;
use tonic::Status;

use super::chunks::{Answered, Asked, Chunk, Chunks, Held, Reading};
use super::convert;
use super::moment::Moment;
use super::outgoing::Outgoing;
use super::resources::granted::Granted;
use crate::refusal::{self, from_error, invalid};

/// A lookup or a join, read but not yet planned.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// `lookup` or `join`.
    pub call: &'static str,
    /// What to answer.
    pub features: Vec<FeatureReference>,
    /// The event bound.
    pub as_of: Bound,
    /// The knowledge bound.
    pub known_at: Bound,
    /// How to answer.
    pub options: ReadOptions,
}

/// The chunk that is leaving.
struct Leaving {
    request: u64,
    last: bool,
    rows: u64,
    started: Instant,
    _memory: Held,
}

/// The answering side of one stream.
pub(super) struct Answering {
    granted: Granted,
    question: Question,
    reading: Arc<Reading>,
    moment: Moment,
    chunks: Chunks,
    leaving: Option<Leaving>,
    outgoing: Outgoing,
    /// The request that failed: its later chunks are dropped.
    failed: Option<u64>,
    digest: Option<Digest>,
    requests: u64,
}

impl Answering {
    /// Plans `question` over requests with `schema`; the first message out is the schema of the answers.
    pub(super) fn new(granted: Granted, question: Question, schema: &Schema) -> Result<Self, Status> {
        let message_bytes = granted.resources().message_bytes(question.options.max_message_bytes)?;
        let request =
            convert::point_request(&question.features, &question.as_of, &question.known_at, &question.options)?;
        let at_least = convert::at_least(granted.database(), &question.options, &granted.resources().limits)?;
        let catalog = granted.catalog_asked(request.schema_version, request.durable)?;
        let plan = granted.database().plan(&catalog, &request, schema).map_err(|error| from_error(&error))?;
        let plan = Arc::new(plan);
        let is_join = question.call == "join";
        let joined = is_join.then(|| joined(schema, plan.schema())).transpose()?;
        let outgoing = Outgoing::new(joined.as_ref().unwrap_or(plan.schema()).clone(), message_bytes);
        let waits = request.as_of != read::Bound::Latest || request.known_at != read::Bound::Latest;
        let moment = Moment::new(&granted, &plan, at_least, is_join, waits);
        let reading = Arc::new(Reading { granted: granted.clone(), plan, joined });
        let chunks = Chunks::new(&reading);
        Ok(Self {
            granted,
            question,
            reading,
            moment,
            chunks,
            leaving: None,
            outgoing,
            failed: None,
            digest: None,
            requests: 0,
        })
    }

    /// When the snapshot of the stream may be used no more.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.moment.expires()
    }

    /// Whether another request may be given.
    pub(super) fn has_room(&self) -> bool {
        self.outgoing.is_empty() && self.chunks.has_room()
    }

    /// Whether everything given has been answered.
    pub(super) fn is_idle(&self) -> bool {
        self.outgoing.is_empty() && self.chunks.is_empty()
    }

    /// Gives the next request.
    pub(super) fn ask(&mut self, batch: RecordBatch) {
        let started = Instant::now();
        let request = self.requests;
        self.requests += 1;
        if self.reading.is_small(&batch)
            && let Some(snapshot) = self.moment.at_once(&batch)
        {
            let answered = snapshot.and_then(|snapshot| self.reading.answer(snapshot, &batch));
            if let Some(answered) = answered.transpose() {
                let (outcome, memory) = match answered {
                    Ok((answered, memory)) => (Ok(answered), memory),
                    Err(error) => (Err(from_error(&error)), Held::default()),
                };
                let rows = batch.num_rows() as u64;
                self.chunks.answered(Chunk { request, last: true, rows, started, outcome, memory });
                return;
            }
        }
        let snapshot = self.moment.pin(&batch);
        self.chunks.ask(Asked { request, batch, started }, snapshot);
    }

    /// The next message, if one can be had without waiting for a chunk.
    pub(super) fn ready(&mut self) -> Result<Option<FlightData>, Status> {
        loop {
            match (self.outgoing.next(), &self.leaving) {
                (Ok(message), _) => {
                    if self.outgoing.is_empty() {
                        self.left();
                    }
                    return Ok(message);
                }
                (Err(status), Some(Leaving { request, .. })) => self.fail(*request, status)?,
                (Err(status), None) => return Err(status),
            }
        }
    }

    /// Waits until the next chunk is done; forever if there is none.
    pub(super) async fn advance(&mut self) -> Result<(), Status> {
        let chunk = self.chunks.next().await;
        self.leave(chunk)
    }

    fn leave(&mut self, Chunk { request, last, rows, started, outcome, memory }: Chunk) -> Result<(), Status> {
        if self.failed == Some(request) {
            return Ok(());
        }
        self.failed = None;
        let Answered { answer, snapshot, erased_since } = match outcome {
            Ok(answered) => answered,
            Err(status) => return self.fail(request, status),
        };
        self.leaving = Some(Leaving { request, last, rows, started, _memory: memory });
        let mut metadata = Answer {
            request,
            last,
            read_position: Some(snapshot.position().to_string()),
            durable_position: snapshot.durable_position().map(|position| position.to_string()),
            clock: Some(snapshot.clock()),
            schema_version: Some(snapshot.schema_version()),
            erased_since: erased_since.map(|position| position.to_string()),
            digest: None,
            error: None,
        };
        let digests = self.question.options.digest;
        if let (read::Answer::Plain(plain), false) = (&answer, digests)
            && self.outgoing.put_whole(plain, &metadata)
        {
            return Ok(());
        }
        let batch = answer.into_batch().map_err(|error| from_error(&error))?;
        if digests {
            let digest = self.digest.get_or_insert_with(|| Digest::new(self.outgoing.schema()));
            digest.update(&batch).map_err(|error| from_error(&error))?;
            if last {
                metadata.digest = self.digest.take().map(|digest| digest.finish());
            }
        }
        self.outgoing.put(batch, metadata);
        Ok(())
    }

    /// Counts the chunk whose last message has been taken.
    fn left(&mut self) {
        if let Some(Leaving { last: true, rows, started, .. }) = self.leaving.take() {
            self.granted.resources().metrics.answered(self.question.call, 1, rows, started.elapsed());
        }
    }

    /// Ends the request with an error: in band if the command says so, else the stream ends with it.
    fn fail(&mut self, request: u64, status: Status) -> Result<(), Status> {
        self.digest = None;
        self.leaving = None;
        if !self.question.options.errors_in_band {
            return Err(refusal::at(&status, &format!("request {request}")));
        }
        self.granted.resources().metrics.failed(self.question.call, status.code());
        self.failed = Some(request);
        self.chunks.give_up(request);
        let metadata = Answer { request, last: true, error: Some(refusal::in_band(&status)), ..Answer::default() };
        self.outgoing.put(RecordBatch::new_empty(Arc::clone(self.outgoing.schema())), metadata);
        Ok(())
    }
}

/// The columns of the spine followed by the features.
pub(super) fn joined(spine: &Schema, features: &Schema) -> Result<SchemaRef, Status> {
    if let Some(field) = features.fields().iter().find(|field| spine.index_of(field.name()).is_ok()) {
        let name = field.name();
        return Err(invalid(format!(
            "the spine already has a column `{name}`; rename the feature with \"as\", or the table's features with \"prefix\""
        )));
    }
    let fields: Vec<Arc<Field>> = spine.fields().iter().chain(features.fields()).cloned().collect();
    Ok(Arc::new(Schema::new(fields)))
}
