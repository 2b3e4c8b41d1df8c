//! Sums, averages, variances and deviations of integers and decimals.
//!
//! A decimal is its unscaled integer; the scale, how many digits of it stand behind the point, is given to the answers that
//! need it. There is no NaN, no infinity and no negative zero among the values, and no integer overflows: the sum of fewer
//! than 2^64 values of 256 bits is held as it is, and whether it fits an answer's type is seen when it is asked for.

use arrow_buffer::i256;

use crate::accumulator::{Accumulator, Narrow};
use crate::natural::Natural;
use crate::ratio::{Ratio, quotient};
use crate::variance::Variance;

/// Digits behind the point, or zeros before it, at most.
const SCALE_MAX: u8 = 76;

/// The total of fewer than 2^64 integers of 256 bits: 255 bits for one, 64 for how many, one for the sign.
type Total = Accumulator<i128, 127, 5, 0>;
/// The total of their squares: 511 bits for one, 64 for how many, one for the sign.
type TotalOfSquares = Accumulator<i256, 255, 9, 0>;

/// The exact sum of integers, or of decimals of one scale, that come and go.
///
/// [`IntegerSum::add`] takes integers of up to 128 bits and is the quick one; [`IntegerSum::add_wide`] takes those of 256.
#[derive(Clone, Debug, Default)]
pub struct IntegerSum {
    count: u64,
    total: Total,
}

impl IntegerSum {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: i128) {
        self.count += 1;
        self.total.add(value, 0);
    }

    /// Takes back a value that was added.
    ///
    /// # Panics
    /// If there is none. Taking back another one than was added is a mistake of the caller that is not seen otherwise; the
    /// sum is then of what was added less what was taken.
    #[inline]
    pub fn subtract(&mut self, value: i128) {
        self.leave();
        match value.checked_neg() {
            Some(negated) => self.total.add(negated, 0),
            None => self.accumulate(i256::from_i128(value).wrapping_neg()),
        }
    }

    /// Adds a value of 256 bits.
    pub fn add_wide(&mut self, value: i256) {
        self.count += 1;
        self.accumulate(value);
    }

    /// Takes back a value of 256 bits that was added.
    ///
    /// # Panics
    /// As [`IntegerSum::subtract`].
    pub fn subtract_wide(&mut self, value: i256) {
        self.leave();
        match value.checked_neg() {
            Some(negated) => self.accumulate(negated),
            // Only the least integer has none; its magnitude is taken as it is.
            None => self.total.add_wide(false, &value.magnitude().1, 0),
        }
    }

    /// Adds all values of another sum.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.total.merge(&other.total);
    }

    /// How many values are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The exact sum of the integers, 0 of no values; none if it does not fit into 256 bits.
    #[must_use]
    pub fn total(&self) -> Option<i256> {
        if let Some((total, 0)) = self.total.narrow() {
            return Some(i256::from_i128(total));
        }
        let total = self.total.total();
        let magnitude = total.magnitude.shifted_left(total.exponent.cast_unsigned() as usize);
        let limb = |index: usize| u128::from(magnitude.limbs().get(index).copied().unwrap_or(0));
        let bits = i256::from_parts(limb(0) | limb(1) << 64, (limb(2) | limb(3) << 64).cast_signed());
        let value = if total.negative { bits.wrapping_neg() } else { bits };
        let fits = magnitude.limbs().len() <= 4 && (value == i256::ZERO || value.is_negative() == total.negative);
        fits.then_some(value)
    }

    /// The exact sum divided by [`IntegerSum::count`] and by 10^`scale`, rounded once to the nearest float64, ties to even;
    /// none of no values. An exact zero is +0.0; nothing overflows and nothing is subnormal.
    ///
    /// # Panics
    /// If the scale is not between -76 and 76.
    #[must_use]
    pub fn average(&self, scale: i8) -> Option<f64> {
        check_scale(scale);
        if self.count == 0 {
            return None;
        }
        let (power, exponent) = (u32::from(scale.unsigned_abs()), i32::from(scale));
        // 10^scale is 5^scale times a power of two, which costs nothing.
        let divisor = 5u64.checked_pow(power).and_then(|five| five.checked_mul(self.count));
        if let (Some((total, own)), Some(divisor), 0..) = (self.total.narrow(), divisor, scale) {
            return Some(quotient(total, divisor, own - exponent));
        }
        let (total, five) = (self.total.total(), Natural::power_of_five(power));
        let (mut numerator, mut denominator) = (total.magnitude, Natural::new(&[self.count]));
        let changed = if scale < 0 { &mut numerator } else { &mut denominator };
        *changed = changed.times(five.limbs());
        let (numerator, denominator) = (numerator.limbs(), denominator.limbs());
        Some(Ratio { negative: total.negative, numerator, denominator, exponent: total.exponent - exponent }.round())
    }

    fn accumulate(&mut self, value: i256) {
        match value.to_i128() {
            Some(narrow) => self.total.add(narrow, 0),
            None => {
                let (negative, magnitude) = value.magnitude();
                self.total.add_wide(negative, &magnitude, 0);
            }
        }
    }

    fn leave(&mut self) {
        self.count = self.count.checked_sub(1).expect("a value is taken back that was not added");
    }
}

