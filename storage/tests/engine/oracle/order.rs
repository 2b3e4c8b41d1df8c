//! The order of values in answers, and which values are one.

use std::cmp::Ordering;

use super::Value;
use super::number::QUIET_NAN;

const SIGN: u64 = 1 << 63;

/// The order of scalars of one type: −0.0 is below 0.0, and NaN above all numbers. Texts are compared by their bytes;
/// NaN that differ in their bits by these, so that no two values that differ are equal.
pub fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Float(left), Value::Float(right)) => rank(*left).cmp(&rank(*right)),
        _ => panic!("{left:?} and {right:?} have no order"),
    }
}

fn rank(bits: u64) -> (bool, i128) {
    let size = i128::from(bits & !SIGN);
    match f64::from_bits(bits).is_nan() {
        true => (true, bits.into()),
        false => (false, if bits == bits & !SIGN { size } else { -1 - size }),
    }
}

/// The value that stands for all that are one with `value`: any NaN is the quiet one, −0.0 is 0.0.
pub fn plain(value: &Value) -> Value {
    match value {
        Value::Float(bits) if f64::from_bits(*bits).is_nan() => Value::Float(QUIET_NAN),
        Value::Float(SIGN) => Value::Float(0),
        Value::List(items) => Value::List(items.iter().map(|item| item.as_ref().map(plain)).collect()),
        _ => value.clone(),
    }
}

/// The order in conditions and at the edges of a histogram: that of [`compare`], where NaN equals NaN and −0.0 equals 0.0.
pub fn compare_plain(left: &Value, right: &Value) -> Ordering {
    compare(&plain(left), &plain(right))
}
