//! Point reads (lookups and joins are one door to the engine): asked of the database and of the oracle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use firn_storage::error::{Error, Kind as ErrorKind};
use firn_storage::read::{Bound, FeatureReference, PointRequest};
use firn_storage::time::Clock;

use super::{Feature, Outcome, Output, Shape, Table, World, calmly, times};
use crate::oracle::{self, Answer, AsOf, Bounds, aggregate};
use crate::types::value_at;

/// One bound of a read.
#[derive(Debug, Clone, PartialEq)]
pub enum Limit {
    Open,
    At { micros: i64, exclusive: bool },
    PerRow { micros: Vec<i64>, exclusive: bool },
}

impl Limit {
    pub(super) fn bound(&self, column: &str) -> Bound {
        match self {
            Limit::Open => Bound::Latest,
            Limit::At { micros, exclusive } => Bound::Time { micros: *micros, exclusive: *exclusive },
            Limit::PerRow { exclusive, .. } => Bound::Column { name: column.to_owned(), exclusive: *exclusive },
        }
    }

    fn of(&self, row: usize) -> AsOf {
        let as_of = |micros, exclusive: bool| if exclusive { AsOf::Before(micros) } else { AsOf::At(micros) };
        match self {
            Limit::Open => AsOf::Open,
            Limit::At { micros, exclusive } => as_of(*micros, *exclusive),
            Limit::PerRow { micros, exclusive } => as_of(micros[row], *exclusive),
        }
    }

    pub fn greatest(&self) -> Option<i64> {
        match self {
            Limit::Open => None,
            Limit::At { micros, .. } => Some(*micros),
            Limit::PerRow { micros, .. } => micros.iter().max().copied(),
        }
    }
}

/// A point read.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Tables, each with some features and outputs by their ids, or all.
    pub features: Vec<(usize, Option<Vec<u32>>)>,
    pub entities: Vec<usize>,
    pub as_of: Limit,
    pub known_at: Limit,
    /// The acknowledgement whose position bounds the read.
    pub position: Option<usize>,
    pub clock: Option<i64>,
    /// Index into the world's schema versions.
    pub version: Option<usize>,
}

impl Ask {
    /// Everything about `entities`, now.
    pub fn latest(world: &World, entities: usize) -> Self {
        Self {
            features: (0..world.tables.len()).map(|table| (table, None)).collect(),
            entities: (0..entities).collect(),
            as_of: Limit::Open,
            known_at: Limit::Open,
            position: None,
            clock: None,
            version: None,
        }
    }
}

impl Ask {
    /// The table whose standing rows are asked for too: that of the first feature, for every other number of entities.
    fn standing(&self, asked: &[Asked]) -> Option<usize> {
        asked.first().map(|asked| asked.table).filter(|_| self.entities.len() % 2 == 1)
    }
}

/// One feature or output of a request: its table, and what the asked schema version says of it.
pub(super) struct Asked {
    table: usize,
    pub(super) name: String,
    data_type: DataType,
    what: What,
}

/// What is asked for under a name.
#[derive(Debug)]
enum What {
    Feature { feature: Feature, max_age: Option<i64> },
    Output(Output),
}

impl Asked {
    /// The features of a table of this shape, and then its outputs; or those with `ids`.
    pub(super) fn of(table: usize, shape: &Shape, ids: Option<&[u32]>) -> Vec<Self> {
        let wanted = |id: u32| ids.is_none_or(|ids| ids.contains(&id));
        let features = shape.features.iter().filter(|feature| wanted(feature.id)).map(|feature| Self {
            table,
            name: feature.name.clone(),
            data_type: feature.kind.data_type(),
            what: What::Feature { feature: feature.clone(), max_age: shape.max_age_of(feature) },
        });
        let outputs = shape.outputs.iter().filter(|output| wanted(output.id)).map(|output| Self {
            table,
            name: output.name.clone(),
            data_type: output.aggregate.data_type(shape),
            what: What::Output(output.clone()),
        });
        features.chain(outputs).collect()
    }

    /// Compares what the engine gave of `entity` (the status and the event time if it told them) with what the oracle says of the
    /// rows of `table`.
    pub(super) fn compare(
        &self,
        table: &Table,
        entity: usize,
        bounds: &Bounds,
        given: (Option<&str>, &Option<oracle::Value>, Option<Option<i64>>),
    ) -> Outcome {
        let right = self.right(table, entity, bounds, given.0 == Some("forgotten"));
        count(&self.what, right.0);
        let (status, value, event_time) = given;
        let told = status.is_none_or(|status| status == right.0) && event_time.is_none_or(|time| time == right.2);
        if told && *value == right.1 {
            return Ok(());
        }
        let rows: Vec<_> = table.rows.iter().filter(|row| row.entity == entity).collect();
        let (name, what) = (&self.name, &self.what);
        Err(format!(
            "table {} {name} entity {entity} {bounds:?}:\n  engine {given:?}\n  oracle {right:?}\n  {what:?}\n  rows {rows:?}",
            table.name
        ))
    }

