//! Known answers.

use arrow_buffer::i256;

use crate::{FloatMoments, FloatSum, IntegerMoments, IntegerSum};

fn moments(values: &[f64]) -> FloatMoments {
    let mut moments = FloatMoments::default();
    values.iter().for_each(|value| moments.add(*value));
    moments
}

fn integers(values: &[i128]) -> IntegerMoments {
    let mut moments = IntegerMoments::default();
    values.iter().for_each(|value| moments.add(*value));
    moments
}

/// Sum and average are these, bit by bit.
#[track_caller]
fn check(values: &[f64], sum: f64, average: f64) {
    let moments = moments(values);
    let found = (moments.sum().sum(), moments.sum().average().unwrap());
    let bits = |pair: (f64, f64)| (pair.0.to_bits(), pair.1.to_bits());
    assert_eq!(bits(found), bits((sum, average)), "{values:?}: {found:?}");
}

/// Every order of the values.
fn orders(values: &[f64]) -> Vec<Vec<f64>> {
    if values.is_empty() {
        return vec![Vec::new()];
    }
    let one_first = |first: usize| {
        let mut rest = values.to_vec();
        let value = rest.remove(first);
        orders(&rest).into_iter().map(move |order| [vec![value], order].concat())
    };
    (0..values.len()).flat_map(one_first).collect()
}

#[test]
fn sums_and_averages_are_rounded_once() {
    const MAX: f64 = f64::MAX;
    check(&[0.1; 10], 1.0, 0.1);
    check(&[0.1, 0.2, 0.3], 0.6, 0.2);
    for order in orders(&[1e16, 1.0, -1e16]) {
        check(&order, 1.0, 0.333_333_333_333_333_3);
    }
    for order in orders(&[MAX, MAX, -MAX]) {
        check(&order, MAX, MAX / 3.0);
    }
    check(&[MAX, MAX], f64::INFINITY, MAX);
    check(&[-MAX, -MAX], f64::NEG_INFINITY, -MAX);
    check(&[1.0, 2.0, 3.0, 4.0], 10.0, 2.5);
}

#[test]
fn what_is_not_finite_answers_as_it_is() {
    let (infinity, quiet) = (f64::INFINITY, f64::from_bits(0x7ff8_0000_0000_0000));
    check(&[1.0, f64::NAN], quiet, quiet);
    check(&[1.0, f64::from_bits(0xfff0_0000_0000_0001)], quiet, quiet);
    check(&[infinity, 1.0], infinity, infinity);
    check(&[-infinity, 1.0, -infinity], -infinity, -infinity);
    check(&[infinity, -infinity], quiet, quiet);
    for value in [infinity, -infinity, f64::NAN] {
        let found = moments(&[1.0, value, 3.0]);
        let answers = [
            found.variance_population(),
            found.variance_sample(),
            found.deviation_population(),
            found.deviation_sample(),
        ];
        assert!(answers.iter().all(|answer| answer.unwrap().to_bits() == quiet.to_bits()), "{answers:?}");
    }
}

#[test]
fn nothing_is_poisoned_by_what_has_left() {
    let mut found = moments(&[f64::NAN, 1.0, f64::INFINITY, f64::NEG_INFINITY, 3.0]);
    assert!(found.sum().sum().is_nan());
    found.subtract(-f64::NAN);
    assert!(found.sum().sum().is_nan(), "there are infinities of both signs");
    found.subtract(f64::INFINITY);
    assert_eq!(found.sum().sum(), f64::NEG_INFINITY);
    found.subtract(f64::NEG_INFINITY);
    assert_eq!((found.sum().sum(), found.sum().average(), found.sum().count()), (4.0, Some(2.0), 2));
    assert_eq!((found.variance_population(), found.deviation_sample()), (Some(1.0), Some(2f64.sqrt())));
}

#[test]
fn zeros_have_the_sign_of_the_exact_value() {
    check(&[-0.0, 0.0], 0.0, 0.0);
    check(&[-0.0], 0.0, 0.0);
    check(&[5e-324, -5e-324], 0.0, 0.0);
    check(&[-5e-324, 0.0], -5e-324, -0.0);
    check(&[5e-324, 0.0], 5e-324, 0.0);
    // Three quarters of the least one are nearer to it than to zero.
    check(&[-5e-324, -5e-324, -5e-324, 0.0], -1.5e-323, -5e-324);
}

