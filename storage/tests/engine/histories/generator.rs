//! Random histories as plain data. A step says what to do in terms that still mean something when other steps are
//! dropped: acknowledgements, versions and knowledge bounds are rolls that are resolved when the step runs.

use std::collections::BTreeMap;

use firn_storage::model::prove::{EVENT_TIME_MAX, EVENT_TIME_MIN};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::aggregates::Known;
use crate::types::{TYPES, Type};
use crate::world::keys::{KEY_SHAPES, KeyShape};
use crate::world::{Age, Batch, Deed, Feature, Output, Sent, Setting, Shape};

/// Event times, ages and clock steps are small multiples of this, so that they meet often.
pub const UNIT: i64 = 1000;

/// How a bound is chosen when the step runs.
#[derive(Debug, Clone, Copy)]
pub enum Choice {
    Open,
    /// The same for all rows.
    Constant(u64),
    /// One per row.
    PerRow(u64),
}

/// What a read asks.
#[derive(Debug, Clone)]
pub struct Question {
    pub as_of: Choice,
    pub exclusive: bool,
    pub known_at: Choice,
    pub position: Option<u64>,
    pub version: Option<u64>,
    pub clock: Option<i64>,
    /// Some of the features of each table instead of all.
    pub some_features: Option<u64>,
    pub seed: u64,
}

/// What a scan asks beside the question.
#[derive(Debug, Clone)]
pub struct Asked {
    pub table: usize,
    pub history: bool,
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub parts: usize,
}

/// One step of a history.
#[derive(Debug, Clone)]
pub enum Step {
    Apply(Batch),
    /// Erases an entity; or the disk is too full for the purge, so that the log alone knows of it.
    Erase {
        entity: usize,
        purged: bool,
    },
    Seal(usize),
    AddFeature(usize, Feature),
    AddAggregate(usize, Vec<Output>),
    Widen(usize, u32),
    /// A feature or an output.
    Rename(usize, u32),
    /// A feature, with the aggregates that read it, or the aggregate of an output.
    Retire(usize, u32),
    SetMaxAge(usize, Option<i64>),
    Flush(Option<usize>),
    Compact(Option<usize>),
    Reopen,
    Crash(u64),
    Advance(i64),
    Ask(Question),
    Scan(Question, Asked),
}

/// A history: the world it begins in and its steps.
#[derive(Debug, Clone)]
pub struct History {
    pub setting: Setting,
    pub keys: KeyShape,
    pub entities: usize,
    pub tables: Vec<(bool, Shape)>,
    pub steps: Vec<Step>,
}

/// The most steps and rows of one history.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub steps: usize,
    pub rows: usize,
}

struct Generator {
    random: StdRng,
    history: History,
    size: Size,
    rows: usize,
    unsealed: Vec<bool>,
    loaded_until: Vec<i64>,
    features_ever: Vec<u32>,
    kinds: Vec<Vec<Type>>,
    producers: BTreeMap<(usize, u8), Vec<Batch>>,
}

/// The history of `seed`.
pub fn generate(seed: u64, size: Size) -> History {
    let mut random = StdRng::seed_from_u64(seed);
    let setting = Setting {
        real: false,
        map: random.random_bool(0.7),
        segment_rows_max: [1 << 20, 3, 8][random.random_range(0..3)],
        wal_bytes_max: [1 << 24, 4096][random.random_range(0..2)],
        start: [0, 10 * UNIT, -1000 * UNIT][random.random_range(0..3)] + 10 * UNIT,
        busy: false,
        home: false,
        hot: false,
    };
    let keys = KEY_SHAPES[random.random_range(0..KEY_SHAPES.len())];
    let entities = random.random_range(1..6);
    let history = History { setting, keys, entities, tables: Vec::new(), steps: Vec::new() };
    let mut generator = Generator {
        random,
        history,
        size,
        rows: 0,
        unsealed: Vec::new(),
        loaded_until: Vec::new(),
        features_ever: Vec::new(),
        kinds: Vec::new(),
        producers: BTreeMap::new(),
    };
    generator.tables();
    generator.steps();
    weave(&mut generator.history, seed);
    generator.history
}

/// Puts aggregates on the tables of `history`, and steps between its steps. They have a randomness of their own, so that all else in
/// the history of a seed stays what it was.
fn weave(history: &mut History, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed ^ 0xa66e_6a7e);
    let mut tables = Vec::new();
    for (table, (row_ids, shape)) in history.tables.iter_mut().enumerate() {
        let mut known = Known::new(table, *row_ids, shape);
        if random.random_bool(0.6) {
            shape.outputs = (0..random.random_range(1..3)).flat_map(|_| known.declare(&mut random)).collect();
        }
        tables.push(known);
    }
    for step in std::mem::take(&mut history.steps) {
        if let Step::AddFeature(table, feature) = &step {
            tables[*table].features.push((feature.id, feature.kind));
        }
        history.steps.push(step);
        if random.random_bool(0.1) {
            let table = random.random_range(0..tables.len());
            history.steps.extend(evolve_aggregates(table, &mut tables[table], &mut random));
        }
    }
}

