//! Object storage for FirnDB: S3, Google Cloud Storage, Azure and a local directory behind the engine's one
//! synchronous door, [`Objects`](firn_storage::objects::Objects).
//!
//! [`Bucket::open`](bucket::Bucket::open) opens any of them by its address, and [`probe`](probe::probe) says whether a
//! bucket keeps what the protocol of writers relies on. Nothing here knows what the objects are. [`Files`](file::Files)
//! opens files of users, which have names of their own.

#![deny(missing_docs)]

mod address;
pub mod bucket;
mod cloud;
mod failure;
pub mod file;
mod hedge;
pub mod local;
pub mod options;
pub mod probe;
mod tries;
mod wire;
