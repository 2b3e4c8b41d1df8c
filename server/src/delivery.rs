//! Delivery of answers: in pieces, and given up when a client takes nothing of one for too long.
//!
//! The transport asks for a piece only while the client has room. A client that stops reading therefore keeps alive
//! all that stands behind its answer: rows, a snapshot, its share of the memory for requests. [`Deliveries::watch`]
//! drops those after `answer-stall-max`; what the transport holds by then is one piece and its own small buffer, and
//! the client finds a status that says what happened.
//!
//! This is no limit on work: an answer that is still computed, or a stream that waits for its client's next request,
//! is never given up. Nor are the acknowledgements of DoPut, which a client may read as late as it likes.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::{HeaderMap, Request, Response};
use parking_lot::Mutex;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower_service::Service;

use crate::metrics::Metrics;
use crate::refusal::exhausted;

/// The most that the transport is handed at once, and holds for a client that stopped: a message as most clients take
/// it. Cutting costs time, so only larger messages, which a command must ask for, are cut.
const PIECE_BYTES_MAX: usize = 4 << 20;
/// The calls whose answers are watched.
const WATCHED: [&str; 2] = ["DoExchange", "DoGet"];

/// All answers on their way.
#[derive(Debug)]
pub struct Deliveries {
    stall_max: Duration,
    metrics: Arc<Metrics>,
    open: Mutex<Vec<Weak<Mutex<Delivery>>>>,
}

impl Deliveries {
    /// No answers yet; each may stall for `stall_max`.
    pub fn new(stall_max: Duration, metrics: Arc<Metrics>) -> Self {
        Self { stall_max, metrics, open: Mutex::default() }
    }

    /// Gives up stalled answers until the task is aborted.
    pub async fn watch(self: Arc<Self>) {
        let pause = (self.stall_max / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            tokio::time::sleep(pause).await;
            self.give_up_stalled();
        }
    }

    fn give_up_stalled(&self) {
        self.open.lock().retain(|delivery| delivery.strong_count() > 0);
        let open = self.open.lock().clone();
        for delivery in open.iter().filter_map(Weak::upgrade) {
            // One that is locked is being asked for a piece, so it does not stall.
            let given_up = delivery.try_lock().and_then(|mut delivery| delivery.give_up(self.stall_max));
            if let Some(body) = given_up {
                drop(body);
                self.metrics.stalled_answers.inc();
                tracing::warn!("an answer was given up: its client took nothing of it for {:?}", self.stall_max);
            }
        }
    }

    fn deliver(&self, body: Body) -> Body {
        let delivery = Delivery { body: Some(body), rest: Bytes::new(), handed: None, stall_max: self.stall_max };
        let delivery = Arc::new(Mutex::new(delivery));
        self.open.lock().push(Arc::downgrade(&delivery));
        Body::new(Pieces(delivery))
    }
}

/// One answer on its way.
struct Delivery {
    /// What makes the answer; none once it was given up.
    body: Option<Body>,
    /// What is left of the frame that is being handed over.
    rest: Bytes,
    /// Since when a piece lies with the transport; none while there is nothing for the client to take.
    handed: Option<Instant>,
    stall_max: Duration,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("given_up", &self.body.is_none()).field("handed", &self.handed).finish()
    }
}

impl Delivery {
    /// Everything behind the answer, to be dropped, if its client has taken nothing for `stall_max`.
    fn give_up(&mut self, stall_max: Duration) -> Option<Body> {
        self.handed.filter(|handed| handed.elapsed() >= stall_max)?;
        self.rest = Bytes::new();
        self.body.take()
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.handed = None;
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(self.given_up()) };
        match std::task::ready!(Pin::new(body).poll_frame(context)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    self.piece()
                }
                Err(trailers) => trailers,
            }))),
            end => Poll::Ready(end),
        }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        self.handed = Some(Instant::now());
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE_BYTES_MAX)))
    }

    /// The end of an answer that was given up, as its client finds it.
    fn given_up(&self) -> Option<Result<Frame<Bytes>, Status>> {
        let status = exhausted(format!(
            "the client took nothing of the answer for {:?} (answer-stall-max), so it was given up; ask again, and read \
             answers as they come",
            self.stall_max
        ));
        let mut trailers = HeaderMap::new();
        Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.as_ref().is_some_and(HttpBody::is_end_stream)
    }
}

/// The body that the transport asks for pieces.
struct Pieces(Arc<Mutex<Delivery>>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.lock().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// A service whose answers are delivered by [`Deliveries`].
#[derive(Debug, Clone)]
pub struct Delivered<S> {
    service: S,
    deliveries: Arc<Deliveries>,
}

impl<S> Delivered<S> {
    /// `service` with its answers watched by `deliveries`.
    pub fn new(service: S, deliveries: Arc<Deliveries>) -> Self {
        Self { service, deliveries }
    }
}

impl<S: NamedService> NamedService for Delivered<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Delivered<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = request.uri().path().rsplit('/').next();
        let watched = call.is_some_and(|call| WATCHED.contains(&call));
        let answering = self.service.call(request);
        if !watched {
            return answering.boxed();
        }
        let deliveries = Arc::clone(&self.deliveries);
        async move { answering.await.map(|response| response.map(|body| deliveries.deliver(body))) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    fn deliveries(stall_max: Duration) -> Deliveries {
        Deliveries::new(stall_max, Arc::new(Metrics::new()))
    }

    #[tokio::test]
    async fn pieces_add_up_to_the_answer() {
        let answer: Bytes = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
        let mut body = deliveries(Duration::from_secs(60)).deliver(Body::new(Full::new(answer.clone())));
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
        }
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX));
        assert_eq!(pieces.concat(), answer);
    }

    #[tokio::test]
    async fn what_nobody_takes_is_given_up_and_says_so() {
        let deliveries = deliveries(Duration::ZERO);
        let mut body = deliveries.deliver(Body::new(Full::new(Bytes::from(vec![0; 3 * PIECE_BYTES_MAX]))));
        deliveries.give_up_stalled();
        assert_eq!(deliveries.metrics.stalled_answers.get(), 0, "nothing was handed over, so nothing stalls");
        assert!(body.frame().await.unwrap().unwrap().is_data());
        deliveries.give_up_stalled();
        deliveries.give_up_stalled();
        assert_eq!(deliveries.metrics.stalled_answers.get(), 1);
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers.get("grpc-status").unwrap(), "8");
        assert!(trailers.get("grpc-message").unwrap().to_str().unwrap().contains("answer-stall-max"));
    }

    #[tokio::test]
    async fn what_was_taken_to_its_end_is_forgotten() {
        let deliveries = deliveries(Duration::ZERO);
        let mut body = deliveries.deliver(Body::new(Full::new(Bytes::from_static(b"answer"))));
        while body.frame().await.is_some() {}
        drop(body);
        deliveries.give_up_stalled();
        assert!(deliveries.open.lock().is_empty());
        assert_eq!(deliveries.metrics.stalled_answers.get(), 0);
    }
}