fn evolve_aggregates(table: usize, known: &mut Known, random: &mut StdRng) -> Option<Step> {
    match random.random_range(0..6) {
        0..3 if known.has_room() => Some(Step::AddAggregate(table, known.declare(random))),
        0..5 => known.any_output(random).map(|output| Step::Rename(table, output)),
        _ => known.any_output(random).map(|output| Step::Retire(table, output)),
    }
}

impl Generator {
    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    fn roll(&mut self) -> u64 {
        self.random.random()
    }

    fn table(&mut self) -> usize {
        self.random.random_range(0..self.history.tables.len())
    }

    fn age(&mut self) -> i64 {
        [0, 1, 5, 20, 100_000][self.random.random_range(0..5)] * UNIT
    }

    fn feature(&mut self, table: usize, id: u32) -> Feature {
        let kind = TYPES[self.random.random_range(0..TYPES.len())];
        let max_age = match self.random.random_range(0..4) {
            0 => Age::Unlimited,
            1 => Age::Micros(self.age()),
            _ => Age::Table,
        };
        let default = (kind.has_default() && self.chance(0.3)).then(|| kind.sample(&mut self.random));
        Feature { id, name: format!("f{table}_{id}"), kind, max_age, default }
    }

    fn tables(&mut self) {
        for table in 0..self.random.random_range(1..3) {
            let features = (0..self.random.random_range(1..5)).map(|id| self.feature(table, id)).collect::<Vec<_>>();
            let max_age = self.chance(0.4).then(|| self.age());
            self.features_ever.push(features.len() as u32);
            self.kinds.push(features.iter().map(|feature| feature.kind).collect());
            let row_ids = self.chance(0.5);
            self.history.tables.push((row_ids, Shape { features, max_age, ..Shape::default() }));
            let unsealed = self.chance(0.35);
            self.unsealed.push(unsealed);
            self.loaded_until.push(self.history.setting.start - 40 * UNIT);
        }
    }

    fn steps(&mut self) {
        let steps = self.random.random_range(4..=self.size.steps);
        while self.history.steps.len() < steps {
            let step = self.step();
            self.history.steps.push(step);
            if self.chance(0.3) {
                let question = self.question();
                self.history.steps.push(Step::Ask(question));
            }
        }
    }

    fn step(&mut self) -> Step {
        let table = self.table();
        // Nothing can be asked before something was written.
        let roll = if self.history.steps.len() < 3 { 0 } else { self.random.random_range(0..100) };
        match roll {
            0..44 if self.rows < self.size.rows => self.batch(table),
            0..52 => Step::Advance(self.random.random_range(0..8) * UNIT + self.random.random_range(0..3)),
            52..60 => Step::Flush(self.chance(0.5).then_some(table)),
            60..66 => Step::Compact(self.chance(0.5).then_some(table)),
            66..69 => Step::Reopen,
            69..73 => Step::Crash(self.roll()),
            73..79 => self.evolve(table),
            79..81 => {
                self.unsealed[table] = false;
                Step::Seal(table)
            }
            81..84 => {
                Step::Erase { entity: self.random.random_range(0..self.history.entities), purged: self.chance(0.5) }
            }
            84..92 => Step::Ask(self.question()),
            _ => self.scan(table),
        }
    }

    fn evolve(&mut self, table: usize) -> Step {
        let any = self.random.random_range(0..self.features_ever[table]);
        match self.random.random_range(0..8) {
            0..3 => {
                let id = self.features_ever[table];
                self.features_ever[table] += 1;
                let feature = self.feature(table, id);
                self.kinds[table].push(feature.kind);
                Step::AddFeature(table, feature)
            }
            3..5 => Step::Widen(table, any),
            5 => Step::Rename(table, any),
            6 => Step::Retire(table, any),
            _ => {
                let age = self.chance(0.7).then(|| self.age());
                Step::SetMaxAge(table, age)
            }
        }
    }

    fn event_time(&mut self) -> i64 {
        match self.random.random_range(0..60) {
            0 | 1 => EVENT_TIME_MIN + self.random.random_range(0..3),
            2 | 3 => EVENT_TIME_MAX - self.random.random_range(0..3),
            4..8 => self.random.random_range(-60..60) * UNIT + self.random.random_range(-1..2),
            _ => self.history.setting.start + self.random.random_range(-12..6) * UNIT,
        }
    }