    /// What the oracle answers; that it is `forgotten` if that was given, and may be.
    fn right(&self, table: &Table, entity: usize, bounds: &Bounds, forgotten: bool) -> Answer {
        match &self.what {
            What::Feature { feature, max_age } => {
                oracle::answer(&table.rows, entity, feature.id, *max_age, &feature.default, bounds)
            }
            What::Output(Output { aggregate, window, .. }) => {
                let gone = table.retention.filter(|_| forgotten).map(|retention| retention.gone);
                aggregate::answer(&table.rows, entity, aggregate, *window, bounds, gone).expect("sums of small numbers")
            }
        }
    }
}

/// A request and the batch that carries its rows.
pub struct Request {
    pub point: PointRequest,
    pub rows: RecordBatch,
}

impl World {
    /// The shapes that a read at `version` goes by.
    pub(super) fn shapes(&self, version: Option<usize>) -> Vec<Shape> {
        match version {
            Some(version) => self.versions[version].1.clone(),
            None => self.tables.iter().map(|table| table.shape.clone()).collect(),
        }
    }

    /// What `ask` names that exists at its schema version.
    fn asked(&self, ask: &Ask) -> Vec<Asked> {
        let shapes = self.shapes(ask.version);
        let mut asked = Vec::new();
        for (table, features) in &ask.features {
            let Some(shape) = shapes.get(*table) else { continue };
            asked.extend(Asked::of(*table, shape, features.as_deref()));
        }
        asked
    }

    /// The request that a client would send for `ask`; `None` if it names nothing that exists.
    pub fn request(&self, ask: &Ask) -> Option<Request> {
        let asked = self.asked(ask);
        let reference = |table: usize, feature: &str| FeatureReference {
            table: self.tables[table].name.clone(),
            feature: feature.to_owned(),
            rename: None,
            prefix: None,
            entity: Vec::new(),
        };
        let mut features = Vec::new();
        for (table, ids) in &ask.features {
            let mut of_table = asked.iter().filter(|asked| asked.table == *table).peekable();
            match ids {
                None if of_table.peek().is_some() => features.push(reference(*table, "*")),
                None => {}
                Some(_) => features.extend(of_table.map(|asked| reference(*table, &asked.name))),
            }
        }
        if features.is_empty() {
            return None;
        }
        let mut columns = self.keys.columns(&ask.entities);
        for (name, limit) in [("as_of", &ask.as_of), ("known_at", &ask.known_at)] {
            if let Limit::PerRow { micros, .. } = limit {
                let array = times(micros.iter().copied());
                columns.push((Field::new(name, array.data_type().clone(), true), array));
            }
        }
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of equal length");
        let point = PointRequest {
            features,
            as_of: ask.as_of.bound("as_of"),
            known_at: ask.known_at.bound("known_at"),
            position: ask.position.map(|ack| self.acks[ack].position.clone()),
            durable: false,
            schema_version: ask.version.map(|version| self.versions[version].0),
            clock: ask.clock,
            status: true,
            event_times: true,
            keep_null_keys: false,
            max_age: None,
            standing: ask.standing(&asked).map(|table| self.tables[table].name.clone()),
        };
        Some(Request { point, rows })
    }

    /// The engine's answer and the clock that its ages go by.
    pub fn ask(&self, request: &Request) -> Result<(RecordBatch, i64), Error> {
        let database = self.database();
        let version = request.point.schema_version;
        let catalog = match request.point.durable {
            true => database.catalog_in_bucket(version)?,
            false => database.catalog_asked(version)?,
        };
        let plan = database.plan(&catalog, &request.point, &request.rows.schema())?;
        let snapshot = database.snapshot(&plan, &request.rows)?;
        let answer = database.read(&plan, &snapshot, &request.rows)?;
        Ok((answer, snapshot.clock()))
    }

    /// Asks the engine and the oracle. Returns the engine's answer, or `None` if it rightly refused.
    pub fn check(&mut self, ask: &Ask) -> Outcome<Option<RecordBatch>> {
        let Some(request) = self.request(ask) else { return Ok(None) };
        let asked = self.asked(ask);
        let unsealed = asked.iter().any(|asked| !self.tables[asked.table].sealed);
        if ask.known_at != Limit::Open && unsealed && !ask.entities.is_empty() {
            return match calmly("read", || Ok(self.ask(&request)))? {
                Err(error) if error.kind() == ErrorKind::Precondition => Ok(None),
                Err(error) => Err(format!("a timestamp S on an unsealed table: {error:?}: {ask:?}")),
                Ok(_) => Err(format!("a timestamp S on an unsealed table was answered: {ask:?}")),
            };
        }
        let (answer, clock) = calmly("read", || self.ask(&request)).map_err(|error| format!("{error}: {ask:?}"))?;
        self.tables.iter_mut().for_each(|table| table.note_gone(self.clock.now()));
        if ask.clock.is_none() && clock < self.clock.now() {
            return Err(format!("the read's clock is {clock}, before {}: {ask:?}", self.clock.now()));
        }
        let clock = ask.clock.unwrap_or(clock);
        self.answered = self.answered.max(ask.known_at.greatest().unwrap_or(i64::MIN));
        if ask.clock.is_none() {
            self.answered_clock = self.answered_clock.max(self.clock.now());
        }
        self.compare(ask, &asked, &answer, clock)?;
        Ok(Some(answer))
    }