#[test]
fn nothing_has_no_average_and_one_no_sample() {
    let none = moments(&[]);
    assert_eq!((none.sum().sum().to_bits(), none.sum().average(), none.sum().count()), (0, None, 0));
    assert_eq!((none.variance_population(), none.deviation_population()), (None, None));
    let one = moments(&[5.0]);
    assert_eq!((one.variance_population(), one.deviation_population()), (Some(0.0), Some(0.0)));
    assert_eq!((one.variance_sample(), one.deviation_sample()), (None, None));
    assert_eq!(moments(&[f64::NAN]).variance_sample(), None);
    let none = integers(&[]);
    assert_eq!((none.sum().total(), none.sum().average(2)), (Some(i256::ZERO), None));
    assert_eq!((none.variance_population(0), none.variance_sample(0)), (None, None));
}

#[test]
fn variances_and_deviations_are_rounded_once() {
    let found = moments(&[1.0, 2.0, 3.0, 4.0]);
    assert_eq!((found.variance_population(), found.variance_sample()), (Some(1.25), Some(1.666_666_666_666_666_7)));
    let found = moments(&[1e16, 1e16 + 2.0]);
    assert_eq!((found.variance_sample(), found.deviation_sample()), (Some(2.0), Some(std::f64::consts::SQRT_2)));
    assert_eq!(moments(&[0.1; 10]).variance_population().map(f64::to_bits), Some(0));
    // A variance too great for a float64 has a deviation.
    let found = moments(&[f64::MAX, -f64::MAX]);
    assert_eq!((found.variance_population(), found.deviation_population()), (Some(f64::INFINITY), Some(f64::MAX)));
    // And one too small for a float64 has one too.
    let found = moments(&[5e-324, -5e-324]);
    assert_eq!((found.variance_population(), found.deviation_population()), (Some(0.0), Some(5e-324)));
}

#[test]
fn integers_and_decimals_are_exact() {
    let max = i128::from(i64::MAX);
    assert_eq!(integers(&[max, 1]).sum().total(), Some(i256::from_i128(9_223_372_036_854_775_808)));
    assert_eq!(integers(&[max, 1, -1]).sum().total(), Some(i256::from_i128(max)));
    assert_eq!(integers(&[100, 100]).sum().total(), Some(i256::from_i128(200)));
    let cents = integers(&[10, 10, 10]);
    assert_eq!((cents.sum().total(), cents.sum().average(2)), (Some(i256::from_i128(30)), Some(0.1)));
    let found = integers(&[1, 2, 3, 4]);
    assert_eq!((found.variance_population(0), found.variance_sample(0)), (Some(1.25), Some(1.666_666_666_666_666_7)));
    assert_eq!(found.variance_population(1), Some(0.0125));
    assert_eq!(found.variance_population(-1), Some(125.0));
    assert_eq!(found.deviation_sample(-1), Some(12.909_944_487_358_056));
}

#[test]
fn a_total_beyond_256_bits_does_not_fit_until_it_is_back() {
    let mut sum = IntegerSum::default();
    sum.add_wide(i256::MAX);
    assert_eq!(sum.total(), Some(i256::MAX));
    sum.add(1);
    assert_eq!(sum.total(), None);
    assert_eq!(sum.average(76), Some(2.894_802_230_932_904_7));
    sum.subtract_wide(i256::MAX);
    assert_eq!(sum.total(), Some(i256::ONE));
    sum.add_wide(i256::MIN);
    sum.subtract(1);
    assert_eq!(sum.total(), Some(i256::MIN));
    sum.add(-1);
    assert_eq!(sum.total(), None);
    sum.subtract_wide(i256::MIN);
    assert_eq!((sum.total(), sum.count()), (Some(i256::MINUS_ONE), 1));
}

#[test]
fn a_million_values_of_one_exponent_lose_no_carry() {
    for value in [1.9, -1.9, f64::MAX, 5e-324, 1.1e-300] {
        let mut sum = FloatMoments::default();
        (0..1_000_000).for_each(|_| sum.add(value));
        let (found, spread) = (sum.sum(), sum.variance_population());
        let exact = value * 1e6;
        // The product is rounded once too.
        assert_eq!((found.sum().to_bits(), found.average(), spread), (exact.to_bits(), Some(value), Some(0.0)));
    }
}

#[test]
fn a_sum_is_small() {
    assert!(size_of::<FloatSum>() <= 64);
    assert!(size_of::<IntegerSum>() <= 64);
}

#[test]
#[should_panic(expected = "a value is taken back that was not added")]
fn an_infinity_that_was_not_added_cannot_leave() {
    moments(&[1.0, f64::INFINITY]).subtract(f64::NEG_INFINITY);
}
