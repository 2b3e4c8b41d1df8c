//! DoGet: a lookup with its entities in the ticket, or a scan.

use std::sync::Arc;

use arrow_flight::FlightData;
use firn_client::wire::{Command, Lookup};
use futures::{Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::answers::{Answering, Question};
use super::shared::Shared;
use super::{Answers, convert, scan};
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
        Command::Lookup(lookup) => Ok(answers(shared.clone(), begin_lookup(shared, lookup)?, permit).boxed()),
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

/// The messages of a single request.
fn answers(
    shared: Arc<Shared>,
    answering: Answering,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<FlightData, Status>> + Send {
    let open = shared.metrics.open("lookup");
    futures::stream::unfold(Some((answering, permit, open)), move |state| {
        let metrics = Arc::clone(&shared.metrics);
        async move {
            let mut state = state?;
            loop {
                let step = match state.0.ready() {
                    Ok(Some(message)) => return Some((Ok(message), Some(state))),
                    Ok(None) if state.0.is_idle() => return None,
                    Ok(None) => state.0.advance().await,
                    Err(status) => Err(status),
                };
                if let Err(status) = step {
                    metrics.failed("lookup", status.code());
                    return Some((Err(status), None));
                }
            }
        }
    })
}
