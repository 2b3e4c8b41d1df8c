//! The functions of aggregates, over all rows that contribute to an answer at once: exact fractions and sorting.

use std::cmp::Reverse;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, ToPrimitive, Zero};

use super::Value;
use super::number::{QUIET_NAN, decimal, exact, power_of_ten, rounded, rounded_root};
use super::order::{compare, compare_plain, plain};

/// What a sum is answered as. A decimal has the places of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SumType {
    Int64,
    Uint64,
    Float64,
    Decimal { precision: u32 },
}

/// What `first` and `last` keep: the one row or a list of `n`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pick {
    pub n: Option<usize>,
    pub distinct: bool,
    pub keep_nulls: bool,
}

/// One quantile, or a list of them, as decimals.
#[derive(Debug, Clone, PartialEq)]
pub enum Quantiles {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Function {
    Count,
    Sum(SumType),
    Avg,
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
    Min,
    Max,
    First(Pick),
    Last(Pick),
    CountDistinct,
    Percentile {
        q: Quantiles,
        linear: bool,
    },
    TopK(usize),
    /// The edges are of the type of the input.
    Histogram(Vec<Value>),
}

/// A sum that its type cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

/// One row's cells of the columns that the function is of.
pub type Cells = Vec<Option<Value>>;

/// What `function` answers if no row contributes and nothing else is declared for that.
pub fn of_nothing(function: &Function) -> Option<Value> {
    match function {
        Function::Count | Function::CountDistinct => Some(Value::Int(0)),
        Function::First(Pick { n: Some(_), .. }) | Function::Last(Pick { n: Some(_), .. }) | Function::TopK(_) => {
            Some(Value::List(Vec::new()))
        }
        Function::Histogram(edges) => Some(Value::List(vec![Some(Value::Int(0)); edges.len() + 1])),
        _ => None,
    }
}

/// What `function` answers of the rows that contribute, at least one, the first of them first. An unscaled integer is
/// divided by 10 to the power of `scale`.
pub fn of_rows(function: &Function, scale: u32, rows: &[Cells]) -> Result<Option<Value>, OutOfRange> {
    let cells = || rows.iter().map(|row| row[0].clone().expect("what has no value does not contribute"));
    let numbers = || Numbers::of(cells(), scale);
    let ordered = || {
        let mut values: Vec<Value> = cells().collect();
        values.sort_by(compare);
        values
    };
    Ok(match function {
        Function::Count => Some(count(rows.len())),
        Function::Sum(SumType::Float64) => Some(numbers().finish(|numbers| rounded(&sum(numbers)))),
        Function::Sum(kind) => Some(whole_sum(*kind, cells())?),
        Function::Avg => Some(numbers().finish(|numbers| rounded(&mean(numbers)))),
        Function::VarPop => numbers().spread(0, rounded),
        Function::VarSamp => numbers().spread(1, rounded),
        Function::StddevPop => numbers().spread(0, rounded_root),
        Function::StddevSamp => numbers().spread(1, rounded_root),
        Function::Min => ordered().first().cloned(),
        Function::Max => ordered().last().cloned(),
        Function::First(pick) => picked(*pick, rows.iter()),
        Function::Last(pick) => picked(*pick, rows.iter().rev()),
        Function::CountDistinct => Some(count(by_frequency(cells()).len())),
        Function::Percentile { q, linear } => {
            let values = ordered();
            let at = |q: &String| if *linear { between(&values, q, scale) } else { nearest_rank(&values, q) };
            Some(match q {
                Quantiles::One(q) => at(q),
                Quantiles::Many(many) => Value::List(many.iter().map(|q| Some(at(q))).collect()),
            })
        }
        Function::TopK(k) => {
            let top = by_frequency(cells()).into_iter().take(*k);
            Some(Value::List(top.map(|(value, n)| Some(Value::List(vec![Some(value), Some(count(n))]))).collect()))
        }
        Function::Histogram(edges) => {
            let mut bins = vec![0; edges.len() + 1];
            cells().for_each(|cell| bins[edges.iter().filter(|edge| compare_plain(&cell, edge).is_ge()).count()] += 1);
            Some(Value::List(bins.into_iter().map(|bin| Some(count(bin))).collect()))
        }
    })
}

fn count(rows: usize) -> Value {
    Value::Int(rows as i128)
}

fn float(value: f64) -> Value {
    Value::Float(if value.is_nan() { QUIET_NAN } else { value.to_bits() })
}

/// Stored numbers: those that are finite as fractions, and which others there are.
struct Numbers {
    count: usize,
    finite: Vec<BigRational>,
    nan: bool,
    positive_infinity: bool,
    negative_infinity: bool,
}

impl Numbers {
    fn of(cells: impl Iterator<Item = Value>, scale: u32) -> Self {
        let mut numbers =
            Self { count: 0, finite: Vec::new(), nan: false, positive_infinity: false, negative_infinity: false };
        for cell in cells {
            numbers.count += 1;
            match cell {
                Value::Int(unscaled) => {
                    numbers.finite.push(BigRational::new(BigInt::from(unscaled), power_of_ten(scale)));
                }
                Value::Float(bits) => match exact(bits) {
                    Some(number) => numbers.finite.push(number),
                    None if f64::from_bits(bits).is_nan() => numbers.nan = true,
                    None if f64::from_bits(bits) > 0.0 => numbers.positive_infinity = true,
                    None => numbers.negative_infinity = true,
                },
                other => panic!("{other:?} is no number"),
            }
        }
        numbers
    }