    fn compare(&self, ask: &Ask, asked: &[Asked], answer: &RecordBatch, clock: i64) -> Outcome {
        let standing = ask.standing(asked);
        let columns = asked.len() * 3 + usize::from(standing.is_some());
        if answer.num_rows() != ask.entities.len() || answer.num_columns() != columns {
            return Err(format!("an answer of {}×{} to {ask:?}", answer.num_rows(), answer.num_columns()));
        }
        for (place, asked) in asked.iter().enumerate() {
            let columns = &answer.columns()[place * 3..place * 3 + 3];
            let names: Vec<String> =
                answer.schema().fields()[place * 3..place * 3 + 3].iter().map(|field| field.name().clone()).collect();
            let name = &asked.name;
            if names != [name.clone(), format!("{name}__status"), format!("{name}__event_time")] {
                return Err(format!("columns {names:?} for {name}"));
            }
            if columns[0].data_type() != &asked.data_type {
                return Err(format!("type {} for {name} of {}", columns[0].data_type(), asked.data_type));
            }
            for (row, entity) in ask.entities.iter().enumerate() {
                let bounds = self.bounds(ask, row, clock);
                let (status, value, event_time) = given(columns, row);
                asked
                    .compare(&self.tables[asked.table], *entity, &bounds, (Some(&status), &value, Some(event_time)))
                    .map_err(|error| format!("{error}\n  {ask:?}"))?;
            }
        }
        standing.map_or(Ok(()), |table| self.compare_standing(ask, table, answer, clock))
    }

    /// The bounds of a row of `ask`.
    fn bounds(&self, ask: &Ask, row: usize, clock: i64) -> Bounds {
        Bounds {
            as_of: ask.as_of.of(row),
            known_at: match ask.known_at.of(row) {
                AsOf::Open => None,
                AsOf::At(micros) | AsOf::Before(micros) => Some(micros),
            },
            position: ask.position.map_or(u64::MAX, |ack| self.acks[ack].sequence),
            clock,
        }
    }

    /// The last column of `answer` says the event time of the newest row of `table` that stands.
    fn compare_standing(&self, ask: &Ask, table: usize, answer: &RecordBatch, clock: i64) -> Outcome {
        let column = answer.column(answer.num_columns() - 1).as_primitive::<TimestampMicrosecondType>();
        for (row, entity) in ask.entities.iter().enumerate() {
            let rows = &self.tables[table].rows;
            let right = oracle::standing(rows, *entity, &self.bounds(ask, row, clock)).into_iter().max();
            let given = column.is_valid(row).then(|| column.value(row));
            if given != right {
                return Err(format!(
                    "table {table} entity {entity}: the newest standing row is of {given:?}, and should be of {right:?}: \
                     {ask:?}\n  rows {rows:?}"
                ));
            }
        }
        Ok(())
    }
}

/// Answers compared, of features and of outputs, by status: a harness that compares nothing passes everything.
static COMPARED: [[AtomicU64; 6]; 2] = [const { [const { AtomicU64::new(0) }; 6] }; 2];
const STATUSES: [&str; 6] = ["value", "null", "expired", "deleted", "never", "forgotten"];

fn count(what: &What, status: &str) {
    let of = usize::from(matches!(what, What::Output(_)));
    let at = STATUSES.iter().position(|known| *known == status).expect("a status of the oracle");
    COMPARED[of][at].fetch_add(1, Ordering::Relaxed);
}

/// How many answers were compared in this process.
pub fn compared() -> String {
    let of = |counts: &[AtomicU64; 6]| {
        let each = STATUSES.iter().zip(counts);
        each.map(|(status, count)| format!("{status} {}", count.load(Ordering::Relaxed))).collect::<Vec<_>>().join(", ")
    };
    format!("of features {}; of outputs {}", of(&COMPARED[0]), of(&COMPARED[1]))
}

/// The answer that the three columns of a feature give at `row`.
pub fn given(columns: &[ArrayRef], row: usize) -> (String, Option<oracle::Value>, Option<i64>) {
    let statuses = columns[1].as_dictionary::<Int8Type>();
    let names = statuses.values().as_string::<i32>();
    let status = statuses.key(row).map_or("?", |key| names.value(key));
    let event_times = columns[2].as_primitive::<TimestampMicrosecondType>();
    let event_time = event_times.is_valid(row).then(|| event_times.value(row));
    (status.to_owned(), value_at(columns[0].as_ref(), row), event_time)
}
