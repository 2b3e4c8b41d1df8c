//! Reads: one rule ([`rule`]), three doors (lookup and join in [`point`], scan in [`scan`]).

pub(crate) mod answer;
pub(crate) mod bounds;
pub mod digest;
pub(crate) mod estimate;
pub(crate) mod fill;
pub(crate) mod find;
pub(crate) mod fixed;
mod from_pack;
pub(crate) mod latest;
pub mod moment;
pub(crate) mod newest;
pub(crate) mod partial;
pub(crate) mod picked;
pub mod plain;
pub(crate) mod plan;
pub(crate) mod point;
pub(crate) mod resolve;
pub(crate) mod resolved;
pub(crate) mod rule;
pub mod scan;
pub(crate) mod slab;
pub(crate) mod snapshot;
pub(crate) mod standing;
pub(crate) mod states;
pub(crate) mod statuses;
pub(crate) mod walk;
pub(crate) mod window;

pub use bounds::Bound;
pub use fill::Patience;
pub use moment::{KnownAt, Moment};
pub use plain::{Answer, PlainAnswer};
pub use plan::{FeatureReference, Plan, PointRequest};
pub use scan::{Batches, Exactly, Scan, ScanRequest};
pub use snapshot::{Resources, Snapshot};
pub use statuses::{STATUSES, Status};
