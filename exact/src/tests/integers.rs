//! Random and hostile lists of integers and decimals against exact fractions.

use arrow_buffer::i256;
use fastrand::Rng;
use num_bigint::{BigInt, BigUint};

use super::oracle::{Fraction, spread};
use crate::{IntegerMoments, IntegerSum};

/// What a list of integers answers at a scale; the total as digits.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    total: Option<String>,
    average: Option<u64>,
    spread: [Option<u64>; 4],
}

fn found(moments: &IntegerMoments, scale: i8) -> Answers {
    let spread = [
        moments.variance_population(scale),
        moments.variance_sample(scale),
        moments.deviation_population(scale),
        moments.deviation_sample(scale),
    ];
    Answers {
        total: moments.sum().total().map(|total| total.to_string()),
        average: moments.sum().average(scale).map(f64::to_bits),
        spread: spread.map(|answer| answer.map(f64::to_bits)),
    }
}

fn expected(values: &[i256], times: u64, scale: i8) -> Answers {
    let values: Vec<BigInt> = values.iter().map(|value| BigInt::from_signed_bytes_le(&value.to_le_bytes())).collect();
    let count = values.len() as u64 * times;
    let sum: BigInt = values.iter().sum::<BigInt>() * times;
    let squares: BigInt = values.iter().map(|value| value * value).sum::<BigInt>() * times;
    let ten = BigUint::from(10u32).pow(u32::from(scale.unsigned_abs()));
    let (numerator, denominator) =
        if scale < 0 { (&sum * BigInt::from(ten), BigUint::from(count)) } else { (sum.clone(), ten * count) };
    let limit = BigInt::from(1) << 255;
    Answers {
        total: (-&limit <= sum && sum < limit).then(|| sum.to_string()),
        average: (count > 0).then(|| Fraction { numerator, denominator, exponent: 0 }.round().to_bits()),
        spread: spread(count, &sum, &squares, 0, i32::from(scale)),
    }
}

/// A list of one to forty integers, and a scale.
fn hostile(random: &mut Rng) -> (Vec<i256>, i8) {
    const EDGES: [i256; 6] = [i256::MIN, i256::MAX, i256::ZERO, i256::ONE, i256::MINUS_ONE, i256::from_i128(i128::MIN)];
    let kind = random.u8(..7);
    let value = |random: &mut Rng| match kind {
        0 => i256::from_i128(i128::from(random.i64(-1000..1000))),
        1 => i256::from_i128(i128::from(random.i64(..))),
        2 => i256::from_i128(i128::from(random.u64(..))),
        3 => i256::from_i128([i128::MAX, i128::MIN, 1, -1, i128::from(i64::MIN)][random.usize(..5)]),
        4 => i256::from_i128(random.i128(..)),
        5 => i256::from_parts(random.u128(..), random.i128(..) >> random.u32(..128)),
        _ => EDGES[random.usize(..EDGES.len())],
    };
    let scale = match random.u8(..4) {
        0 => 0,
        1 => random.i8(1..=10),
        2 => random.i8(11..=76),
        _ => random.i8(-76..=-1),
    };
    ((0..random.usize(1..=40)).map(|_| value(random)).collect(), scale)
}

fn add(moments: &mut IntegerMoments, value: i256) {
    match value.to_i128() {
        Some(value) => moments.add(value),
        None => moments.add_wide(value),
    }
}

fn moments_of(values: &[i256]) -> IntegerMoments {
    let mut moments = IntegerMoments::default();
    values.iter().for_each(|value| add(&mut moments, *value));
    moments
}

/// 60,000 lists: all answers, in any order, merged, and taken back.
#[test]
fn hostile_integers_are_exact() {
    let mut random = Rng::with_seed(6);
    for _ in 0..60_000 {
        let (mut values, scale) = hostile(&mut random);
        let wanted = expected(&values, 1, scale);
        assert_eq!(found(&moments_of(&values), scale), wanted, "{values:?} at {scale}");
        random.shuffle(&mut values);
        let (front, back) = values.split_at(random.usize(..=values.len()));
        let (mut merged, other) = (moments_of(front), moments_of(back));
        merged.merge(&other);
        assert_eq!(found(&merged, scale), wanted, "{front:?} and {back:?} at {scale}");
        for value in front {
            match value.to_i128() {
                Some(value) if random.bool() => merged.subtract(value),
                _ => merged.subtract_wide(*value),
            }
        }
        assert_eq!(found(&merged, scale), found(&other, scale), "without {front:?} at {scale}");
        assert_eq!(merged.sum().count(), back.len() as u64);
    }
}

#[test]
fn counts_of_integers_beyond_any_table_are_exact() {
    let mut random = Rng::with_seed(7);
    for _ in 0..1_000 {
        let (values, scale) = hostile(&mut random);
        let doublings = random.u32(1..=57);
        let mut moments = moments_of(&values);
        for _ in 0..doublings {
            moments.merge(&moments.clone());
        }
        assert_eq!(found(&moments, scale), expected(&values, 1 << doublings, scale), "{values:?} at {scale}");
    }
}

/// A sum alone answers as the one beside squares does.
#[test]
fn the_least_integers_of_the_machine_come_and_go() {
    let mut sum = IntegerSum::default();
    for _ in 0..3 {
        sum.add(i128::MIN);
    }
    sum.subtract(i128::MIN);
    sum.subtract(i128::MIN);
    assert_eq!(sum.total(), Some(i256::from_i128(i128::MIN)));
    sum.subtract_wide(i256::from_i128(i128::MIN));
    assert_eq!((sum.total(), sum.average(0)), (Some(i256::ZERO), None));
}

#[test]
#[should_panic(expected = "a scale is between -76 and 76")]
fn a_scale_beyond_every_decimal_is_refused() {
    let _ = IntegerSum::default().average(77);
}
