//! Scans, with history and without: asked of the database and of the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_select::concat::concat_batches;
use firn_storage::error::{Error, Kind as ErrorKind};
use firn_storage::read::{Scan, ScanRequest};
use firn_storage::time::Clock;

use super::ask::{Asked, Limit};
use super::{Outcome, Shape, World, calmly};
use crate::oracle::{self, AsOf, Bounds, Kind, Row, Value};
use crate::types::value_at;

/// A scan of one table.
#[derive(Debug, Clone)]
pub struct Sweep {
    pub table: usize,
    pub history: bool,
    pub as_of: Limit,
    pub known_at: Limit,
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub position: Option<usize>,
    pub clock: Option<i64>,
    pub version: Option<usize>,
    pub parts: usize,
}

impl Sweep {
    /// The whole of `table`, with its history.
    pub fn history(table: usize) -> Self {
        let (as_of, known_at) = (Limit::Open, Limit::Open);
        let (from, to, position, clock, version) = (None, None, None, None, None);
        Self { table, history: true, as_of, known_at, from, to, position, clock, version, parts: 1 }
    }

    /// Whether the event times of the newest standing rows are asked for. It goes by the number of parts, so that old seeds
    /// mean what they meant.
    fn event_time(&self) -> bool {
        !self.history && self.parts.is_multiple_of(2)
    }

    /// Whether the status and the event time of each answer are asked for, likewise.
    fn told(&self) -> bool {
        !self.history && !self.parts.is_multiple_of(2)
    }

    /// What is named of a table of this shape, in an order that likewise differs; nothing asks for all features.
    fn named(&self, shape: &Shape) -> Option<Vec<Asked>> {
        let mut named = Asked::of(self.table, shape, None);
        match self.parts % 3 {
            1 => {}
            2 => named.reverse(),
            _ => return None,
        }
        (!self.history && !shape.outputs.is_empty()).then_some(named)
    }

    /// Whether only entities of even numbers are asked for, by their keys.
    fn only_even(&self) -> bool {
        self.parts.is_multiple_of(3)
    }

    /// Whether `entity` is asked for.
    fn asks(&self, entity: usize) -> bool {
        !self.only_even() || entity.is_multiple_of(2)
    }

    /// Whether `time` is among the event times that are asked for.
    fn covers(&self, time: i64) -> bool {
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }
}

/// A row of a history, in the form that engine and oracle are compared in.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    entity: usize,
    event_time: i64,
    row_id: Option<i64>,
    ingest_time: i64,
    kind: &'static str,
    place: u64,
    features: Option<BTreeSet<String>>,
    cells: Vec<Option<Value>>,
}

impl World {
    /// The engine's answer to `sweep` and the clock that its ages go by.
    pub fn sweep(&self, sweep: &Sweep) -> Result<(Vec<RecordBatch>, i64), Error> {
        let named = self.shapes(sweep.version).get(sweep.table).and_then(|shape| sweep.named(shape));
        let request = ScanRequest {
            table: self.tables[sweep.table].name.clone(),
            columns: named.map(|named| named.into_iter().map(|asked| asked.name).collect()),
            as_of: sweep.as_of.bound("as_of"),
            known_at: sweep.known_at.bound("known_at"),
            history: sweep.history,
            from: sweep.from,
            to: sweep.to,
            position: sweep.position.map(|ack| self.acks[ack].position.clone()),
            durable: false,
            schema_version: sweep.version.map(|version| self.versions[version].0),
            clock: sweep.clock,
            parts: sweep.parts,
            keys: sweep.only_even().then(|| {
                // Unknown ones and repetitions are no errors, and add nothing.
                let written = self.tables[sweep.table].rows.iter().map(|row| row.entity);
                let even: Vec<usize> = written.chain([2, 4]).filter(|&entity| sweep.asks(entity)).collect();
                self.keys.columns(&even).into_iter().map(|(_, values)| values).collect()
            }),
            event_time: sweep.event_time(),
            status: sweep.told(),
            event_times: sweep.told(),
            only: None,
        };
        let catalog = self.database().catalog_asked(request.schema_version)?;
        let scan = self.database().scan(&catalog, &request)?;
        let batches = read_all(&scan)?;
        let columns = scan.schema().fields().len();
        // Without its status, an answer that retention forgot is refused.
        let choices = [(0, 2), (1, 2), (0, 3), (columns, 1)].into_iter();
        for (first, step) in choices.filter(|_| self.tables[sweep.table].retention.is_none()) {
            let chosen: Vec<usize> = (first..columns).step_by(step).collect();
            let only = chosen.iter().map(|&column| scan.schema().field(column).name().clone());
            let request = ScanRequest { only: Some(only.collect()), ..request.clone() };
            let some = self.database().scan_at(&catalog, &request, scan.snapshot().clone())?;
            let some = concat_batches(some.schema(), &read_all(&some)?)?;
            let all = concat_batches(scan.schema(), &batches)?;
            assert_eq!(some, all.project(&chosen)?, "only some columns of {request:?}");
        }
        Ok((batches, scan.snapshot().clock()))
    }

