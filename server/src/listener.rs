//! Accepting connections: bounded in number, each counted until it closes, each given to a thread that serves.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::Peer;
use crate::connection::{Accepted, Counted};
use crate::metrics::Metrics;
use crate::serving_thread::Doors;

/// How long accepting rests after an error such as too many open files.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Accepts the connections of `listener`, at most `connections_max` open at once, until the server stops. It never
/// fails: an error of accepting is logged, and accepting goes on after a pause.
pub async fn accept(
    listener: TcpListener,
    doors: Doors,
    connections_max: usize,
    greeting_wait: Duration,
    metrics: Arc<Metrics>,
    stopping: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, next(&listener).await)
        };
        let (place, (stream, peer)) = tokio::select! {
            next = next => next,
            () = stopping.cancelled() => return,
        };
        let Ok(place) = place else { return };
        doors.enter(|of_thread| {
            let counted = Counted::new(Arc::clone(&metrics), place, of_thread);
            Accepted { stream, peer, greeting_wait, counted }
        });
    }
}

async fn next(listener: &TcpListener) -> (std::net::TcpStream, Peer) {
    loop {
        let accepted = listener.accept().await.and_then(|(stream, address)| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!("could not turn off Nagle's algorithm: {error}");
            }
            Ok((stream.into_std()?, Peer { address }))
        });
        match accepted {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!("could not accept a connection: {error}");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}
