//! DoGet: a lookup with its entities in the ticket, or a scan.

use std::sync::Arc;

use arrow_flight::FlightData;
use firn_client::wire::{Command, Lookup};
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::answers::{Answering, Question};
use super::shared::Shared;
use super::source::{Source, stream};
use super::{Answers, convert, scan};
use crate::metrics::{Metrics, OpenGuard};
use crate::status::invalid;

/// A lookup in a ticket brings its entities itself.
pub(super) const ENTITIES_MISSING: &str =
    "lookup.entities is missing: name the entities, for example {\"origin\":[\"EWR\"]}";

/// Serves the ticket.
pub(super) async fn serve(
    shared: Arc<Shared>,
    ticket: &[u8],
    permit: OwnedSemaphorePermit,
) -> Result<Answers<FlightData>, Status> {
    match shared.command(ticket)? {
        Command::Lookup(lookup) => {
            let answering = begin_lookup(Arc::clone(&shared), lookup)?;
            let open = shared.metrics.open("lookup");
            Ok(stream(Single { shared, answering, _open: open, _permit: permit }).boxed())
        }
        Command::Scan(scan) => scan::serve(shared, scan, permit).await,
        Command::Join(_) => Err(invalid("a join needs the rows of its spine: send it through DoExchange")),
        Command::Put(_) => Err(invalid("a write goes through DoPut, not DoGet")),
    }
}

fn begin_lookup(shared: Arc<Shared>, lookup: Lookup) -> Result<Answering, Status> {
    if lookup.options.errors_in_band {
        return Err(invalid("lookup.errors: DoGet has no band; its errors are statuses"));
    }
    let Some(entities) = lookup.entities else {
        return Err(invalid(ENTITIES_MISSING));
    };
    let catalog = shared.database.catalog();
    let batch = convert::entities_batch(&catalog, &lookup.features, &entities)?;
    let question = Question {
        call: "lookup",
        features: lookup.features,
        as_of: lookup.as_of,
        known_at: lookup.known_at,
        options: lookup.options,
    };
    let schema = batch.schema();
    let mut answering = Answering::new(shared, question, &schema)?;
    answering.ask(batch);
    Ok(answering)
}

/// A lookup and all that it holds while its answer leaves.
struct Single {
    shared: Arc<Shared>,
    answering: Answering,
    _open: OpenGuard,
    _permit: OwnedSemaphorePermit,
}

impl Source for Single {
    type Message = FlightData;

    async fn next(&mut self) -> Result<Option<FlightData>, Status> {
        loop {
            match self.answering.ready()? {
                Some(message) => return Ok(Some(message)),
                None if self.answering.is_idle() => return Ok(None),
                None => self.answering.advance().await?,
            }
        }
    }

    fn counted(&self) -> (&Metrics, &'static str) {
        (&self.shared.metrics, "lookup")
    }
}
