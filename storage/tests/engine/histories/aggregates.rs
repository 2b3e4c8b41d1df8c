//! Random aggregates of the tables of a history: every function that the engine knows, of every type that it takes.

use rand::Rng;
use rand::rngs::StdRng;

use crate::oracle::Value;
use crate::oracle::aggregate::{Aggregate, Column, Test, Window};
use crate::oracle::function::{Function, Pick, SumType};
use crate::types::Type;
use crate::world::plain::UNIT;
use crate::world::{Output, Shape};

/// Outputs are numbered from here, beyond all features.
const OUTPUTS: u32 = 1000;
/// The most windows of an aggregate.
const WINDOWS_MAX: usize = 3;
/// The most aggregates that one table ever has.
const AGGREGATES_MAX: u32 = 4;

/// What is known of a table where an aggregate is declared.
pub struct Known {
    table: usize,
    row_ids: bool,
    /// All features so far; an aggregate of one that is retired is not declared when the history runs.
    pub features: Vec<(u32, Type)>,
    aggregates: u32,
}

impl Known {
    pub fn new(table: usize, row_ids: bool, shape: &Shape) -> Self {
        let features = shape.features.iter().map(|feature| (feature.id, feature.kind)).collect();
        Self { table, row_ids, features, aggregates: 0 }
    }

    /// Whether there may be one more.
    pub fn has_room(&self) -> bool {
        self.aggregates < AGGREGATES_MAX
    }

    /// The id that an output of those so far has, or would have if there were more windows.
    pub fn any_output(&self, random: &mut StdRng) -> Option<u32> {
        let outputs = self.aggregates * WINDOWS_MAX as u32;
        (outputs > 0).then(|| OUTPUTS + random.random_range(0..outputs))
    }

    /// One more aggregate: its windows.
    pub fn declare(&mut self, random: &mut StdRng) -> Vec<Output> {
        let first = OUTPUTS + self.aggregates * WINDOWS_MAX as u32;
        let name = format!("a{}_{}", self.table, self.aggregates);
        self.aggregates += 1;
        Output::all_of(self.aggregate(random, name), first)
    }

    fn feature(&self, random: &mut StdRng, fits: impl Fn(Type) -> bool) -> Option<(u32, Type)> {
        let fitting: Vec<(u32, Type)> = self.features.iter().copied().filter(|(_, kind)| fits(*kind)).collect();
        (!fitting.is_empty()).then(|| fitting[random.random_range(0..fitting.len())])
    }

    fn aggregate(&self, random: &mut StdRng, name: String) -> Aggregate {
        let (function, of, kind) = self.function(random);
        let scale = match (&function, kind) {
            (Function::Sum(_) | Function::Avg, Some(Type::SmallDecimal | Type::Decimal)) => 2,
            _ => 0,
        };
        let default = if random.random_bool(0.3) { default(&function, scale, kind, random) } else { None };
        Aggregate {
            name,
            function,
            of,
            scale,
            conditions: self.conditions(random),
            by: None,
            windows: windows(random),
            delay: if random.random_bool(0.7) { 0 } else { [1, 3, 10][random.random_range(0..3)] * UNIT },
            default,
        }
    }

    /// A function, what it is of, and the type of that if it is one feature.
    fn function(&self, random: &mut StdRng) -> (Function, Vec<Column>, Option<Type>) {
        let roll = random.random_range(0..16);
        let of = |feature: (u32, Type)| (vec![Column::Feature(feature.0)], Some(feature.1));
        let chosen = match roll {
            0 | 1 => None,
            2 => self.feature(random, |_| true).map(|feature| (Function::Count, of(feature))),
            3..7 => self.feature(random, is_number).map(|feature| {
                let sum = random.random_bool(0.6);
                let whole = random.random_bool(0.2);
                (if sum { Function::Sum(sum_type(feature.1, whole)) } else { Function::Avg }, of(feature))
            }),
            7..10 => {
                let function = if random.random_bool(0.5) { Function::Min } else { Function::Max };
                let beside = self.beside(random).map(|column| (vec![column], None));
                beside.or_else(|| self.feature(random, Type::has_default).map(of)).map(|of| (function, of))
            }
            _ => {
                let n = random.random_bool(0.7).then(|| random.random_range(1..5));
                let distinct = n.is_some() && random.random_bool(0.5);
                let pick = Pick { n, distinct, keep_nulls: random.random_bool(0.3) };
                let function = if roll < 13 { Function::First(pick) } else { Function::Last(pick) };
                Some((function, self.listed(random)))
            }
        };
        let (function, (of, kind)) = chosen.unwrap_or((Function::Count, (Vec::new(), None)));
        (function, of, kind)
    }