    /// Asks the engine and the oracle.
    pub fn check_scan(&mut self, sweep: &Sweep) -> Outcome {
        let Some(shape) = self.shapes(sweep.version).get(sweep.table).cloned() else { return Ok(()) };
        if sweep.known_at != Limit::Open && !self.tables[sweep.table].sealed {
            return match calmly("scan", || Ok(self.sweep(sweep)))? {
                Err(error) if error.kind() == ErrorKind::Precondition => Ok(()),
                Err(error) => Err(format!("a timestamp S on an unsealed table: {error:?}: {sweep:?}")),
                Ok(_) => Err(format!("a timestamp S on an unsealed table was answered: {sweep:?}")),
            };
        }
        let (batches, clock) = calmly("scan", || self.sweep(sweep)).map_err(|error| format!("{error}: {sweep:?}"))?;
        self.tables[sweep.table].note_gone(self.clock.now());
        self.answered = self.answered.max(sweep.known_at.greatest().unwrap_or(i64::MIN));
        if sweep.clock.is_none() {
            self.answered_clock = self.answered_clock.max(self.clock.now());
        }
        let bounds = Bounds {
            as_of: match sweep.as_of {
                Limit::At { micros, exclusive: true } => AsOf::Before(micros),
                Limit::At { micros, exclusive: false } => AsOf::At(micros),
                _ => AsOf::Open,
            },
            known_at: sweep.known_at.greatest(),
            position: sweep.position.map_or(u64::MAX, |ack| self.acks[ack].sequence),
            clock: sweep.clock.unwrap_or(clock),
        };
        if sweep.history {
            self.compare_history(sweep, &shape, &bounds, &batches)
        } else {
            self.compare_current(sweep, &shape, &bounds, &batches)
        }
    }

    fn compare_current(&self, sweep: &Sweep, shape: &Shape, bounds: &Bounds, batches: &[RecordBatch]) -> Outcome {
        let asked = sweep.named(shape).unwrap_or_else(|| {
            let features: Vec<u32> = shape.features.iter().map(|feature| feature.id).collect();
            Asked::of(sweep.table, shape, Some(&features))
        });
        let rows = &self.tables[sweep.table].rows;
        let entities: BTreeSet<usize> = rows.iter().map(|row| row.entity).collect();
        let appears = |entity: &usize| {
            let times = oracle::standing(rows, *entity, bounds);
            sweep.asks(*entity) && times.iter().any(|time| sweep.covers(*time))
        };
        let mut right: BTreeSet<usize> = entities.into_iter().filter(appears).collect();
        for batch in batches {
            let keys = self.keys.columns(&[]).len() + usize::from(sweep.event_time());
            let each = if sweep.told() { 3 } else { 1 };
            if batch.num_columns() != keys + asked.len() * each {
                return Err(format!("a scan of columns {:?}", batch.schema()));
            }
            for (row, entity) in self.keys.entities(batch).into_iter().enumerate() {
                if !right.remove(&entity) {
                    return Err(format!("entity {entity} must not appear, or twice: {sweep:?}\n  rows {rows:?}"));
                }
                if sweep.event_time() {
                    let times = oracle::standing(rows, entity, bounds);
                    let newest = times.into_iter().filter(|time| sweep.covers(*time)).max();
                    if newest != Some(time_at(batch, "at", row)?) {
                        return Err(format!(
                            "the newest row of entity {entity} is of {newest:?}: {sweep:?}\n  rows {rows:?}"
                        ));
                    }
                }
                for (place, asked) in asked.iter().enumerate() {
                    let column = |which: usize| batch.column(keys + place * each + which);
                    let value = value_at(column(0).as_ref(), row);
                    let told = |which: usize| sweep.told().then(|| column(which));
                    let status = told(1).map(|column| column.as_string::<i32>().value(row));
                    let event_time = told(2)
                        .map(|column| column.as_primitive::<TimestampMicrosecondType>().iter().nth(row).flatten());
                    asked
                        .compare(&self.tables[sweep.table], entity, bounds, (status, &value, event_time))
                        .map_err(|error| format!("scan: {error}\n  {sweep:?}"))?;
                }
            }
        }
        if right.is_empty() { Ok(()) } else { Err(format!("entities {right:?} are missing: {sweep:?}\n  {rows:?}")) }
    }

