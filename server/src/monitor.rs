//! Metrics and health over HTTP, on a port of their own, so that a scrape never competes with requests.
//!
//! `/metrics` answers OpenMetrics text, `/health` says that the process lives, `/ready` that it takes requests, writes
//! among them.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use firn_storage::database::Database;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Scrapes that are served at once; more wait.
const SCRAPES_MAX: usize = 16;
/// How long a connection may take to send its request.
const HEADER_WAIT_MAX: Duration = Duration::from_secs(10);

/// What the monitor answers from.
#[derive(Debug)]
pub struct Monitor {
    /// All metrics.
    pub registry: Registry,
    /// Whether requests are taken.
    pub serving: AtomicBool,
    /// What they are put to.
    pub database: Database,
}

impl Monitor {
    /// Whether the server does all that it is there for: requests are taken, and writes too.
    fn is_ready(&self) -> bool {
        self.serving.load(Ordering::Relaxed) && !self.database.is_poisoned()
    }
}

/// Serves `monitor` until the task is aborted.
pub async fn serve(listener: TcpListener, monitor: Arc<Monitor>) {
    let scrapes = Arc::new(Semaphore::new(SCRAPES_MAX));
    loop {
        let Ok(permit) = Arc::clone(&scrapes).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("could not accept a connection to the metrics port: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let monitor = Arc::clone(&monitor);
        tokio::spawn(async move {
            let answers = service_fn(move |request| {
                let response = answer(&monitor, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut connection = http1::Builder::new();
            connection.timer(TokioTimer::new()).header_read_timeout(HEADER_WAIT_MAX).keep_alive(false);
            if let Err(error) = connection.serve_connection(TokioIo::new(stream), answers).await {
                tracing::debug!("a connection to the metrics port ended: {error}");
            }
            drop(permit);
        });
    }
}

fn answer(monitor: &Monitor, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/metrics" => metrics(&monitor.registry),
        "/health" => text(StatusCode::OK, "ok\n"),
        "/ready" if monitor.is_ready() => text(StatusCode::OK, "ready\n"),
        "/ready" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        _ => text(StatusCode::NOT_FOUND, "here are /metrics, /health and /ready\n"),
    }
}

fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    let mut encoded = String::new();
    if prometheus_client::encoding::text::encode(&mut encoded, registry).is_err() {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be encoded\n");
    }
    let mut response = Response::new(Full::new(Bytes::from(encoded)));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
}
