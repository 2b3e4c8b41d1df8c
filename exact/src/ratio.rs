//! Rounding of exact values to float64, once: ratios of big integers and their square roots.
//!
//! Every rounding of this crate is [`Leading::round`]. A quotient or a root comes to it as its leading bits, never fewer
//! than 64, and whether anything lies below them; that says on which side of a tie it is, so it is as good as the exact
//! value. Nothing is rounded before, and nothing here allocates.

use crate::limbs::{bit_length, trimmed};
use crate::natural::Natural;

/// Lowest exponent of a float64: each one is an integer times 2^-1074.
const LOWEST_EXPONENT: i32 = -1074;
/// Exponent of the last bit of the greatest float64.
const HIGHEST_EXPONENT: i32 = 971;
/// Bits of a float64 beside its first one.
const FRACTION_BITS: i32 = 52;

/// A ratio of two big integers times a power of two: `± numerator / denominator · 2^exponent`.
///
/// Integers are slices of 64-bit limbs, the least first; zeros at the upper end change nothing.
#[derive(Clone, Copy, Debug)]
pub struct Ratio<'a> {
    /// Whether the ratio is below zero.
    pub negative: bool,
    /// The integer above the line.
    pub numerator: &'a [u64],
    /// The integer below the line: not zero, of at most 69 limbs.
    pub denominator: &'a [u64],
    /// The power of two that the ratio is multiplied with, between -2^30 and 2^30.
    pub exponent: i32,
}

impl Ratio<'_> {
    /// The float64 nearest to the ratio, of two equally near ones the even one.
    ///
    /// A magnitude that rounds to 2^1024 or more is an infinity, subnormal results are exact to their last bit, a value
    /// below zero that rounds to zero is -0.0, and a numerator of zero gives +0.0 whatever the sign.
    ///
    /// # Panics
    /// If the denominator is zero or has more limbs than 69.
    #[must_use]
    pub fn round(&self) -> f64 {
        self.leading().round(self.negative)
    }

    /// The float64 nearest to the square root of the exact ratio, of two equally near ones the even one; the root of zero
    /// is +0.0.
    ///
    /// # Panics
    /// If the ratio is below zero, or as [`Ratio::round`] does.
    #[must_use]
    pub fn round_root(&self) -> f64 {
        let leading = self.leading();
        assert!(!self.negative || leading.bits == 0, "a number below zero has no root");
        leading.root().round(false)
    }

    fn leading(&self) -> Leading {
        let quotient = match trimmed(self.denominator) {
            [] => panic!("a ratio has a denominator of zero"),
            [divisor] => divide_by_limb(trimmed(self.numerator), *divisor),
            divisor => divide(trimmed(self.numerator), divisor),
        };
        Leading { exponent: quotient.exponent + self.exponent, ..quotient }
    }
}

/// `numerator / divisor · 2^exponent` as the nearest float64: what [`Ratio::round`] gives, for numbers of ordinary size.
pub(crate) fn quotient(numerator: i128, divisor: u64, exponent: i32) -> f64 {
    let magnitude = numerator.unsigned_abs();
    let zeros = magnitude.leading_zeros();
    if zeros == u128::BITS {
        return 0.0;
    }
    // With its first bit at the top it is at least 2^127, so the quotient is at least 2^63.
    let (dividend, divisor) = (magnitude << zeros, u128::from(divisor));
    let bits = dividend / divisor;
    let inexact = bits * divisor != dividend;
    Leading { bits, exponent: exponent - zeros.cast_signed(), inexact }.round(numerator < 0)
}

/// `value · 2^exponent` as the nearest float64.
pub(crate) fn round_scaled(value: i128, exponent: i32) -> f64 {
    Leading { bits: value.unsigned_abs(), exponent, inexact: false }.round(value < 0)
}

/// The leading bits of a number that is not negative: it is `bits · 2^exponent`, or, if that is `inexact`, lies between
/// this and `(bits + 1) · 2^exponent`. Inexact ones have at least 64 bits.
#[derive(Clone, Copy, Debug)]
struct Leading {
    bits: u128,
    exponent: i32,
    inexact: bool,
}

impl Leading {
    const ZERO: Self = Self { bits: 0, exponent: 0, inexact: false };

