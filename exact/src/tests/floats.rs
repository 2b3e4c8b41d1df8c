//! Random and hostile lists of float64 against exact fractions.

use fastrand::Rng;

use super::lists::{EDGES, any_finite, hostile};
use super::oracle::{Answers, answers};
use crate::{FloatMoments, FloatSum};

fn of_sum(sum: &FloatSum) -> Answers {
    Answers { sum: sum.sum().to_bits(), average: sum.average().map(f64::to_bits), spread: [None; 4] }
}

pub(super) fn of_moments(moments: &FloatMoments) -> Answers {
    let spread = [
        moments.variance_population(),
        moments.variance_sample(),
        moments.deviation_population(),
        moments.deviation_sample(),
    ];
    Answers { spread: spread.map(|answer| answer.map(f64::to_bits)), ..of_sum(moments.sum()) }
}

fn sum_of(values: &[f64]) -> FloatSum {
    let mut sum = FloatSum::default();
    values.iter().for_each(|value| sum.add(*value));
    sum
}

pub(super) fn moments_of(values: &[f64]) -> FloatMoments {
    let mut moments = FloatMoments::default();
    values.iter().for_each(|value| moments.add(*value));
    moments
}

/// The same with each value in the wide part by itself.
fn wide_moments_of(values: &[f64]) -> FloatMoments {
    let mut moments = FloatMoments::default();
    for value in values {
        moments.add(*value);
        moments.spill();
    }
    moments
}

/// 850,000 lists: their sums and averages, also backwards, and in parts that are merged.
#[test]
fn sums_of_hostile_lists_are_exact() {
    let mut random = Rng::with_seed(1);
    for _ in 0..850_000 {
        let mut values = hostile(&mut random);
        let expected = answers(&values, 1, false);
        assert_eq!(of_sum(&sum_of(&values)), expected, "{values:?}");
        values.reverse();
        let (front, back) = values.split_at(random.usize(..=values.len()));
        let mut merged = sum_of(front);
        merged.merge(&sum_of(back));
        assert_eq!(of_sum(&merged), expected, "{front:?} and {back:?}");
    }
}

/// 150,000 lists: all answers, in the narrow and the wide parts, and in parts that are merged.
#[test]
fn moments_of_hostile_lists_are_exact() {
    let mut random = Rng::with_seed(2);
    for _ in 0..150_000 {
        let mut values = hostile(&mut random);
        let expected = answers(&values, 1, true);
        assert_eq!(of_moments(&moments_of(&values)), expected, "{values:?}");
        random.shuffle(&mut values);
        assert_eq!(of_moments(&wide_moments_of(&values)), expected, "wide: {values:?}");
        let (front, back) = values.split_at(random.usize(..=values.len()));
        let (mut narrow, mut wide) = (moments_of(front), wide_moments_of(front));
        wide.merge(&moments_of(back));
        narrow.merge(&wide_moments_of(back));
        assert_eq!(of_moments(&narrow), expected, "{front:?} and wide {back:?}");
        assert_eq!(of_moments(&wide), expected, "wide {front:?} and {back:?}");
    }
}

/// 40,000 windows through which values go: what has left changes nothing, whatever it was.
#[test]
fn what_has_left_was_never_there() {
    const OTHERS: [f64; 4] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
    let mut random = Rng::with_seed(3);
    for _ in 0..40_000 {
        let (mut inside, mut moments) = (Vec::new(), FloatMoments::default());
        let mut coming = hostile(&mut random);
        coming.extend((0..random.usize(..4)).map(|_| OTHERS[random.usize(..OTHERS.len())]));
        random.shuffle(&mut coming);
        for value in coming {
            moments.add(value);
            inside.push(value);
            while !inside.is_empty() && random.u8(..5) < 2 {
                moments.subtract(inside.swap_remove(random.usize(..inside.len())));
            }
            if random.u8(..16) == 0 {
                assert_eq!(of_moments(&moments), answers(&inside, 1, true), "{inside:?}");
            }
        }
        assert_eq!(of_moments(&moments), answers(&inside, 1, true), "{inside:?}");
        inside.drain(..).for_each(|value| moments.subtract(value));
        assert_eq!(of_moments(&moments), Answers::default(), "nothing is left");
    }
}

/// Lists of thousands, of one exponent and of all.
#[test]
fn long_lists_are_exact() {
    let mut random = Rng::with_seed(4);
    for round in 0..60 {
        let (length, field) = (random.usize(1000..10_000), random.u64(..2047));
        let value = |random: &mut Rng| match round % 3 {
            0 => f64::from_bits(field << 52 | random.u64(..1 << 52)),
            1 => any_finite(random),
            _ => random.f64() * 1000.0,
        };
        let values: Vec<f64> = (0..length).map(|_| value(&mut random)).collect();
        let mut moments = moments_of(&values);
        assert_eq!(of_moments(&moments), answers(&values, 1, true), "round {round}");
        values[1..].iter().for_each(|value| moments.subtract(*value));
        assert_eq!(of_moments(&moments), answers(&values[..1], 1, true), "round {round}");
    }
}

/// Counts up to 2^63: no carry of the totals is lost, and divisors of 128 bits are right.
#[test]
fn counts_beyond_any_table_are_exact() {
    let mut random = Rng::with_seed(5);
    for round in 0..2_000 {
        let values = if round % 4 == 0 { vec![EDGES[4 + round / 4 % 2]; 2] } else { hostile(&mut random) };
        let doublings = random.u32(1..=57);
        let mut moments = moments_of(&values);
        for _ in 0..doublings {
            moments.merge(&moments.clone());
        }
        let expected = answers(&values, 1 << doublings, true);
        assert_eq!(of_moments(&moments), expected, "2^{doublings} times {values:?}");
        assert_eq!(moments.sum().count(), (values.len() as u64) << doublings);
    }
}
