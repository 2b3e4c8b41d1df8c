//! What an aggregate answers: its window, what counts in it, and the status. `docs/aggregates.md` has the words.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::function::{Cells, Function, OutOfRange, Pick, of_nothing, of_rows};
use super::order::{compare, compare_plain};
use super::{Answer, AsOf, Bounds, Kind, Row, Value, hidden, visible};

/// What a function may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Feature(u32),
    EventTime,
    RowId,
}

/// A condition on the cell of a feature. Only [`Test::Null`] is passed by what is null or absent.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Is(Value),
    IsNot(Value),
    In(Vec<Value>),
    NotIn(Vec<Value>),
    Less(Value),
    LessOrEqual(Value),
    Greater(Value),
    GreaterOrEqual(Value),
    Null(bool),
}

/// Durations are in µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Duration(i64),
    Lifetime,
    Session { gap: i64 },
}

/// The feature whose values divide the rows: without keys the answer is a map, else a struct of the keys.
#[derive(Debug, Clone, PartialEq)]
pub struct By {
    pub feature: u32,
    pub keys: Option<Vec<Value>>,
}

/// An aggregate as it is declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub name: String,
    pub function: Function,
    /// Empty where rows are counted.
    pub of: Vec<Column>,
    /// The decimal places of the input: an unscaled integer is divided by 10 to this power.
    pub scale: u32,
    pub conditions: Vec<(u32, Test)>,
    pub by: Option<By>,
    pub windows: Vec<Window>,
    /// µs.
    pub delay: i64,
    pub default: Option<Value>,
}

/// An identity with all its standing writes put together: for each feature the first standing cell that is not absent.
struct Event {
    event_time: i64,
    row_id: Option<i64>,
    cells: BTreeMap<u32, Option<Value>>,
}

/// The event times that an answer counts, both ends within; and down to where rows may change it.
struct Reach {
    from: i128,
    to: i128,
    asked_from: i128,
}

impl Reach {
    fn holds(&self, event_time: i64) -> bool {
        (self.from..=self.to).contains(&event_time.into())
    }
}

/// The answer of `aggregate` for one of its windows. Rows with event times up to `kept_from` may be gone.
pub fn answer(
    rows: &[Row],
    entity: usize,
    aggregate: &Aggregate,
    window: Window,
    bounds: &Bounds,
    kept_from: Option<i64>,
) -> Result<Answer, OutOfRange> {
    let seen = visible(rows, entity, bounds);
    let moments: Vec<&[&Row]> = seen.chunk_by(|one, other| one.event_time == other.event_time).collect();
    let deletes: Vec<i64> = moments.iter().copied().filter(|moment| deleted(moment)).map(|m| m[0].event_time).collect();
    let after_deletes = moments.iter().copied().filter(|m| deletes.first().is_none_or(|last| m[0].event_time >= *last));
    let mut events: Vec<Event> = after_deletes.flat_map(standing_events).collect();
    events.sort_by_key(|event| (event.event_time, event.row_id));

    let reach = reach(window, aggregate.delay, bounds, &events);
    if kept_from.is_some_and(|kept_from| reach.asked_from <= kept_from.into()) {
        return Ok(("forgotten", None, None));
    }
    let contributing: Vec<&Event> =
        events.iter().filter(|event| reach.holds(event.event_time) && contributes(aggregate, event)).collect();
    let newest = contributing.iter().map(|event| event.event_time).max();
    let value = match &aggregate.by {
        None => plain_answer(aggregate, &contributing)?,
        Some(by) => answer_by(aggregate, by, &contributing)?,
    };
    let status = match (newest, &value) {
        (Some(_), Some(_)) => "value",
        (Some(_), None) => "null",
        (None, _) if deletes.iter().any(|delete| reach.holds(*delete)) => "deleted",
        (None, _) => "never",
    };
    Ok((status, value, newest))
}

/// Whether a delete stands among the rows of one event time.
fn deleted(moment: &[&Row]) -> bool {
    moment.iter().any(|row| row.kind == Kind::Delete && !hidden(moment, row, None))
}

/// The identities of one event time of which a write stands.
fn standing_events(moment: &[&Row]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    // The rows of an identity follow each other, the newest first.
    for row in moment.iter().filter(|row| row.kind == Kind::Write && !hidden(moment, row, None)) {
        if events.last().is_none_or(|event| event.row_id != row.row_id) {
            events.push(Event { event_time: row.event_time, row_id: row.row_id, cells: BTreeMap::new() });
        }
        let event = events.last_mut().expect("one was pushed");
        for (feature, cell) in row.cells.iter().filter(|(feature, _)| !hidden(moment, row, Some(**feature))) {
            event.cells.entry(*feature).or_insert_with(|| cell.clone());
        }
    }
    events
}

