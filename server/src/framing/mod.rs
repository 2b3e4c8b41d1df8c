//! Arrow IPC in Flight messages, both ways: hostile messages in ([`decode`]), measured messages out ([`encode`]).

mod check;
mod decode;
mod encode;
mod expansion;
mod plain;
mod together;

pub use decode::{Decoded, Decoder, too_large};
pub use encode::{Encoded, Encoder};
pub use together::Together;

#[cfg(test)]
mod tests;
