//! Tests of the whole crate: known answers, and random and hostile lists against exact arithmetic written twice elsewhere.

mod floats;
mod integers;
mod lists;
mod oracle;
mod python;
mod rounding;
mod vectors;