    fn batch(&mut self, table: usize) -> Step {
        let loads = self.unsealed[table] && self.chance(0.8);
        if let Some(again) = (!loads).then(|| self.again(table)).flatten() {
            return Step::Apply(again);
        }
        self.unsealed[table] &= loads;
        let deed = self.deed(table);
        let rows: Vec<Sent> = (0..self.random.random_range(1..6)).map(|_| self.sent(table, &deed)).collect();
        self.rows += rows.len();
        let ingest_times = loads.then(|| rows.iter().map(|_| self.loaded(table)).collect());
        let mut batch = Batch { table, deed, rows, ingest_times, producer: None, bad_rows: 0 };
        if self.chance(0.15) {
            self.empty(&mut batch);
            self.produce(&mut batch);
        }
        Step::Apply(batch)
    }

    fn loaded(&mut self, table: usize) -> i64 {
        let step = self.random.random_range(0..4) * (UNIT / 2);
        let until = (self.loaded_until[table] + step).min(self.history.setting.start);
        self.loaded_until[table] = until;
        until
    }

    /// A batch that a producer sends once more, sometimes an old one.
    fn again(&mut self, table: usize) -> Option<Batch> {
        let producer = self.random.random_range(0..2);
        if !self.chance(0.08) {
            return None;
        }
        let sent = self.producers.get(&(table, producer))?;
        let back = if self.random.random_bool(0.7) { 1 } else { 2 };
        sent.get(sent.len().checked_sub(back)?).cloned()
    }

    /// Leaves a producer's batch without rows that can be stored, or puts some that cannot beside them.
    fn empty(&mut self, batch: &mut Batch) {
        if self.chance(0.4) {
            batch.rows.clear();
            batch.ingest_times = None;
        }
        if batch.ingest_times.is_none() {
            batch.bad_rows = self.random.random_range(0..3);
        }
    }

    fn produce(&mut self, batch: &mut Batch) {
        let producer = self.random.random_range(0..2);
        let sent = self.producers.entry((batch.table, producer)).or_default();
        let last = sent.last().and_then(|batch| batch.producer.as_ref()).map(|producer| producer.1);
        let sequence = last.unwrap_or(0) + self.random.random_range(1..3);
        let wrong = self.random.random_bool(0.1);
        let previous = if wrong { Some(last.unwrap_or(0) + 1) } else { last };
        batch.producer = Some((format!("p{producer}"), sequence.max(previous.unwrap_or(0) + 1), previous));
        if !wrong {
            sent.push(batch.clone());
        }
    }

    fn deed(&mut self, table: usize) -> Deed {
        let ever = self.features_ever[table];
        match self.random.random_range(0..20) {
            0..12 => {
                let columns = (0..ever).filter(|_| self.random.random_bool(0.65)).collect();
                Deed::Write { columns, nulls_absent: self.chance(0.4) }
            }
            12..15 => Deed::Delete,
            15..18 => Deed::Retract,
            _ => {
                let some = (0..ever).filter(|_| self.random.random_bool(0.5)).collect();
                Deed::RetractCells(some)
            }
        }
    }

    fn sent(&mut self, table: usize, deed: &Deed) -> Sent {
        let row_ids = self.history.tables[table].0;
        let null = matches!(deed, Deed::Delete) || (matches!(deed, Deed::Retract) && self.chance(0.4));
        let row_id = (row_ids && !null).then(|| self.random.random_range(-2..3));
        let mut cells = Vec::new();
        if let Deed::Write { columns, .. } = deed {
            for id in columns {
                let kind = self.kinds[table][*id as usize];
                cells.push((!self.random.random_bool(0.2)).then(|| kind.sample(&mut self.random)));
            }
        }
        Sent {
            entity: self.random.random_range(0..self.history.entities),
            event_time: self.event_time(),
            row_id,
            cells,
        }
    }

    fn choice(&mut self) -> Choice {
        match self.random.random_range(0..3) {
            0 => Choice::Open,
            1 => Choice::Constant(self.roll()),
            _ => Choice::PerRow(self.roll()),
        }
    }

    fn question(&mut self) -> Question {
        Question {
            as_of: self.choice(),
            exclusive: self.chance(0.3),
            known_at: self.choice(),
            position: self.chance(0.3).then(|| self.roll()),
            version: self.chance(0.25).then(|| self.roll()),
            clock: self.chance(0.25).then(|| self.history.setting.start + self.random.random_range(-30..60) * UNIT),
            some_features: self.chance(0.3).then(|| self.roll()),
            seed: self.roll(),
        }
    }

    fn scan(&mut self, table: usize) -> Step {
        let mut question = self.question();
        // A scan has no rows that could carry bounds.
        for choice in [&mut question.as_of, &mut question.known_at] {
            if let Choice::PerRow(roll) = *choice {
                *choice = Choice::Constant(roll);
            }
        }
        let history = self.chance(0.5);
        let mut edge = || match self.random.random_range(0..30) {
            0 => Some(i64::MIN),
            1 => Some(i64::MAX),
            2..10 => Some(self.event_time()),
            _ => None,
        };
        let (from, to) = (edge(), edge());
        Step::Scan(question, Asked { table, history, from, to, parts: self.random.random_range(1..4) })
    }
}
