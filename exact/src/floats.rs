//! Sums, averages, variances and deviations of float64 values.
//!
//! Finite values are an integer of 53 bits times a power of two from 2^-1074 on, and are added as such. NaN and infinities
//! are counted beside them, so that they leave as cleanly as they came.

use arrow_buffer::i256;

use crate::accumulator::Accumulator;
use crate::ratio::{Ratio, quotient, round_scaled};
use crate::variance::Variance;

/// What every NaN is that arithmetic answers with: quiet, positive, without payload.
const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0000);

/// The total of fewer than 2^64 float64 values: 2,098 bits for one, 64 for how many, one for the sign.
type Total = Accumulator<i128, 53, 34, -1074>;
/// The total of their squares: 4,196 bits for one, 64 for how many, one for the sign.
type TotalOfSquares = Accumulator<i256, 106, 67, -2148>;

/// The exact sum of float64 values that come and go.
///
/// It is of NaN, infinities and finite values, each of which may be taken back. While there is a NaN, or infinities of both
/// signs, answers are the quiet NaN `0x7ff8000000000000`; while there are infinities of one sign, that infinity. Else they
/// are the exact real value of the finite ones, rounded once to nearest, ties to even: an exact zero is +0.0, also of zeros
/// that are all negative; a negative value that rounds to zero is -0.0; one that rounds beyond the greatest float64 is an
/// infinity, and nothing overflows before. The answer is a function of the values that are in it, bit by bit: their order,
/// merges, and what has come and gone change nothing.
#[derive(Clone, Debug, Default)]
pub struct FloatSum {
    finite: u64,
    nan: u64,
    positive_infinite: u64,
    negative_infinite: u64,
    total: Total,
}

impl FloatSum {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        match parts(value) {
            Some((significand, exponent)) => {
                self.finite += 1;
                self.total.add(i128::from(significand), exponent);
            }
            None => *self.counter(value) += 1,
        }
    }

    /// Takes back a value that was added, of which every NaN is one, and both zeros are one.
    ///
    /// # Panics
    /// If there is no value of its kind (finite, NaN, an infinity of its sign). Taking back another one than was added is a
    /// mistake of the caller that is not seen otherwise; the sum is then of what was added less what was taken.
    #[inline]
    pub fn subtract(&mut self, value: f64) {
        let parts = parts(value);
        let counter = if parts.is_some() { &mut self.finite } else { self.counter(value) };
        *counter = counter.checked_sub(1).expect("a value is taken back that was not added");
        if let Some((significand, exponent)) = parts {
            self.total.add(-i128::from(significand), exponent);
        }
    }

    /// Adds all values of another sum.
    pub fn merge(&mut self, other: &Self) {
        self.finite += other.finite;
        self.nan += other.nan;
        self.positive_infinite += other.positive_infinite;
        self.negative_infinite += other.negative_infinite;
        self.total.merge(&other.total);
    }

    /// How many values are in it: finite ones, NaN and infinities.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.finite + self.nan + self.positive_infinite + self.negative_infinite
    }

    /// The sum, rounded once; +0.0 of no values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        if let Some(answer) = self.not_finite() {
            return answer;
        }
        match self.total.narrow() {
            Some((total, exponent)) => round_scaled(total, exponent),
            None => self.wide_quotient(1),
        }
    }

    /// The exact sum divided by [`FloatSum::count`], rounded once; none of no values. It is finite if all values are.
    #[must_use]
    pub fn average(&self) -> Option<f64> {
        if self.count() == 0 {
            return None;
        }
        if let Some(answer) = self.not_finite() {
            return Some(answer);
        }
        Some(match self.total.narrow() {
            Some((total, exponent)) => quotient(total, self.finite, exponent),
            None => self.wide_quotient(self.finite),
        })
    }

    #[cold]
    fn wide_quotient(&self, divisor: u64) -> f64 {
        let total = self.total.total();
        let (numerator, exponent) = (total.magnitude.limbs(), total.exponent);
        Ratio { negative: total.negative, numerator, denominator: &[divisor], exponent }.round()
    }

    /// The answer if not all values are finite.
    fn not_finite(&self) -> Option<f64> {
        match (self.nan, self.positive_infinite, self.negative_infinite) {
            (0, 0, 0) => None,
            (0, _, 0) => Some(f64::INFINITY),
            (0, 0, _) => Some(f64::NEG_INFINITY),
            _ => Some(NAN),
        }
    }

    /// The counter of values like `value`, which is not finite.
    #[cold]
    fn counter(&mut self, value: f64) -> &mut u64 {
        if value.is_nan() {
            &mut self.nan
        } else if value > 0.0 {
            &mut self.positive_infinite
        } else {
            &mut self.negative_infinite
        }
    }

    /// Moves the finite values into the wide part of the total.
    #[cfg(test)]
    pub(crate) fn spill(&mut self) {
        self.total.spill();
    }
}