/// The exact variance and standard deviation of integers, or of decimals of one scale, that come and go, and their sum.
///
/// What they mean and how they are rounded is as with [`FloatMoments`](crate::FloatMoments). `scale` is the scale of the
/// values, 0 for integers; none of them is an infinity.
#[derive(Clone, Debug, Default)]
pub struct IntegerMoments {
    sum: IntegerSum,
    squares: TotalOfSquares,
}

impl IntegerMoments {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: i128) {
        self.sum.add(value);
        self.squares.add(square(value), 0);
    }

    /// Takes back a value that was added, as [`IntegerSum::subtract`] does.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn subtract(&mut self, value: i128) {
        self.sum.subtract(value);
        self.squares.add(-square(value), 0);
    }

    /// Adds a value of 256 bits.
    pub fn add_wide(&mut self, value: i256) {
        self.sum.add_wide(value);
        self.accumulate_square(value, false);
    }

    /// Takes back a value of 256 bits that was added, as [`IntegerSum::subtract`] does.
    ///
    /// # Panics
    /// If there is none.
    pub fn subtract_wide(&mut self, value: i256) {
        self.sum.subtract_wide(value);
        self.accumulate_square(value, true);
    }

    /// Adds all values of others.
    pub fn merge(&mut self, other: &Self) {
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    /// The sum of the same values, with their count and average.
    #[must_use]
    pub fn sum(&self) -> &IntegerSum {
        &self.sum
    }

    /// The variance of the population; none of no values.
    ///
    /// # Panics
    /// If the scale is not between -76 and 76, or if values were taken back that were not added, so that no values have such
    /// a sum and such squares.
    #[must_use]
    pub fn variance_population(&self, scale: i8) -> Option<f64> {
        self.finished(self.sum.count, scale, Variance::round)
    }

    /// The variance of the sample; none of fewer than two values.
    ///
    /// # Panics
    /// As [`IntegerMoments::variance_population`].
    #[must_use]
    pub fn variance_sample(&self, scale: i8) -> Option<f64> {
        self.finished(self.sum.count.saturating_sub(1), scale, Variance::round)
    }

    /// The standard deviation of the population; none of no values.
    ///
    /// # Panics
    /// As [`IntegerMoments::variance_population`].
    #[must_use]
    pub fn deviation_population(&self, scale: i8) -> Option<f64> {
        self.finished(self.sum.count, scale, Variance::round_root)
    }

    /// The standard deviation of the sample; none of fewer than two values.
    ///
    /// # Panics
    /// As [`IntegerMoments::variance_population`].
    #[must_use]
    pub fn deviation_sample(&self, scale: i8) -> Option<f64> {
        self.finished(self.sum.count.saturating_sub(1), scale, Variance::round_root)
    }

    /// The variance by a divisor, as `round` rounds it; none if the divisor is zero.
    fn finished(&self, divisor: u64, scale: i8, round: fn(&Variance) -> f64) -> Option<f64> {
        check_scale(scale);
        if divisor == 0 {
            return None;
        }
        let variance = Variance::new(self.sum.count, divisor, &self.sum.total.total(), &self.squares.total(), scale);
        Some(round(&variance))
    }

    fn accumulate_square(&mut self, value: i256, negative: bool) {
        match value.to_i128().map(square) {
            Some(square) => self.squares.add(if negative { -square } else { square }, 0),
            None => {
                let magnitude = value.magnitude().1;
                self.squares.add_wide(negative, Natural::new(&magnitude).times(&magnitude).limbs(), 0);
            }
        }
    }
}

/// The square of a value, at most 2^254.
fn square(value: i128) -> i256 {
    let magnitude = value.unsigned_abs();
    let (low, high) = magnitude.carrying_mul(magnitude, 0);
    i256::from_parts(low, high.cast_signed())
}

fn check_scale(scale: i8) {
    assert!(scale.unsigned_abs() <= SCALE_MAX, "a scale is between -{SCALE_MAX} and {SCALE_MAX}, not {scale}");
}
