//! The FirnDB server: Arrow Flight in front of the storage engine.
//!
//! [`Server::start`] serves in-process (tests, the demo, benches); the binary `firn` is a command line over it. The
//! server holds no state of its own: it reads commands (`firn_client::wire`), asks the engine, and frames answers.

pub mod access;
pub mod command;
pub mod config;
pub mod connection;
pub mod delivery;
pub mod demo;
pub mod framing;
mod guard;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod monitor;
mod print;
pub mod refusal;
pub mod service;
pub mod serving_thread;
pub mod signals;
mod transfer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_flight::flight_service_server::FlightServiceServer;
use firn_flight_sql::service::FlightSql;
use firn_storage::config::Options;
use firn_storage::database::Database;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic_health::ServingStatus;

use access::Rights;
use config::{Config, Limits};
use delivery::{Delivered, Deliveries};
use metrics::Metrics;
use monitor::Monitor;
use service::{Firn, Resources};
use serving_thread::{Doors, ServingThread};

/// HTTP/2 window of a stream and of a connection: the default of 64 KiB limits throughput.
const WINDOW_BYTES: u32 = 8 << 20;
/// The name under which gRPC health checks ask.
const SERVICE_NAME: &str = "arrow.flight.protocol.FlightService";

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    database: Database,
    /// Stops the server when it is dropped.
    serving: DropGuard,
    monitor: Arc<Monitor>,
    wait_max: std::time::Duration,
    threads: Vec<ServingThread>,
    accepting: JoinHandle<()>,
    delivering: JoinHandle<()>,
    monitoring: Option<JoinHandle<()>>,
}

impl Server {
    /// Opens the database and serves it. Must be called inside a Tokio runtime.
    pub async fn start(config: Config) -> Result<Self, String> {
        config.check()?;
        let (options, bucket) = (config.storage.clone(), config.bucket.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let (home, follow) = (bucket.open()?, bucket.open_followed()?);
            Database::open(Options { home, follow, ..options })
        })
        .await;
        let database = opened.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Self::serve(config, database).await
    }

    /// Serves `database`, which is closed when the server stops.
    pub async fn serve(config: Config, database: Database) -> Result<Self, String> {
        Self::serve_callers(config, database, Rights::all()).await
    }

    /// [`Server::serve`] for callers who have `rights`.
    async fn serve_callers(config: Config, database: Database, rights: Rights) -> Result<Self, String> {
        let metrics = Arc::new(Metrics::new());
        let registry = metrics.registry(&database);
        let monitor = Arc::new(Monitor { registry, serving: AtomicBool::new(false), database: database.clone() });
        let stopping = CancellationToken::new();
        let listener = bind(config.listen).await?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let (mut metrics_address, mut monitoring) = (None, None);
        if let Some(wanted) = config.metrics {
            let listener = bind(wanted).await?;
            metrics_address = listener.local_addr().ok();
            monitoring = Some(tokio::spawn(monitor::serve(listener, Arc::clone(&monitor))));
        }

        let limits = Arc::new(config.limits);
        let sql = FlightSql::begin(config.sql).map_err(|error| error.to_string())?;
        let resources = Resources::new(
            database.clone(),
            sql,
            &config.storage,
            rights,
            Arc::clone(&limits),
            Arc::clone(&metrics),
            stopping.clone(),
        );
        let flight = flight(resources, &limits);
        let (health, health_service) = tonic_health::server::health_reporter();
        for name in ["", SERVICE_NAME] {
            health.set_service_status(name, ServingStatus::Serving).await;
        }
        let deliveries = Arc::new(Deliveries::new(limits.answer_stall_max, Arc::clone(&metrics)));
        let delivering = tokio::spawn(Arc::clone(&deliveries).watch());
        let start = |number| {
            let router = transport(&limits)
                .add_service(health_service.clone())
                .add_service(Delivered::new(flight.clone(), Arc::clone(&deliveries)));
            let ending = stopping.clone();
            ServingThread::start(number, |connections| async move {
                if let Err(error) = router.serve_with_incoming_shutdown(connections, ending.cancelled()).await {
                    tracing::warn!("serving ended with an error: {error}");
                }
            })
        };
        let threads = (0..limits.serving_threads).map(start).collect::<Result<Vec<_>, _>>()?;
        let doors = Doors::new(&threads);
        let (connections_max, greeting_wait) = (limits.connections_max, limits.keepalive_timeout);
        let until = stopping.clone();
        let accepting = tokio::spawn(async move {
            listener::accept(listener, doors, connections_max, greeting_wait, metrics, until).await;
            for name in ["", SERVICE_NAME] {
                health.set_service_status(name, ServingStatus::NotServing).await;
            }
        });
        monitor.serving.store(true, Ordering::Relaxed);
        tracing::info!(%address, "serving Arrow Flight");
        let wait_max = limits.shutdown_wait_max;
        Ok(Self {
            address,
            metrics_address,
            database,
            serving: stopping.drop_guard(),
            monitor,
            wait_max,
            threads,
            accepting,
            delivering,
            monitoring,
        })
    }

    /// Where Flight is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are served.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The address as a client writes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The database behind the server.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Stops accepting, finishes what was accepted, and closes the database.
    pub async fn stop(mut self) -> Result<(), String> {
        self.monitor.serving.store(false, Ordering::Relaxed);
        drop(self.serving);
        let ended = futures::future::join_all(self.threads.iter_mut().map(ServingThread::ended));
        if tokio::time::timeout(self.wait_max, ended).await.is_err() {
            tracing::warn!("requests still ran after {:?} (shutdown-wait-max) and were cut off", self.wait_max);
            self.threads.iter().for_each(ServingThread::abort);
            futures::future::join_all(self.threads.iter_mut().map(ServingThread::ended)).await;
        }
        self.accepting.abort();
        self.delivering.abort();
        if let Some(monitoring) = self.monitoring {
            monitoring.abort();
        }
        let database = self.database;
        let closed = tokio::task::spawn_blocking(move || database.close()).await;
        closed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

/// Flight within the limits of a message.
fn flight(resources: Resources, limits: &Limits) -> FlightServiceServer<Firn> {
    FlightServiceServer::new(Firn::new(Arc::new(resources)))
        .max_decoding_message_size(limits.message_bytes_max)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
}

/// HTTP/2 within the limits of a connection.
fn transport(limits: &Limits) -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .http2_max_pending_accept_reset_streams(Some(limits.stream_resets_max))
        .http2_max_local_error_reset_streams(Some(limits.stream_errors_max))
        .http2_max_header_list_size(limits.header_bytes_max)
        .max_connection_age(limits.connection_age_max)
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("could not listen on {address}: {error}"))
}