/// The exact variance and standard deviation of float64 values that come and go, and their sum.
///
/// The population's variance is the average square of the distance from the average, that of the sample divides by one value
/// less; a deviation is the square root of the exact variance, so it may be finite where the variance is an infinity. Each is
/// rounded once to nearest, ties to even, and never negative; an exact zero is +0.0. While there is a NaN or an infinity
/// of any sign, each is the quiet NaN `0x7ff8000000000000`. As with [`FloatSum`], nothing depends on order.
#[derive(Clone, Debug, Default)]
pub struct FloatMoments {
    sum: FloatSum,
    squares: TotalOfSquares,
}

impl FloatMoments {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.sum.add(value);
        if let Some((significand, exponent)) = parts(value) {
            self.squares.add(square(significand), 2 * exponent);
        }
    }

    /// Takes back a value that was added, as [`FloatSum::subtract`] does.
    ///
    /// # Panics
    /// If there is no value of its kind (finite, NaN, an infinity of its sign).
    #[inline]
    pub fn subtract(&mut self, value: f64) {
        self.sum.subtract(value);
        if let Some((significand, exponent)) = parts(value) {
            self.squares.add(-square(significand), 2 * exponent);
        }
    }

    /// Adds all values of others.
    pub fn merge(&mut self, other: &Self) {
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    /// The sum of the same values, with their count and average.
    #[must_use]
    pub fn sum(&self) -> &FloatSum {
        &self.sum
    }

    /// The variance of the population; none of no values.
    ///
    /// # Panics
    /// If values were taken back that were not added, so that no values have such a sum and such squares.
    #[must_use]
    pub fn variance_population(&self) -> Option<f64> {
        self.finished(self.sum.count(), Variance::round)
    }

    /// The variance of the sample; none of fewer than two values.
    ///
    /// # Panics
    /// As [`FloatMoments::variance_population`].
    #[must_use]
    pub fn variance_sample(&self) -> Option<f64> {
        self.finished(self.sum.count().saturating_sub(1), Variance::round)
    }

    /// The standard deviation of the population; none of no values.
    ///
    /// # Panics
    /// As [`FloatMoments::variance_population`].
    #[must_use]
    pub fn deviation_population(&self) -> Option<f64> {
        self.finished(self.sum.count(), Variance::round_root)
    }

    /// The standard deviation of the sample; none of fewer than two values.
    ///
    /// # Panics
    /// As [`FloatMoments::variance_population`].
    #[must_use]
    pub fn deviation_sample(&self) -> Option<f64> {
        self.finished(self.sum.count().saturating_sub(1), Variance::round_root)
    }

    /// The variance by a divisor, as `round` rounds it; none if the divisor is zero.
    fn finished(&self, divisor: u64, round: fn(&Variance) -> f64) -> Option<f64> {
        if divisor == 0 {
            return None;
        }
        if self.sum.not_finite().is_some() {
            return Some(NAN);
        }
        let variance = Variance::new(self.sum.finite, divisor, &self.sum.total.total(), &self.squares.total(), 0);
        Some(round(&variance))
    }

    /// Moves the finite values into the wide parts of the totals.
    #[cfg(test)]
    pub(crate) fn spill(&mut self) {
        self.sum.spill();
        self.squares.spill();
    }
}

/// A finite value as an integer of at most 53 bits and a sign, and the exponent of its last bit.
#[inline]
fn parts(value: f64) -> Option<(i64, i32)> {
    let bits = value.to_bits();
    let field = (bits >> 52 & 0x7ff) as i32;
    if field == 0x7ff {
        return None;
    }
    let fraction = bits & ((1 << 52) - 1);
    // Subnormal values have the exponent of the lowest normal ones, but no first bit.
    let first = u64::from(field != 0) << 52;
    let significand = (fraction | first).cast_signed();
    Some((if value.is_sign_negative() { -significand } else { significand }, field.max(1) - 1075))
}

fn square(significand: i64) -> i256 {
    let magnitude = u128::from(significand.unsigned_abs());
    i256::from_parts(magnitude * magnitude, 0)
}
