//! Exact arithmetic for windows: sums, averages, variances and deviations of values that come and go.
//!
//! An answer is the exact real value of what is in the window, rounded to float64 **once**, to nearest, ties to even. So
//! it is a function of the values alone: no order, no merge and no value that has left again changes a bit of it.
//! [`FloatSum`] and [`FloatMoments`] take float64, [`IntegerSum`] and [`IntegerMoments`] integers and decimals of up to 256
//! bits; [`Ratio`] is the rounding itself. It is not a library of big numbers: what is here is what windows need, in places
//! of fixed size. There is no input or output, no thread, and nothing of the engine.

mod accumulator;
mod floats;
mod integers;
mod limbs;
mod natural;
mod ratio;
#[cfg(test)]
mod tests;
mod variance;

pub use floats::{FloatMoments, FloatSum};
pub use integers::{IntegerMoments, IntegerSum};
pub use ratio::Ratio;
