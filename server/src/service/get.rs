//! DoGet: a lookup with its entities in the ticket, or a scan.

use std::sync::Arc;

use arrow_flight::FlightData;
use bytes::Bytes;
use firn_client::wire::{Command, Lookup};
use futures::StreamExt;
use tonic::Status;

use super::answers::{Answering, Question};
use super::resources::granted::{Entry, Granted};
use super::streams::{Answers, Source, stream};
use super::{convert, scan};
use crate::access::Method;
use crate::metrics::{Metrics, OpenGuard};
use crate::refusal::invalid;

/// A lookup in a ticket brings its entities itself.
pub(super) const ENTITIES_MISSING: &str =
    "lookup.entities is missing: name the entities, for example {\"origin\":[\"EWR\"]}";

/// Serves the ticket.
pub(super) async fn serve(entry: Entry, ticket: Bytes) -> Result<Answers<FlightData>, Status> {
    let (resources, bytes, command) = (Arc::clone(&entry.resources), ticket.len(), ticket.clone());
    match entry.resources.of_command(bytes, move || resources.command(&command)).await? {
        Command::Lookup(lookup) => {
            let granted = entry.authorize(Method::DoGet, "lookup")?;
            let answering = entry.resources.of_command(bytes, move || begin_lookup(granted, lookup)).await?;
            let open = entry.resources.metrics.open("lookup");
            Ok(stream(Single { entry, answering, _open: open }).boxed())
        }
        Command::Scan(scan) => scan::serve(entry, scan).await,
        Command::Join(_) => Err(invalid("a join needs the rows of its spine: send it through DoExchange")),
        Command::Put(_) => Err(invalid("a write goes through DoPut, not DoGet")),
    }
}

fn begin_lookup(granted: Granted, lookup: Lookup) -> Result<Answering, Status> {
    if lookup.options.errors_in_band {
        return Err(invalid("lookup.errors: DoGet has no band; its errors are statuses"));
    }
    let Some(entities) = lookup.entities else {
        return Err(invalid(ENTITIES_MISSING));
    };
    let catalog = granted.catalog_asked(lookup.options.schema_version, lookup.options.durable)?;
    let batch = convert::entities_batch(&catalog, &lookup.features, &entities)?;
    let question = Question {
        call: "lookup",
        features: lookup.features,
        as_of: lookup.as_of,
        known_at: lookup.known_at,
        options: lookup.options,
    };
    let schema = batch.schema();
    let mut answering = Answering::new(granted, question, &schema)?;
    answering.ask(batch);
    Ok(answering)
}

/// A lookup and all that it holds while its answer leaves.
struct Single {
    entry: Entry,
    answering: Answering,
    _open: OpenGuard,
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
        (&self.entry.resources.metrics, "lookup")
    }
}
