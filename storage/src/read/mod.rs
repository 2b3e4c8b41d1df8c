//! Reads: one rule ([`resolve`]), three doors (lookup and join in [`point`], scan in [`scan`]).

pub(crate) mod answer;
pub(crate) mod block;
pub(crate) mod bounds;
pub mod digest;
pub(crate) mod fixed;
pub(crate) mod history;
pub(crate) mod latest;
pub(crate) mod latest_rows;
pub(crate) mod newest;
pub(crate) mod parallel;
pub(crate) mod partial;
pub(crate) mod picked;
pub mod plain;
pub(crate) mod plan;
pub(crate) mod point;
pub mod resolve;
pub(crate) mod resolved;
pub mod scan;
pub(crate) mod snapshot;
pub mod walk;

pub use answer::{STATUSES, Status};
pub use plain::{Answer, PlainAnswer};
pub use plan::{Bound, FeatureReference, Plan, PointRequest};
pub use scan::{Batches, Scan, ScanRequest};
pub use snapshot::Snapshot;
