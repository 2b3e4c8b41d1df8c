//! Exact numbers: stored numbers as fractions, and fractions rounded once to a double.
//!
//! Rounding searches the bit patterns of the doubles, which grow with their values, for the two that enclose the exact
//! number, and takes the nearer, or the even one of two equally near. It is slow and has no special cases: subnormal
//! numbers and overflow are patterns like others.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Signed;

/// The one NaN that arithmetic answers.
pub const QUIET_NAN: u64 = 0x7ff8_0000_0000_0000;
const INFINITY: u64 = 0x7ff0_0000_0000_0000;

/// Each double, and the middle between two neighbours, is a whole multiple of 2 to the power of minus this.
const UNIT_BITS: u32 = 1075;

/// The double of this pattern, which has no sign, in such multiples. The pattern of infinity is what would follow the
/// greatest double if exponents went on.
fn units(pattern: u64) -> BigInt {
    let (exponent, fraction) = (pattern >> 52, pattern & ((1 << 52) - 1));
    let mantissa = if exponent == 0 { fraction } else { fraction | (1 << 52) };
    BigInt::from(mantissa) << exponent.max(1)
}

/// The exact value of a double; none if it is infinite or no number.
pub fn exact(bits: u64) -> Option<BigRational> {
    let pattern = bits & !(1 << 63);
    let size = (pattern < INFINITY).then(|| BigRational::new(units(pattern), BigInt::from(1) << UNIT_BITS))?;
    Some(if pattern == bits { size } else { -size })
}

/// The double nearest to a number that is not negative; `compared` says how so many units compare with it.
fn nearest(compared: impl Fn(&BigInt) -> Ordering) -> f64 {
    let (mut low, mut high) = (0, INFINITY);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match compared(&units(middle)) {
            Ordering::Greater => high = middle,
            Ordering::Less | Ordering::Equal => low = middle,
        }
    }
    let middle: BigInt = (units(low) + units(high)) / 2;
    f64::from_bits(match compared(&middle) {
        Ordering::Less => high,
        Ordering::Greater => low,
        Ordering::Equal => low + low % 2,
    })
}

/// The double nearest to `number`, of two equally near the even one.
pub fn rounded(number: &BigRational) -> f64 {
    let right = number.numer().abs() << UNIT_BITS;
    let size = nearest(|units| (units * number.denom()).cmp(&right));
    if number.is_negative() { -size } else { size }
}

/// The double nearest to the square root of `number`, which is not negative.
pub fn rounded_root(number: &BigRational) -> f64 {
    let right = number.numer() << (2 * UNIT_BITS);
    nearest(|units| (units * units * number.denom()).cmp(&right))
}

/// 10 to this power.
pub fn power_of_ten(places: u32) -> BigInt {
    BigInt::from(10).pow(places)
}

/// The number that a decimal spells, such as `-0.95`.
pub fn decimal(text: &str) -> BigRational {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits: BigInt = format!("{whole}{places}").parse().unwrap_or_else(|_| panic!("{text:?} is no decimal"));
    BigRational::new(digits, power_of_ten(places.len() as u32))
}

#[cfg(test)]
mod tests;
