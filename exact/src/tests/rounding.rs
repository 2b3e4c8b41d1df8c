//! The rounding of ratios and roots against exact fractions, near ties and at both ends of float64.

use fastrand::Rng;
use num_bigint::{BigInt, BigUint};

use super::lists::any_finite;
use super::oracle::Fraction;
use crate::Ratio;

/// One to eight limbs of which the top one may be zero, most of them with long rows of equal bits.
fn limbs(random: &mut Rng) -> Vec<u64> {
    let length = random.usize(1..=8).min(random.usize(1..=8));
    let mut limb = || match random.u8(..4) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << random.u32(..64),
        _ => random.u64(..),
    };
    (0..length).map(|_| limb()).collect()
}

fn natural(limbs: &[u64]) -> BigUint {
    limbs.iter().rev().fold(BigUint::from(0u32), |number, limb| (number << 64u32) + limb)
}

#[track_caller]
fn check(negative: bool, numerator: &[u64], denominator: &[u64], exponent: i32) {
    let sign = if negative { -1 } else { 1 };
    let wanted = Fraction {
        numerator: BigInt::from(natural(numerator)) * sign,
        denominator: natural(denominator),
        exponent: i64::from(exponent),
    };
    let ratio = Ratio { negative, numerator, denominator, exponent };
    assert_eq!(ratio.round().to_bits(), wanted.round().to_bits(), "{ratio:?}");
    if !negative {
        assert_eq!(ratio.round_root().to_bits(), wanted.round_root().to_bits(), "root of {ratio:?}");
    }
}

#[test]
fn ratios_and_roots_are_rounded_once() {
    let mut random = Rng::with_seed(8);
    for _ in 0..300_000 {
        let (numerator, denominator) = (limbs(&mut random), limbs(&mut random));
        if denominator.iter().any(|limb| *limb != 0) {
            check(random.bool(), &numerator, &denominator, random.i32(-2400..2300));
        }
    }
}

/// The middle between two neighbours, and the least bit above and below it, by itself and times a divisor; and its square.
#[test]
fn ties_go_to_even_and_only_ties() {
    let mut random = Rng::with_seed(9);
    for _ in 0..50_000 {
        let significand = any_finite(&mut random).to_bits() & ((1 << 53) - 1) | u64::from(random.bool()) << 52;
        let middle = BigUint::from(2 * significand + 1);
        let divisor = natural(&limbs(&mut random));
        let distance = random.u64(1..400);
        if divisor.bits() == 0 {
            continue;
        }
        for tie in [middle.clone(), &middle * &middle] {
            let wide = (tie * &divisor) << distance;
            let exponent = random.i32(-1200..1000) - distance as i32;
            for near in [&wide - 1u32, wide.clone(), &wide + 1u32] {
                check(false, &near.to_u64_digits(), &divisor.to_u64_digits(), exponent);
                check(false, &near.to_u64_digits(), &divisor.to_u64_digits(), 2 * exponent);
            }
        }
    }
}

/// 2 · tie² + 1 has 128 bits and an odd exponent: its last one is shifted out before the root is taken.
#[test]
fn the_bit_that_an_odd_exponent_shifts_out_decides_a_tie() {
    let mut random = Rng::with_seed(11);
    for _ in 0..1_000 {
        let tie = BigUint::from((1u64 << 53 | random.u64(..1 << 51)) & !2 | 1);
        let above: BigUint = ((&tie * &tie) << 21) + 1u32;
        assert_eq!(above.bits(), 128);
        check(false, &above.to_u64_digits(), &[1], 2 * random.i32(-500..400) + 1);
    }
}

#[test]
fn both_ends_of_float64_are_right() {
    let round = |numerator: u64, exponent: i32| {
        let ratio = Ratio { negative: true, numerator: &[numerator], denominator: &[1], exponent };
        ratio.round()
    };
    let full = (1 << 53) - 1;
    assert_eq!(round(full, 971), f64::MIN);
    // Half a place beyond the greatest one is a tie, whose even side is 2^1024.
    assert_eq!(round(2 * full + 1, 970), f64::NEG_INFINITY);
    assert_eq!(round(4 * full + 1, 969), f64::MIN);
    assert_eq!(round(1, 1_000_000), f64::NEG_INFINITY);
    // Half of the least one is a tie, whose even side is zero.
    assert_eq!(round(1, -1075).to_bits(), (-0.0f64).to_bits());
    assert_eq!(round(3, -1076), -5e-324);
    assert_eq!(round(1, -1_000_000).to_bits(), (-0.0f64).to_bits());
    assert_eq!(round(0, 5).to_bits(), 0);
    let zero = Ratio { negative: true, numerator: &[0, 0], denominator: &[3], exponent: 5 };
    assert_eq!(zero.round_root().to_bits(), 0);
    // The greatest subnormal one and half a place are the least normal one.
    assert_eq!(round((1 << 53) - 1, -1075), -f64::MIN_POSITIVE);
}

#[test]
#[should_panic(expected = "a ratio has a denominator of zero")]
fn no_ratio_is_by_zero() {
    let _ = Ratio { negative: false, numerator: &[1], denominator: &[0, 0], exponent: 0 }.round();
}

#[test]
#[should_panic(expected = "a number below zero has no root")]
fn no_root_is_of_less_than_zero() {
    let _ = Ratio { negative: true, numerator: &[1], denominator: &[1], exponent: 0 }.round_root();
}