    /// One column, or several.
    fn listed(&self, random: &mut StdRng) -> (Vec<Column>, Option<Type>) {
        let (id, kind) = self.feature(random, |_| true).expect("a table has features");
        let mut of = vec![Column::Feature(id)];
        if random.random_bool(0.6) {
            return (of, Some(kind));
        }
        of.extend(self.beside(random));
        let more = self.feature(random, |_| true).map(|(id, _)| Column::Feature(id));
        of.extend(more.filter(|more| *more != of[0]));
        let first = random.random_range(0..of.len());
        of.rotate_left(first);
        let kind = if of.len() == 1 { Some(kind) } else { None };
        (of, kind)
    }

    /// The event time or the row id, sometimes.
    fn beside(&self, random: &mut StdRng) -> Option<Column> {
        match random.random_range(0..6) {
            0 => Some(Column::EventTime),
            1 if self.row_ids => Some(Column::RowId),
            _ => None,
        }
    }

    /// Conditions on features that differ.
    fn conditions(&self, random: &mut StdRng) -> Vec<(u32, Test)> {
        let mut conditions: Vec<(u32, Test)> = Vec::new();
        for _ in 0..[0, 0, 1, 1, 2][random.random_range(0..5)] {
            let (id, kind) = self.feature(random, |_| true).expect("a table has features");
            if conditions.iter().all(|(known, _)| *known != id) {
                conditions.push((id, test(kind, random)));
            }
        }
        conditions
    }
}

fn is_number(kind: Type) -> bool {
    kind.has_default() && !matches!(kind, Type::Bool | Type::Text | Type::Timestamp)
}

fn sum_type(kind: Type, whole: bool) -> SumType {
    match kind {
        Type::Float32 | Type::Float64 => SumType::Float64,
        Type::SmallDecimal | Type::Decimal => SumType::Decimal { precision: 38 },
        _ if whole => SumType::Decimal { precision: 38 },
        _ => SumType::Int64,
    }
}

fn windows(random: &mut StdRng) -> Vec<Window> {
    let mut windows = Vec::new();
    for _ in 0..random.random_range(1..=WINDOWS_MAX) {
        let window = match random.random_range(0..6) {
            0 => Window::Lifetime,
            at => Window::Duration([1, 3, 10, 30, 100][at - 1] * UNIT),
        };
        if !windows.contains(&window) {
            windows.push(window);
        }
    }
    windows
}

/// What a cell of `kind` must be. A moment by itself would be read as an object of tests.
fn test(kind: Type, random: &mut StdRng) -> Test {
    let roll = random.random_range(if kind == Type::Timestamp { 1..10 } else { 0..10 });
    if roll > 7 || !kind.has_default() {
        return Test::Null(random.random_bool(0.5));
    }
    let value = kind.sample(random);
    match roll {
        0 => Test::Is(value),
        1 => Test::IsNot(value),
        2 => Test::Less(value),
        3 => Test::LessOrEqual(value),
        4 => Test::Greater(value),
        5 => Test::GreaterOrEqual(value),
        _ => {
            let values = (0..random.random_range(1..8)).map(|_| kind.sample(random)).collect();
            if roll == 6 { Test::In(values) } else { Test::NotIn(values) }
        }
    }
}

/// A default, if the answers have a type that can have one.
fn default(function: &Function, scale: u32, kind: Option<Type>, random: &mut StdRng) -> Option<Value> {
    let kind = match function {
        Function::Count | Function::Sum(SumType::Int64) => Type::Int64,
        Function::Sum(SumType::Float64) | Function::Avg => Type::Float64,
        Function::Sum(SumType::Decimal { .. }) if scale > 0 => Type::Decimal,
        Function::Min | Function::Max => kind?,
        Function::First(pick) | Function::Last(pick) if pick.n.is_none() => kind.filter(|kind| kind.has_default())?,
        _ => return None,
    };
    Some(kind.sample(random))
}