    /// What `answer` says of finite numbers; else NaN or the infinity.
    fn finish(&self, answer: impl Fn(&[BigRational]) -> f64) -> Value {
        float(match (self.nan, self.positive_infinity, self.negative_infinity) {
            (true, _, _) | (_, true, true) => f64::NAN,
            (_, true, _) => f64::INFINITY,
            (_, _, true) => f64::NEG_INFINITY,
            _ => answer(&self.finite),
        })
    }

    /// The squared distances from the mean, added up and divided by how many numbers there are without `less`; none if
    /// that leaves none.
    fn spread(&self, less: usize, finish: impl Fn(&BigRational) -> f64) -> Option<Value> {
        let divisor = whole(self.count.checked_sub(less).filter(|count| *count > 0)?);
        if self.finite.len() < self.count {
            return Some(float(f64::NAN));
        }
        let mean = mean(&self.finite);
        let squares = self.finite.iter().map(|number| (number - &mean) * (number - &mean));
        Some(float(finish(&(squares.sum::<BigRational>() / divisor))))
    }
}

fn whole(number: usize) -> BigRational {
    BigRational::from(BigInt::from(number))
}

fn sum(numbers: &[BigRational]) -> BigRational {
    numbers.iter().sum()
}

fn mean(numbers: &[BigRational]) -> BigRational {
    sum(numbers) / whole(numbers.len())
}

fn whole_sum(kind: SumType, cells: impl Iterator<Item = Value>) -> Result<Value, OutOfRange> {
    let mut sum = BigInt::zero();
    for cell in cells {
        let Value::Int(cell) = cell else { panic!("{cell:?} in a sum of integers") };
        sum += cell;
    }
    let (least, greatest) = match kind {
        SumType::Int64 => (BigInt::from(i64::MIN), BigInt::from(i64::MAX)),
        SumType::Uint64 => (BigInt::zero(), BigInt::from(u64::MAX)),
        SumType::Decimal { precision } => (BigInt::one() - power_of_ten(precision), power_of_ten(precision) - 1),
        SumType::Float64 => panic!("a sum of floats is no whole number"),
    };
    let fits = least <= sum && sum <= greatest;
    Ok(Value::Int(sum.to_i128().filter(|_| fits).ok_or(OutOfRange)?))
}

/// The rows that `pick` keeps, in the order given; of one column its cell, of several all of them.
fn picked<'a>(pick: Pick, rows: impl Iterator<Item = &'a Cells>) -> Option<Value> {
    let mut kept: Vec<Option<Value>> = Vec::new();
    for row in rows {
        let value = if let [cell] = &row[..] { cell.clone() } else { Some(Value::List(row.clone())) };
        let value = if pick.distinct { value.as_ref().map(plain) } else { value };
        if !pick.distinct || !kept.contains(&value) {
            kept.push(value);
        }
    }
    match pick.n {
        None => kept.swap_remove(0),
        Some(n) => Some(Value::List(kept.into_iter().take(n).collect())),
    }
}

/// The values that differ, each with how often it is there: the most frequent first, of equally frequent the least.
fn by_frequency(cells: impl Iterator<Item = Value>) -> Vec<(Value, usize)> {
    let mut values: Vec<Value> = cells.map(|cell| plain(&cell)).collect();
    values.sort_by(compare);
    let mut counts: Vec<(Value, usize)> =
        values.chunk_by(|left, right| left == right).map(|same| (same[0].clone(), same.len())).collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    counts
}

fn nearest_rank(ordered: &[Value], q: &str) -> Value {
    let rank = (decimal(q) * whole(ordered.len())).ceil().to_integer().to_usize().expect("a quantile is at most one");
    ordered[rank.max(1) - 1].clone()
}

/// The value at `q` of the way from the first to the last, on the line between its two neighbours.
fn between(ordered: &[Value], q: &str, scale: u32) -> Value {
    let place = decimal(q) * whole(ordered.len() - 1);
    let below = place.floor().to_integer().to_usize().expect("a quantile is at least zero");
    let rest = place.fract();
    let neighbours = if rest.is_zero() { &ordered[below..=below] } else { &ordered[below..=below + 1] };
    Numbers::of(neighbours.iter().cloned(), scale).finish(|numbers| match numbers {
        [below, above] => rounded(&(below + (above - below) * &rest)),
        _ => rounded(&numbers[0]),
    })
}
