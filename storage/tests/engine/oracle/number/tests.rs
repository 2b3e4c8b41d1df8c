//! Rounding against Rust's own reading and arithmetic, which round each single operation to nearest and even.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{decimal, exact, power_of_ten, rounded, rounded_root};

/// A finite double of any exponent.
fn any_finite(random: &mut StdRng) -> f64 {
    loop {
        let value = f64::from_bits(random.random());
        if value.is_finite() {
            return value;
        }
    }
}

fn fraction(value: f64) -> BigRational {
    exact(value.to_bits()).expect("a finite double")
}

#[test]
fn aggregate_numbers_of_doubles_round_to_themselves() {
    let mut random = StdRng::seed_from_u64(1);
    let edges = [0.0, f64::MIN_POSITIVE, f64::MAX, f64::MIN, 5e-324, -5e-324, 2.225_073_858_507_201e-308];
    for value in edges.into_iter().chain((0..2000).map(|_| any_finite(&mut random))) {
        assert_eq!(rounded(&fraction(value)).to_bits(), value.to_bits(), "{value:e}");
    }
    assert_eq!(exact(f64::NAN.to_bits()), None);
    assert_eq!(exact(f64::NEG_INFINITY.to_bits()), None);
    assert_eq!(exact((-0.0f64).to_bits()), Some(BigRational::zero()));
    assert_eq!(rounded(&BigRational::zero()).to_bits(), 0);
}

#[test]
fn aggregate_numbers_round_as_single_operations_do() {
    let mut random = StdRng::seed_from_u64(2);
    for _ in 0..1000 {
        let (left, right) = (any_finite(&mut random), any_finite(&mut random));
        // Numbers whose exponents are near each other, so that nothing is just the greater one.
        let near = left * random.random_range(-4.0..4.0);
        let (a, b) = (fraction(left), fraction(right));
        if near.is_finite() {
            let sum = rounded(&(&a + fraction(near)));
            assert_eq!(sum, left + near, "{left:e} + {near:e}");
        }
        assert_eq!(rounded(&(&a * &b)).to_bits(), (left * right).to_bits(), "{left:e} × {right:e}");
        if right != 0.0 {
            assert_eq!(rounded(&(&a / &b)).to_bits(), (left / right).to_bits(), "{left:e} / {right:e}");
        }
        assert_eq!(rounded_root(&fraction(left.abs())), left.abs().sqrt(), "root of {left:e}");
    }
}

#[test]
fn aggregate_numbers_round_as_decimals_are_read() {
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..2000 {
        let (digits, power) = (random.random_range(1..u64::MAX), random.random_range(0..345u32));
        let small = BigRational::new(BigInt::from(digits), power_of_ten(power));
        assert_eq!(rounded(&small), format!("{digits}e-{power}").parse::<f64>().unwrap(), "{digits}e-{power}");
        let power = power.min(300);
        let great = BigRational::from(BigInt::from(digits) * power_of_ten(power));
        assert_eq!(rounded(&great), format!("{digits}e{power}").parse::<f64>().unwrap(), "{digits}e{power}");
    }
    assert_eq!(rounded(&decimal("-0.07")), -0.07);
    assert_eq!(decimal("0.07") * BigRational::from(BigInt::from(100)), decimal("7"));
}

#[test]
fn aggregate_numbers_at_the_ends_of_the_doubles() {
    let half = BigRational::new(BigInt::from(1), BigInt::from(2));
    let (least, greatest) = (fraction(5e-324), fraction(f64::MAX));
    assert_eq!(rounded(&(&least * &half)), 0.0, "a half of the least is even as zero");
    assert_eq!(rounded(&(-&least * &half)).to_bits(), (-0.0f64).to_bits(), "what rounds to zero keeps its sign");
    assert_eq!(rounded(&(&least * BigRational::new(BigInt::from(51), BigInt::from(100)))), 5e-324);
    // The greatest double and a half of the step to the next is even as the next, which is infinity.
    let step = fraction(f64::MAX) - fraction(f64::MAX.next_down());
    let edge = &greatest + &step * &half;
    assert_eq!(rounded(&edge), f64::INFINITY);
    assert_eq!(rounded(&(&edge - &least)), f64::MAX);
    assert_eq!(rounded(&-&edge), f64::NEG_INFINITY);
    // Halves go to the even neighbour: 2^53 + 1 and 2^53 + 3.
    let above = |more: u64| rounded(&BigRational::from(BigInt::from((1u64 << 53) + more)));
    assert_eq!((above(1), above(3)), (9_007_199_254_740_992.0, 9_007_199_254_740_996.0));
    // The root of the least double, which is far above it, and of a number beyond all doubles.
    assert_eq!(rounded_root(&least), 5e-324f64.sqrt());
    assert_eq!(rounded_root(&(&greatest * &greatest)), f64::MAX);
}
