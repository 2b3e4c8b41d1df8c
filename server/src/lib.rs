//! server
pub mod config;
pub mod framing;
pub mod logging;
pub mod status;
