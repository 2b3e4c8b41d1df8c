//! The correctness harness of the storage engine: promises P1, P2, P3, P5 and P6 of the design, shown by an oracle,
//! random histories, recorded answers, damaged files and failing file calls. One binary, to keep linking short.

#![expect(clippy::disallowed_methods, reason = "tests kill processes, race threads and stop in time")]
#![allow(missing_docs, unreachable_pub, reason = "a test binary: nothing uses it but itself")]
#![allow(clippy::unwrap_used, reason = "a test may stop at what must not happen")]

mod aggregate_properties;
mod aggregate_vectors;
mod busy;
mod checkpoints;
mod coming;
mod costs;
mod delta;
mod durable;
mod faults;
mod follower;
mod histories;
mod home;
mod hot_window;
mod ice;
mod kill;
mod many_events;
mod mending;
mod notation;
mod oracle;
mod promises;
mod schedule;
mod types;
mod vectors;
mod wiped;
mod world;