    fn compare_history(&self, sweep: &Sweep, shape: &Shape, bounds: &Bounds, batches: &[RecordBatch]) -> Outcome {
        let within = |row: &&Row| {
            let before = match bounds.as_of {
                AsOf::Open => true,
                AsOf::At(time) => row.event_time <= time,
                AsOf::Before(time) => row.event_time < time,
            };
            let known = bounds.known_at.is_none_or(|time| row.ingest_time <= time);
            before && known && row.sequence <= bounds.position && sweep.covers(row.event_time) && sweep.asks(row.entity)
        };
        let mut right: BTreeMap<(u64, u32), Told> = BTreeMap::new();
        for row in self.tables[sweep.table].rows.iter().filter(within) {
            right.insert((row.sequence, row.place), told_by_oracle(row, shape));
        }
        let mut given: BTreeMap<(u64, u64), Told> = BTreeMap::new();
        for batch in batches {
            for (at, told) in self.told_by_engine(sweep, shape, batch)? {
                if given.insert(at, told).is_some() {
                    return Err(format!("the row {at:?} came twice: {sweep:?}"));
                }
            }
        }
        // The engine's sequences are its own; only their order is promised.
        let (given, right): (Vec<&Told>, Vec<&Told>) = (given.values().collect(), right.values().collect());
        if given == right {
            return Ok(());
        }
        Err(format!("history: {sweep:?}\n  engine {given:?}\n  oracle {right:?}"))
    }

    fn told_by_engine(&self, sweep: &Sweep, shape: &Shape, batch: &RecordBatch) -> Outcome<Vec<((u64, u64), Told)>> {
        let named = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| format!("a history without {name}: {:?}", batch.schema()))
        };
        let time = |name: &str, row: usize| time_at(batch, name, row);
        let mut all = Vec::new();
        for (row, entity) in self.keys.entities(batch).into_iter().enumerate() {
            let row_id = if self.tables[sweep.table].row_ids {
                let ids = named("id")?.as_primitive::<Int64Type>();
                ids.is_valid(row).then(|| ids.value(row))
            } else {
                None
            };
            let features = named("features")?.as_list::<i32>();
            let features = features.is_valid(row).then(|| {
                let names = features.value(row);
                names.as_string::<i32>().iter().flatten().map(str::to_owned).collect()
            });
            let kinds = named("kind")?;
            let kind = match text_at(kinds.as_ref(), row).as_str() {
                "write" => "write",
                "delete" => "delete",
                "retract" => "retract",
                other => return Err(format!("a row of kind {other:?}")),
            };
            let cells = shape.features.iter().map(|feature| Ok(value_at(named(&feature.name)?.as_ref(), row)));
            let place = u64::from(named("row")?.as_primitive::<UInt32Type>().value(row));
            let sequence = named("sequence")?.as_primitive::<UInt64Type>().value(row);
            let (event_time, ingest_time) = (time("at", row)?, time("ingest_time", row)?);
            let cells = cells.collect::<Outcome<Vec<_>>>()?;
            let told = Told { entity, event_time, row_id, ingest_time, kind, place, features, cells };
            all.push(((sequence, place), told));
        }
        Ok(all)
    }
}

/// The batches of all parts.
fn read_all(scan: &Arc<Scan>) -> Result<Vec<RecordBatch>, Error> {
    (0..scan.parts())
        .map(|part| scan.open(part)?.collect::<Result<Vec<_>, _>>())
        .collect::<Result<Vec<_>, _>>()
        .map(|parts| parts.concat())
}

/// The time of the column `name` at `row`.
pub fn time_at(batch: &RecordBatch, name: &str, row: usize) -> Outcome<i64> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("a history without {name}"))?;
    Ok(column.as_primitive::<TimestampMicrosecondType>().value(row))
}

/// The text at `row`, of a text column or a dictionary of texts.
fn text_at(array: &dyn Array, row: usize) -> String {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => dictionary.values().as_string::<i32>().value(dictionary.normalized_keys()[row]).to_owned(),
        None => array.as_string::<i32>().value(row).to_owned(),
    }
}

fn told_by_oracle(row: &Row, shape: &Shape) -> Told {
    let named = |wanted: &dyn Fn(u32) -> bool| -> BTreeSet<String> {
        let ever = shape.features.iter().chain(&shape.retired);
        ever.filter(|feature| wanted(feature.id)).map(|feature| feature.name.clone()).collect()
    };
    Told {
        entity: row.entity,
        event_time: row.event_time,
        row_id: row.row_id,
        ingest_time: row.ingest_time,
        kind: match row.kind {
            Kind::Write => "write",
            Kind::Delete => "delete",
            Kind::Retract | Kind::RetractCells => "retract",
        },
        place: u64::from(row.place),
        features: match row.kind {
            Kind::Write => Some(named(&|id| row.cells.contains_key(&id))),
            Kind::RetractCells => Some(named(&|id| row.retracted.contains(&id))),
            Kind::Delete | Kind::Retract => None,
        },
        cells: shape.features.iter().map(|feature| row.cells.get(&feature.id).cloned().flatten()).collect(),
    }
}
