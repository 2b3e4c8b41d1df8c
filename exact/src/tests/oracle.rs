//! The answers in arbitrary precision: fractions of big integers and a rounding of their own, slow and simple.
//!
//! It shares no code with the crate: a float is rounded by dividing to exactly its own last place and comparing the rest
//! with a half, never by leading bits.

use num_bigint::{BigInt, BigUint, Sign};

/// `numerator / denominator · 2^exponent`.
#[derive(Clone, Debug)]
pub(super) struct Fraction {
    pub(super) numerator: BigInt,
    pub(super) denominator: BigUint,
    pub(super) exponent: i64,
}

/// 2^`exponent` for every exponent of a normal float64.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(u64::try_from(exponent + 1023).unwrap() << 52)
}

/// `significand · 2^exponent`, which has a float64 or is too great for one.
fn compose(significand: &BigUint, exponent: i64) -> f64 {
    let significand = u64::try_from(significand).unwrap();
    assert!(significand <= 1 << 53, "one place more than a float64 has");
    if exponent > 971 {
        return f64::INFINITY;
    }
    significand as f64 * power_of_two(exponent / 2) * power_of_two(exponent - exponent / 2)
}

impl Fraction {
    /// Above and below the line in units of 2^`unit`.
    fn in_units(&self, unit: i64) -> (BigUint, BigUint) {
        let (above, below) = (self.numerator.magnitude().clone(), self.denominator.clone());
        let shift = self.exponent - unit;
        if shift >= 0 { (above << shift, below) } else { (above, below << -shift) }
    }

    /// The exponent of its first bit, or one less.
    fn magnitude(&self) -> i64 {
        self.numerator.bits() as i64 - self.denominator.bits() as i64 + self.exponent - 1
    }

    pub(super) fn round(&self) -> f64 {
        if self.numerator.sign() == Sign::NoSign {
            return 0.0;
        }
        let mut unit = (self.magnitude() - 52).max(-1074);
        let (above, below) = self.in_units(unit);
        if &above / &below >= BigUint::from(1u64 << 53) {
            unit += 1;
        }
        let (above, below) = self.in_units(unit);
        let (mut whole, rest) = (&above / &below, &above % &below);
        let odd = whole.bit(0);
        match (rest * 2u32).cmp(&below) {
            std::cmp::Ordering::Greater => whole += 1u32,
            std::cmp::Ordering::Equal if odd => whole += 1u32,
            _ => {}
        }
        let value = compose(&whole, unit);
        if self.numerator.sign() == Sign::Minus { -value } else { value }
    }

    /// The square root of one that is not negative.
    pub(super) fn round_root(&self) -> f64 {
        assert!(self.numerator.sign() != Sign::Minus);
        if self.numerator.sign() == Sign::NoSign {
            return 0.0;
        }
        let mut unit = (self.magnitude().div_euclid(2) - 52).max(-1074);
        let (above, below) = self.in_units(2 * unit);
        if (above / below).sqrt() >= BigUint::from(1u64 << 53) {
            unit += 1;
        }
        let (above, below) = self.in_units(2 * unit);
        let mut root = (&above / &below).sqrt();
        // Above the middle between two places, if its square is.
        let middle = &root * 2u32 + 1u32;
        match (above * 4u32).cmp(&(&middle * &middle * below)) {
            std::cmp::Ordering::Greater => root += 1u32,
            std::cmp::Ordering::Equal if root.bit(0) => root += 1u32,
            _ => {}
        }
        compose(&root, unit)
    }
}

/// Bits of what a list answers; NaN has the bits of the quiet one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) sum: u64,
    pub(super) average: Option<u64>,
    /// Variance of the population and the sample, deviation of the population and the sample.
    pub(super) spread: [Option<u64>; 4],
}

/// A finite float64 as integer and exponent.
fn exact(value: f64) -> (BigInt, i64) {
    let field = (value.to_bits() >> 52 & 2047) as i64;
    let fraction = value.to_bits() % (1 << 52);
    let (significand, exponent) = if field == 0 { (fraction, -1074) } else { (fraction + (1 << 52), field - 1075) };
    (
        BigInt::from(if value.to_bits() >> 63 == 1 { -i128::from(significand) } else { i128::from(significand) }),
        exponent,
    )
}

/// The exact sums of finite values and of their squares, with the exponents of their units.
fn exact_sums(values: &[f64], squares: bool) -> (BigInt, BigInt, i64) {
    let parts: Vec<_> =
        values.iter().map(|value| exact(*value)).filter(|(part, _)| part.sign() != Sign::NoSign).collect();
    let unit = parts.iter().map(|(_, exponent)| *exponent).min().unwrap_or(0);
    let (mut sum, mut sum_of_squares) = (BigInt::from(0), BigInt::from(0));
    for (significand, exponent) in parts {
        if squares {
            sum_of_squares += (&significand * &significand) << (2 * (exponent - unit));
        }
        sum += significand << (exponent - unit);
    }
    (sum, sum_of_squares, unit)
}

/// What a list of float64 answers, each value of which is in it `times` times.
pub(super) fn answers(values: &[f64], times: u64, squares: bool) -> Answers {
    let count = values.len() as u64 * times;
    let has = |test: fn(f64) -> bool| values.iter().any(|value| test(*value));
    let (up, down) = (has(|value| value == f64::INFINITY), has(|value| value == f64::NEG_INFINITY));
    if has(f64::is_nan) || up || down {
        let quiet = 0x7ff8_0000_0000_0000u64;
        let sum = match (has(f64::is_nan) || up && down, up) {
            (true, _) => quiet,
            (false, true) => f64::INFINITY.to_bits(),
            (false, false) => f64::NEG_INFINITY.to_bits(),
        };
        let sample = (count > 1 && squares).then_some(quiet);
        let population = squares.then_some(quiet);
        return Answers { sum, average: Some(sum), spread: [population, sample, population, sample] };
    }
    let (sum, sum_of_squares, unit) = exact_sums(values, squares);
    let (sum, sum_of_squares) = (sum * times, sum_of_squares * times);
    let fraction =
        |denominator: u64| Fraction { numerator: sum.clone(), denominator: BigUint::from(denominator), exponent: unit };
    Answers {
        sum: fraction(1).round().to_bits(),
        average: (count > 0).then(|| fraction(count).round().to_bits()),
        spread: if squares { spread(count, &sum, &sum_of_squares, unit, 0) } else { [None; 4] },
    }
}

/// The variances and deviations of values in units of 2^`unit` / 10^`scale`.
pub(super) fn spread(count: u64, sum: &BigInt, squares: &BigInt, unit: i64, scale: i32) -> [Option<u64>; 4] {
    let scaling = BigUint::from(10u32).pow(2 * scale.unsigned_abs());
    let variance = |divisor: u64| {
        let mut numerator = squares * count - sum * sum;
        let mut denominator = BigUint::from(count) * divisor;
        if scale < 0 {
            numerator *= BigInt::from(scaling.clone());
        } else {
            denominator *= &scaling;
        }
        Fraction { numerator, denominator, exponent: 2 * unit }
    };
    let (population, sample) = ((count > 0).then(|| variance(count)), (count > 1).then(|| variance(count - 1)));
    [
        population.as_ref().map(|variance| variance.round().to_bits()),
        sample.as_ref().map(|variance| variance.round().to_bits()),
        population.map(|variance| variance.round_root().to_bits()),
        sample.map(|variance| variance.round_root().to_bits()),
    ]
}
