//! DoExchange: request batches in, answers out, in order and pipelined.
//!
//! The response stream itself does the work when the transport polls it, so a small lookup is read, answered and sent
//! on one task without a hop. The transport polls only while the client takes what was sent: backpressure is the
//! absence of polling.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_flight::FlightData;
use arrow_schema::SchemaRef;
use firn_client::wire::Command;
use futures::{Stream, StreamExt};
use tonic::Status;

use super::answers::{Answering, Question};
use super::decoding::Decoding;
use super::resources::granted::{Entry, Granted};
use super::streams::{Messages, Source, stream};
use crate::access::Method;
use crate::framing::Decoded;
use crate::metrics::{Metrics, OpenGuard};
use crate::refusal::{invalid, unavailable};

/// The error of a join that was left open for too long.
const SNAPSHOT_EXPIRED: &str = "the join's snapshot is older than snapshot-age-max; open another stream, with \"position\" to \
                                read the same commits";

/// One stream of requests and answers.
struct Exchange {
    entry: Entry,
    input: Messages,
    decoding: Decoding,
    /// What is asked, until the columns of the requests are known.
    question: Option<(Granted, Question)>,
    /// How long the command is.
    command_bytes: usize,
    answering: Option<Answering>,
    open: Option<OpenGuard>,
    call: &'static str,
    /// No further requests come: the client is done, or the stream ends with this error after what was asked before.
    ended: Option<Result<(), Status>>,
}

/// Serves a stream.
pub(super) fn serve(entry: Entry, input: Messages) -> impl Stream<Item = Result<FlightData, Status>> + Send {
    stream(Exchange {
        decoding: Decoding::new(&entry.resources),
        entry,
        input,
        question: None,
        command_bytes: 0,
        answering: None,
        open: None,
        call: "exchange",
        ended: None,
    })
}

/// What the stream waited for.
enum Event {
    /// A chunk of an answer is done.
    Advanced(Result<(), Status>),
    /// The client sent something, or is done.
    Received(Option<Result<FlightData, Status>>),
    /// The snapshot of a join has reached its greatest age while nothing was asked.
    Expired,
    /// The server stops.
    ShuttingDown,
}

impl Source for Exchange {
    type Message = FlightData;

    async fn next(&mut self) -> Result<Option<FlightData>, Status> {
        loop {
            if let Some(answering) = &mut self.answering {
                if let Some(message) = answering.ready()? {
                    return Ok(Some(message));
                }
                if let (true, Some(ended)) = (answering.is_idle(), &self.ended) {
                    return ended.clone().map(|()| None);
                }
            } else if let Some(ended) = self.ended.take() {
                return ended.map(|()| None);
            }
            match self.wait().await {
                Event::Advanced(advanced) => advanced?,
                Event::Received(Some(Ok(message))) => {
                    if let Err(status) = self.receive(message).await {
                        self.ended = Some(Err(status));
                    }
                }
                Event::Received(None) => self.ended = Some(Ok(())),
                Event::Received(Some(Err(status))) => self.ended = Some(Err(status)),
                Event::Expired => self.ended = Some(Err(unavailable(SNAPSHOT_EXPIRED))),
                Event::ShuttingDown => {
                    self.ended =
                        Some(Err(unavailable("the server is shutting down; what was asked before is answered")));
                }
            }
        }
    }

    fn counted(&self) -> (&Metrics, &'static str) {
        (&self.entry.resources.metrics, self.call)
    }
}

impl Exchange {
    /// Waits for the first of: a chunk that is done, a message from the client if there is room, the shutdown.
    async fn wait(&mut self) -> Event {
        let reading = self.ended.is_none() && self.answering.as_ref().is_none_or(Answering::has_room);
        let expires = self.answering.as_ref().and_then(Answering::expires);
        let answering = &mut self.answering;
        let advanced = async {
            match answering {
                Some(answering) => answering.advance().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            advanced = advanced => Event::Advanced(advanced),
            received = self.input.next(), if reading => Event::Received(received),
            () = until(expires), if reading => Event::Expired,
            () = self.entry.stopping.cancelled(), if reading => Event::ShuttingDown,
        }
    }

    async fn receive(&mut self, message: FlightData) -> Result<(), Status> {
        if self.question.is_none() && self.answering.is_none() {
            self.begin(&message).await?;
        }
        let bytes = message.data_body.len();
        match self.decoding.run(bytes, move |decoder| decoder.decode(message)).await? {
            Decoded::Nothing | Decoded::Dictionary => Ok(()),
            Decoded::Schema(schema) => self.plan(schema).await,
            Decoded::Batch(batch) => self.ask(batch),
        }
    }

    /// Reads the command of the first message.
    async fn begin(&mut self, message: &FlightData) -> Result<(), Status> {
        let descriptor = message.flight_descriptor.as_ref();
        let command = descriptor.map(|descriptor| &descriptor.cmd).filter(|command| !command.is_empty());
        let command = command.ok_or_else(|| {
            invalid("the first message has no command; put {\"lookup\":{…}} or {\"join\":{…}} in its descriptor")
        })?;
        let resources = Arc::clone(&self.entry.resources);
        let (bytes, command) = (command.len(), command.clone());
        let question = self.entry.resources.of_command(bytes, move || question(resources.command(&command)?)).await?;
        self.command_bytes = bytes;
        self.call = question.call;
        let granted = self.entry.authorize(Method::DoExchange, question.call)?;
        self.open = Some(self.entry.resources.metrics.open(question.call));
        self.question = Some((granted, question));
        Ok(())
    }

    async fn plan(&mut self, schema: SchemaRef) -> Result<(), Status> {
        let asked = self.question.take();
        let (granted, question) = asked.ok_or_else(|| invalid("the stream has a second schema"))?;
        let planning = move || Answering::new(granted, question, &schema);
        self.answering = Some(self.entry.resources.of_command(self.command_bytes, planning).await?);
        Ok(())
    }

    fn ask(&mut self, batch: RecordBatch) -> Result<(), Status> {
        let answering = self.answering.as_mut().ok_or_else(|| invalid("rows came before a schema"))?;
        answering.ask(batch);
        Ok(())
    }
}

/// Waits until `moment`; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// The lookup or join of a command.
fn question(command: Command) -> Result<Question, Status> {
    match command {
        Command::Lookup(lookup) if lookup.entities.is_some() => {
            Err(invalid("lookup.entities belongs to DoGet; here the entities come as record batches"))
        }
        Command::Lookup(lookup) => Ok(Question {
            call: "lookup",
            features: lookup.features,
            as_of: lookup.as_of,
            known_at: lookup.known_at,
            options: lookup.options,
        }),
        Command::Join(join) => Ok(Question {
            call: "join",
            features: join.features,
            as_of: join.as_of,
            known_at: join.known_at,
            options: join.options,
        }),
        Command::Put(_) => Err(invalid("a write goes through DoPut, not DoExchange")),
        Command::Scan(_) => Err(invalid("a scan goes through GetFlightInfo and DoGet, not DoExchange")),
    }
}
