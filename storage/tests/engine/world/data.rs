//! What a world is described in: features, shapes, tables and batches, as plain data.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::oracle::aggregate::{Aggregate, Window};
use crate::oracle::{Kind, Row, Value};
use crate::types::Type;

/// The max age of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    Table,
    Unlimited,
    Micros(i64),
}

/// A feature as it is declared at one schema version.
#[derive(Debug, Clone)]
pub struct Feature {
    pub id: u32,
    pub name: String,
    pub kind: Type,
    pub max_age: Age,
    pub default: Option<Value>,
}

impl Feature {
    /// A feature without max age or default.
    pub fn plain(id: u32, name: &str, kind: Type) -> Self {
        Self { id, name: name.to_owned(), kind, max_age: Age::Table, default: None }
    }

    pub fn declaration(&self) -> Json {
        let mut feature = json!({"name": self.name, "type": self.kind.spelled()});
        match self.max_age {
            Age::Table => {}
            Age::Unlimited => feature["max_age"] = json!("none"),
            Age::Micros(micros) => feature["max_age"] = duration(micros),
        }
        if let Some(default) = &self.default {
            feature["default"] = self.kind.json(default);
        }
        feature
    }
}

/// Durations are spelled in whole milliseconds.
pub fn duration(micros: i64) -> Json {
    assert_eq!(micros % 1000, 0, "a duration of {micros} µs cannot be spelled");
    json!(format!("{}ms", micros / 1000))
}

/// One window of an aggregate, as it is declared at one schema version.
#[derive(Debug, Clone)]
pub struct Output {
    /// No other output of the table has it, nor has a feature.
    pub id: u32,
    pub name: String,
    pub aggregate: Arc<Aggregate>,
    pub window: Window,
}

impl Output {
    /// The windows of `aggregate`, numbered from `first`.
    pub fn all_of(aggregate: Aggregate, first: u32) -> Vec<Output> {
        let aggregate = Arc::new(aggregate);
        let windows = (first..).zip(&aggregate.windows);
        let named = windows.zip(aggregate.answer_names());
        named
            .map(|((id, window), name)| Output { id, name, aggregate: Arc::clone(&aggregate), window: *window })
            .collect()
    }
}

/// What one table declares at one schema version.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    pub features: Vec<Feature>,
    pub retired: Vec<Feature>,
    pub max_age: Option<i64>,
    /// The windows of its aggregates; those of one follow each other.
    pub outputs: Vec<Output>,
}

impl Shape {
    /// The max age that binds `feature`.
    pub fn max_age_of(&self, feature: &Feature) -> Option<i64> {
        match feature.max_age {
            Age::Table => self.max_age,
            Age::Unlimited => None,
            Age::Micros(micros) => Some(micros),
        }
    }

    /// The aggregates, in the order of declaration.
    pub fn aggregates(&self) -> impl Iterator<Item = &Aggregate> {
        self.outputs.chunk_by(|one, other| one.aggregate.name == other.aggregate.name).map(|of| &*of[0].aggregate)
    }

    /// The live feature `id`.
    pub fn feature(&self, id: u32) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.id == id)
    }
}

/// A table and all that was ever written to it.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    pub row_ids: bool,
    pub sealed: bool,
    pub shape: Shape,
    pub features_ever: u32,
    pub rows: Vec<Row>,
    pub loaded_until: i64,
    pub producers: BTreeMap<String, u64>,
    pub retention: Option<Retention>,
}

/// What a table forgets, µs.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// How long an event time may be asked.
    pub keep: i64,
    /// Rows up to this event time may be gone, so that windows that reach there may be forgotten. Background work decides when they
    /// are, and the clock of the log may be ahead.
    pub gone: i64,
}

/// How far the clock of the log may be ahead of the wall clock after a restart, by the step of its ceiling, µs.
pub const AHEAD: i64 = 1_100_000;

impl Table {
    /// Takes down what may be gone at `now` by what is declared.
    pub fn note_gone(&mut self, now: i64) {
        let reach = self.shape.aggregates().map(Aggregate::reach).max().unwrap_or(0);
        if let Some(Retention { keep, gone }) = &mut self.retention {
            *gone = now.saturating_add(AHEAD - *keep - reach).max(*gone);
        }
    }
}

/// One row of a batch. `cells` are parallel to the columns of the batch.
#[derive(Debug, Clone)]
pub struct Sent {
    pub entity: usize,
    pub event_time: i64,
    pub row_id: Option<i64>,
    pub cells: Vec<Option<Value>>,
}

/// What a batch does.
#[derive(Debug, Clone)]
pub enum Deed {
    Write { columns: Vec<u32>, nulls_absent: bool },
    Delete,
    Retract,
    RetractCells(Vec<u32>),
}

/// A batch as a writer sends it.
#[derive(Debug, Clone)]
pub struct Batch {
    pub table: usize,
    pub deed: Deed,
    pub rows: Vec<Sent>,
    /// The ingest times of a history load.
    pub ingest_times: Option<Vec<i64>>,
    /// Producer name, sequence and previous sequence.
    pub producer: Option<(String, u64, Option<u64>)>,
    /// Rows sent behind the others that cannot be stored, to be left out and reported.
    pub bad_rows: usize,
}

/// The rows that `batch` becomes, the first with sequence `first`; `step` says for a place how many sequences later
/// its row is, and its ingest time.
pub fn rows_of(batch: &Batch, first: u64, mut step: impl FnMut(usize) -> (u64, i64)) -> Vec<Row> {
    let sent = batch.rows.iter().enumerate();
    sent.map(|(place, sent)| {
        let (later, ingest_time) = step(place);
        Row {
            entity: sent.entity,
            event_time: sent.event_time,
            row_id: sent.row_id,
            sequence: first + later,
            place: place as u32,
            ingest_time,
            kind: kind_of(&batch.deed),
            cells: cells_of(&batch.deed, sent),
            retracted: if let Deed::RetractCells(features) = &batch.deed { features.clone() } else { Vec::new() },
        }
    })
    .collect()
}

fn kind_of(deed: &Deed) -> Kind {
    match deed {
        Deed::Write { .. } => Kind::Write,
        Deed::Delete => Kind::Delete,
        Deed::Retract => Kind::Retract,
        Deed::RetractCells(_) => Kind::RetractCells,
    }
}

fn cells_of(deed: &Deed, sent: &Sent) -> BTreeMap<u32, Option<Value>> {
    let Deed::Write { columns, nulls_absent } = deed else { return BTreeMap::new() };
    let written = |(_, cell): &(u32, Option<Value>)| !nulls_absent || cell.is_some();
    columns.iter().copied().zip(sent.cells.iter().cloned()).filter(written).collect()
}
