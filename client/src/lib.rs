//! The Rust client of FirnDB, and the commands of the wire that client and server share.
//!
//! ```no_run
//! # async fn example(entities: arrow_array::RecordBatch) -> firn_client::Result<()> {
//! use firn_client::wire::{FeatureReference, Lookup};
//! use firn_client::{Client, EntityDeclaration, FeatureDeclaration, TableDeclaration};
//!
//! let client = Client::connect("grpc://localhost:3476").await?;
//! client.create_entity(&EntityDeclaration::new("airport").key("origin", "utf8")).await?;
//! let weather = TableDeclaration::new("weather", "airport", "observed");
//! client.create_table(&weather.feature(FeatureDeclaration::new("temp", "float64"))).await?;
//! let lookup = Lookup { features: vec![FeatureReference::parse("weather.temp")?], ..Lookup::default() };
//! let temperatures = client.lookup(&lookup, &entities).await?.batch()?;
//! # Ok(()) }
//! ```
//! It is a thin layer: names, types, bounds and rows are judged by the server alone. Calls are tried again only where
//! that is safe.

mod client;
mod connection;
mod declare;
mod error;
mod exchange;
mod ipc;
mod retry;
mod scan;
pub mod wire;
mod write;

pub use client::Client;
pub use connection::{Options, Stub, Tls};
pub use declare::{EntityDeclaration, FeatureDeclaration, TableDeclaration};
pub use error::{Error, Kind, Result};
pub use exchange::{Answered, Answers, Message, Requests};
pub use ipc::aligned;
pub use retry::Retry;
pub use scan::Parts;
pub use write::{Writer, Written};