/// Ends are computed in 128 bits, so that none can be beyond what an event time may be.
fn reach(window: Window, delay: i64, bounds: &Bounds, events: &[Event]) -> Reach {
    let anchor = match bounds.as_of {
        AsOf::At(time) => i128::from(time),
        AsOf::Before(time) => i128::from(time) - 1,
        AsOf::Open => i128::from(bounds.known_at.unwrap_or(bounds.clock)),
    } - i128::from(delay);
    let open = bounds.as_of == AsOf::Open && delay == 0;
    let to = if open { i128::MAX } else { anchor };
    let from = match window {
        Window::Duration(duration) => anchor - i128::from(duration) + 1,
        Window::Lifetime => i128::MIN,
        Window::Session { gap } => return session(gap.into(), anchor, to, events),
    };
    Reach { from, to, asked_from: from }
}

/// Back from the newest event until the next is more than `gap` away.
fn session(gap: i128, anchor: i128, to: i128, events: &[Event]) -> Reach {
    let times = events.iter().rev().map(|event| i128::from(event.event_time)).filter(|time| *time <= to);
    let mut from = None;
    for time in times {
        if from.unwrap_or(anchor) - time > gap {
            break;
        }
        from = Some(time);
    }
    let asked_from = from.unwrap_or(anchor) - gap;
    Reach { from: from.unwrap_or(asked_from), to, asked_from }
}

/// Whether `event` passes the conditions, has a key where there is `by`, and has what the function is of.
fn contributes(aggregate: &Aggregate, event: &Event) -> bool {
    let cell = |feature: &u32| event.cells.get(feature).and_then(Option::as_ref);
    let passed = aggregate.conditions.iter().all(|(feature, test)| passes(test, cell(feature)));
    let key = aggregate.by.as_ref().is_none_or(|by| match (cell(&by.feature), &by.keys) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(key), Some(keys)) => keys.contains(key),
    });
    let keep_nulls = matches!(
        aggregate.function,
        Function::First(Pick { keep_nulls: true, .. }) | Function::Last(Pick { keep_nulls: true, .. })
    );
    let mut features = aggregate.of.iter().filter_map(|column| match column {
        Column::Feature(feature) => Some(feature),
        Column::EventTime | Column::RowId => None,
    });
    let mut of_features = features.clone().peekable();
    let given = keep_nulls || of_features.peek().is_none() || features.any(|feature| cell(feature).is_some());
    passed && key && given
}

fn passes(test: &Test, cell: Option<&Value>) -> bool {
    let Some(cell) = cell else { return *test == Test::Null(true) };
    let order = |value: &Value| compare_plain(cell, value);
    match test {
        Test::Is(value) => order(value).is_eq(),
        Test::IsNot(value) => order(value).is_ne(),
        Test::In(values) => values.iter().any(|value| order(value).is_eq()),
        Test::NotIn(values) => values.iter().all(|value| order(value).is_ne()),
        Test::Less(value) => order(value).is_lt(),
        Test::LessOrEqual(value) => order(value).is_le(),
        Test::Greater(value) => order(value).is_gt(),
        Test::GreaterOrEqual(value) => order(value).is_ge(),
        Test::Null(wanted) => !wanted,
    }
}

/// The function's answer over `events`, or what stands for none.
fn plain_answer(aggregate: &Aggregate, events: &[&Event]) -> Result<Option<Value>, OutOfRange> {
    if events.is_empty() {
        return Ok(aggregate.default.clone().or_else(|| of_nothing(&aggregate.function)));
    }
    let cell = |event: &Event, column: &Column| match column {
        Column::Feature(feature) => event.cells.get(feature).cloned().flatten(),
        Column::EventTime => Some(Value::Int(event.event_time.into())),
        Column::RowId => event.row_id.map(|row_id| Value::Int(row_id.into())),
    };
    let rows: Vec<Cells> =
        events.iter().map(|event| aggregate.of.iter().map(|column| cell(event, column)).collect()).collect();
    of_rows(&aggregate.function, aggregate.scale, &rows)
}

/// A map of the keys that there are, in their order; or a struct of those that were declared.
fn answer_by(aggregate: &Aggregate, by: &By, events: &[&Event]) -> Result<Option<Value>, OutOfRange> {
    let key = |event: &Event| event.cells[&by.feature].clone().expect("without a key it does not contribute");
    let of_key = |wanted: &Value| {
        let same: Vec<&Event> = events.iter().copied().filter(|event| key(event) == *wanted).collect();
        plain_answer(aggregate, &same)
    };
    let Some(keys) = &by.keys else {
        let mut keys: Vec<Value> = events.iter().map(|event| key(event)).collect();
        keys.sort_by(compare);
        keys.dedup_by(|one, other| compare(one, other) == Ordering::Equal);
        let entry = |key: &Value| Ok(Some(Value::List(vec![Some(key.clone()), of_key(key)?])));
        return Ok(Some(Value::List(keys.iter().map(entry).collect::<Result<_, _>>()?)));
    };
    Ok(Some(Value::List(keys.iter().map(of_key).collect::<Result<_, _>>()?)))
}