    /// The first 128 bits of a magnitude, the first one at the top.
    fn of(limbs: &[u64]) -> Self {
        let limbs = trimmed(limbs);
        let Some((top, rest)) = limbs.split_last() else { return Self::ZERO };
        let (middle, rest) = rest.split_last().map_or((0, rest), |(middle, rest)| (*middle, rest));
        let (low, rest) = rest.split_last().map_or((0, rest), |(low, rest)| (*low, rest));
        let zeros = top.leading_zeros();
        let bits = ((u128::from(*top) << 64 | u128::from(middle)) << zeros) | u128::from((low >> 1) >> (63 - zeros));
        let inexact = low << zeros != 0 || rest.iter().any(|limb| *limb != 0);
        Self { bits, exponent: (limbs.len() as i32 - 2) * 64 - zeros.cast_signed(), inexact }
    }

    /// The leading bits of its square root. Its own first bit is at the top.
    fn root(self) -> Self {
        if self.bits == 0 {
            return Self::ZERO;
        }
        let odd = self.exponent.rem_euclid(2);
        let square = self.bits >> odd;
        let bits = square.isqrt();
        let inexact = self.inexact || square << odd != self.bits || bits * bits != square;
        Self { bits, exponent: (self.exponent + odd) / 2, inexact }
    }

    /// The nearest float64, ties to even.
    fn round(self, negative: bool) -> f64 {
        if self.bits == 0 {
            return 0.0;
        }
        let length = (u128::BITS - self.bits.leading_zeros()).cast_signed();
        let exponent = (self.exponent + length - 1 - FRACTION_BITS).max(LOWEST_EXPONENT);
        let magnitude = if exponent > HIGHEST_EXPONENT {
            f64::INFINITY.to_bits()
        } else {
            // Adding the significand, not just its fraction, puts its first bit into the exponent: so one that was rounded
            // up to the next power of two, or out of the subnormals, or to infinity, is right by itself.
            let field = (exponent - LOWEST_EXPONENT).cast_unsigned();
            (u64::from(field) << FRACTION_BITS) + self.significand(exponent - self.exponent)
        };
        f64::from_bits(magnitude | u64::from(negative) << 63)
    }

    /// Its bits without the lowest `dropped`, rounded by these.
    fn significand(self, dropped: i32) -> u64 {
        if dropped <= 0 {
            assert!(!self.inexact, "an inexact number has more bits than a float64");
            return (self.bits as u64) << -dropped;
        }
        let dropped = dropped.cast_unsigned();
        let kept = self.bits.checked_shr(dropped).unwrap_or(0);
        let rest = self.bits - kept.checked_shl(dropped).unwrap_or(0);
        // More than 128 bits dropped is less than half of the last place.
        let above = match 1u128.checked_shl(dropped - 1) {
            Some(half) if rest == half => self.inexact || kept & 1 == 1,
            Some(half) => rest > half,
            None => false,
        };
        kept as u64 + u64::from(above)
    }
}

/// The leading bits of a quotient by one limb.
fn divide_by_limb(numerator: &[u64], divisor: u64) -> Leading {
    /// So many limbs of the numerator that the quotient has 128 bits and more.
    const TAKEN: usize = 4;
    let taken = numerator.len().min(TAKEN);
    let (below, top) = numerator.split_at(numerator.len() - taken);
    let mut quotient = [0; TAKEN];
    let mut remainder = 0u128;
    // Limbs that a short numerator does not have stand behind the point.
    let digits = top.iter().rev().copied().chain(std::iter::repeat(0));
    for (place, digit) in quotient.iter_mut().rev().zip(digits) {
        let dividend = remainder << 64 | u128::from(digit);
        *place = (dividend / u128::from(divisor)) as u64;
        remainder = dividend - u128::from(*place) * u128::from(divisor);
    }
    let leading = Leading::of(&quotient);
    let exponent = leading.exponent + (numerator.len() as i32 - TAKEN as i32) * 64;
    let inexact = leading.inexact || remainder != 0 || below.iter().any(|limb| *limb != 0);
    if leading.bits == 0 { Leading::ZERO } else { Leading { exponent, inexact, ..leading } }
}

/// The leading bits of a quotient by any number: bit by bit, which is slow but rare.
fn divide(numerator: &[u64], divisor: &[u64]) -> Leading {
    let mut next = bit_length(numerator) as i32;
    if next == 0 {
        return Leading::ZERO;
    }
    // Bits behind the point are zeros.
    let bit_at = |at: i32| at >= 0 && numerator[at as usize / 64] >> (at % 64) & 1 == 1;
    let (mut bits, mut remainder) = (0u128, Natural::new(&[]));
    while bits.leading_zeros() > 0 {
        next -= 1;
        remainder.push_bit(bit_at(next));
        bits <<= 1;
        if remainder.compare(divisor).is_ge() {
            remainder.subtract(divisor);
            bits |= 1;
        }
    }
    let inexact = !remainder.limbs().is_empty() || (0..next).any(bit_at);
    Leading { bits, exponent: next, inexact }
}
