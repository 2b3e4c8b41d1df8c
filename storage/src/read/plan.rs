//! What a lookup or a join asks, planned once per stream: everything that the command and the schema decide.
//!
//! A plan names no rows and no moment, so that an unknown feature or a missing column is refused before the first
//! row, and one plan serves any number of batches and snapshots.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::bounds::{Bound, PlannedBound, RowBounds};
use super::estimate;
use super::moment::{KnownAt, Moment};
use super::states::States;
use crate::error::{Error, Kind, Result};
use crate::model::aggregate::{Aggregate, Output, Reach};
use crate::model::catalog::{Catalog, Entity, Feature, MaxAge, Table};
use crate::model::problems::{Problems, Unknown};
use crate::model::types::time_type;
use crate::position::Position;
use crate::time::Micros;
use crate::view::{EntityState, TableState};

/// A feature, or all features of a table, as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeatureReference {
    /// The feature table.
    pub table: String,
    /// The feature, or `*`.
    pub feature: String,
    /// The name of the answer's column instead of the feature's.
    pub rename: Option<String>,
    /// Put before the names of the answer's columns.
    pub prefix: Option<String>,
    /// Key columns of the entity that are read from other columns of the request: (key column, request column).
    pub entity: Vec<(String, String)>,
}

/// A lookup or join as it was asked.
#[derive(Debug, Clone, Default)]
pub struct PointRequest {
    /// What to answer, in the order of the answer's columns.
    pub features: Vec<FeatureReference>,
    /// The event bound.
    pub as_of: Bound,
    /// The knowledge bound.
    pub known_at: Bound,
    /// The position to read at; `None` is everything published.
    pub position: Option<String>,
    /// Whether nothing is seen that the loss of the disk could take back.
    pub durable: bool,
    /// The schema version that chooses names, types, defaults and max ages; `None` is the newest.
    pub schema_version: Option<u64>,
    /// Replaces the clock for ages, µs.
    pub clock: Option<Micros>,
    /// Whether each feature is followed by its status.
    pub status: bool,
    /// Whether each feature is followed by its winner's event time.
    pub event_times: bool,
    /// Whether rows whose key is null are answered as those of an unknown entity, instead of refused.
    pub keep_null_keys: bool,
    /// Counts instead of the max ages that the features declare.
    pub max_age: Option<MaxAge>,
    /// A table whose entities' newest standing row is asked for too: its event time is the last column of the answer, null
    /// where none stands. The table need not have features that are asked for.
    pub standing: Option<String>,
}

/// What the column of standing rows is called: nothing that a feature can be called.
const STANDING: &str = "standing since";

/// One feature of the answer.
#[derive(Debug)]
pub(crate) struct AskedFeature {
    pub(crate) feature: Arc<Feature>,
    /// The type of cells inside the engine; the declared type is put on at the end.
    pub(crate) stored: DataType,
    /// The bytes of a value, if it is answered as it is stored and is a number, a time or the like.
    pub(crate) plain_width: Option<usize>,
    pub(crate) max_age: Option<Micros>,
    /// One row: the default, or null.
    pub(crate) default: ArrayRef,
    /// The place among the features of the answer.
    pub(crate) output: usize,
}

impl AskedFeature {
    /// `feature` of `table` as the column `output` of an answer.
    pub(crate) fn new(table: &Table, feature: Arc<Feature>, output: usize) -> Self {
        let stored = feature.stored_type();
        Self {
            plain_width: stored.primitive_width().filter(|_| stored == feature.data_type),
            stored,
            max_age: table.max_age_of(&feature),
            default: feature.default_array(),
            feature,
            output,
        }
    }
}

/// One window of an aggregate of the answer.
#[derive(Debug)]
pub(crate) struct AskedOutput {
    pub(crate) aggregate: Arc<Aggregate>,
    pub(crate) name: String,
    pub(crate) reach: Reach,
    pub(crate) data_type: DataType,
    /// One row: what an empty window answers.
    pub(crate) empty: ArrayRef,
    /// The place among the features of the answer.
    pub(crate) output: usize,
}

impl AskedOutput {
    /// `output` of `aggregate` of `table` as the column `place` of an answer.
    pub(crate) fn new(table: &Table, aggregate: &Arc<Aggregate>, output: &Output, place: usize) -> Result<Self> {
        let data_type = aggregate.data_type(table);
        Ok(Self {
            aggregate: Arc::clone(aggregate),
            name: format!("{}.{}", table.name, output.name),
            reach: output.reach,
            empty: aggregate.empty(&data_type)?,
            data_type,
            output: place,
        })
    }
}

/// The features of one table that are asked for one set of key columns.
#[derive(Debug)]
pub(crate) struct AskedTable {
    pub(crate) table: Arc<Table>,
    pub(crate) state: Arc<TableState>,
    pub(crate) features: Vec<AskedFeature>,
    pub(crate) outputs: Vec<AskedOutput>,
}

impl AskedTable {
    /// Asks also for `named`, as the column `place` of the answer.
    pub(crate) fn add(&mut self, named: Named, place: usize) -> Result<()> {
        match named {
            Named::Feature(feature) => self.features.push(AskedFeature::new(&self.table, feature, place)),
            Named::Output(aggregate, output) => {
                self.outputs.push(AskedOutput::new(&self.table, &aggregate, &output, place)?);
            }
        }
        Ok(())
    }

    /// The number and stored type of each feature.
    pub(crate) fn stored_types(&self) -> impl Iterator<Item = (u32, &DataType)> + Clone {
        self.features.iter().map(|asked| (asked.feature.id, &asked.stored))
    }
}

/// Tables that share an entity and the request's key columns: keys are resolved once for all of them.
#[derive(Debug)]
pub(crate) struct KeyedTables {
    pub(crate) entity: Arc<Entity>,
    pub(crate) state: Arc<EntityState>,
    /// Index of the request column of each key column.
    pub(crate) columns: Vec<usize>,
    pub(crate) tables: Vec<AskedTable>,
}

/// A planned lookup or join.
#[derive(Debug)]
pub struct Plan {
    pub(crate) catalog: Arc<Catalog>,
    /// The opening of the database that it is of.
    pub(crate) opening: u64,
    pub(crate) keyed: Vec<KeyedTables>,
    pub(crate) as_of: PlannedBound,
    pub(crate) known_at: PlannedBound,
    pub(crate) position: Option<Position>,
    pub(crate) durable: bool,
    pub(crate) clock: Option<Micros>,
    pub(crate) status: bool,
    pub(crate) event_times: bool,
    pub(crate) keep_null_keys: bool,
    /// The table whose standing rows are asked for.
    pub(crate) standing: Option<u32>,
    pub(crate) request: Schema,
    pub(crate) output: SchemaRef,
    pub(crate) features: usize,
    row_bytes: u64,
    /// Whether the answer's columns are in the order of the keyed, their tables and their features.
    pub(crate) in_order: bool,
}

impl Plan {
    /// The schema of the answer: the features, each followed by its status and event time if they were asked for.
    pub fn schema(&self) -> &SchemaRef {
        &self.output
    }

    /// About how many bytes a row of the answer takes, at least 1.
    pub fn row_bytes(&self) -> u64 {
        self.row_bytes
    }

    /// Whether the event bound leaves out its moment.
    pub fn excludes_as_of(&self) -> bool {
        matches!(self.as_of, PlannedBound::Time { exclusive: true, .. } | PlannedBound::Column { exclusive: true, .. })
    }

    /// The tables that are asked.
    pub(crate) fn tables(&self) -> Vec<Arc<Table>> {
        let tables = self.keyed.iter().flat_map(|keyed| &keyed.tables);
        tables.map(|asked| Arc::clone(&asked.table)).collect()
    }

    /// The moment to read at if `first` are the first rows.
    pub(crate) fn moment(&self, first: &RecordBatch) -> Moment {
        let known_at = match self.known_at.of_rows(first, "known_at") {
            Ok(RowBounds::Latest) => KnownAt::Latest,
            Ok(same @ RowBounds::Constant { .. }) => KnownAt::Time(same.of(0)),
            Ok(rows) => KnownAt::Rows((0..first.num_rows()).map(|row| rows.of(row)).max().unwrap_or(i64::MIN)),
            // What is wrong with a row is said when it is read: other requests may be read at this moment too.
            Err(_) => KnownAt::Rows(i64::MIN),
        };
        Moment { known_at, position: self.position, durable: self.durable, clock: self.clock }
    }
}

/// Plans `request` against `catalog` for requests of the schema `schema`.
pub(crate) fn plan(
    catalog: Arc<Catalog>,
    states: &dyn States,
    request: &PointRequest,
    position: Option<Position>,
    schema: &Schema,
) -> Result<Plan> {
    if request.features.is_empty() && request.standing.is_none() {
        return Err(Error::invalid("no features are asked; name at least one in \"features\", as \"table.feature\""));
    }
    let mut keyed: Vec<KeyedTables> = Vec::new();
    let mut fields: Vec<Field> = Vec::new();
    let mut features = 0;
    for Reference { table, entity, columns, named, reference } in references(&catalog, request, schema)? {
        let asked = asked_table(&mut keyed, states, &entity, &table, columns)?;
        for named in named {
            let name = output_name(named.name(), reference);
            fields.push(Field::new(&name, named.data_type(&table), true));
            if request.status {
                let kind = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
                fields.push(Field::new(status_name(&name), kind, false));
            }
            if request.event_times {
                fields.push(Field::new(event_time_name(&name), time_type(), true));
            }
            asked.add(named, features)?;
            features += 1;
        }
    }
    refuse_collisions(fields.iter())?;
    if let Some(max_age) = request.max_age.filter(|max_age| *max_age != MaxAge::Table) {
        let asked = keyed.iter_mut().flat_map(|keyed| &mut keyed.tables).flat_map(|asked| &mut asked.features);
        asked.for_each(|feature| feature.max_age = max_age.micros());
    }
    let standing = standing_table(&catalog, states, request, schema, &mut keyed)?;
    if standing.is_some() {
        fields.push(Field::new(STANDING, time_type(), true));
    }
    let outputs = keyed.iter().flat_map(|keyed| &keyed.tables).flat_map(|asked| &asked.features);
    let beside = u64::from(request.status) + u64::from(request.event_times) * 8;
    let tables = keyed.iter().flat_map(|keyed| &keyed.tables);
    let cells: u64 = tables.map(|asked| estimate::row_bytes(asked.stored_types(), &asked.state.view.load())).sum();
    let reckoned = keyed.iter().flat_map(|keyed| &keyed.tables).flat_map(|asked| &asked.outputs);
    let cells = cells + reckoned.clone().map(|output| output.aggregate.row_bytes()).sum::<u64>();
    let in_order = standing.is_none()
        && reckoned.count() == 0
        && outputs.enumerate().all(|(place, feature)| feature.output == place);
    Ok(Plan {
        in_order,
        opening: states.opening(),
        as_of: PlannedBound::find(&request.as_of, schema, "as_of")?,
        known_at: PlannedBound::find(&request.known_at, schema, "known_at")?,
        position,
        durable: request.durable,
        clock: request.clock,
        status: request.status,
        event_times: request.event_times,
        keep_null_keys: request.keep_null_keys,
        standing,
        request: schema.clone(),
        output: Arc::new(Schema::new(fields)),
        features,
        row_bytes: (cells + features as u64 * beside).max(1),
        catalog,
        keyed,
    })
}

/// The number of the table whose standing rows are asked for, which is put among `keyed`.
fn standing_table(
    catalog: &Catalog,
    states: &dyn States,
    request: &PointRequest,
    schema: &Schema,
    keyed: &mut Vec<KeyedTables>,
) -> Result<Option<u32>> {
    let Some(name) = &request.standing else { return Ok(None) };
    let table = catalog.table(name)?;
    let entity = entity_of(catalog, table)?;
    let reference = FeatureReference { table: name.clone(), ..FeatureReference::default() };
    let mut problems = Problems::default();
    let columns = key_columns(&entity, &reference, schema, &mut problems, &mut HashSet::new());
    problems.check()?;
    asked_table(keyed, states, &entity, table, columns.unwrap_or_default())?;
    Ok(Some(table.id))
}

/// A reference whose names are all there.
struct Reference<'a> {
    table: Arc<Table>,
    entity: Arc<Entity>,
    /// Index of the request column of each key column.
    columns: Vec<usize>,
    /// What it names.
    named: Vec<Named>,
    reference: &'a FeatureReference,
}

/// The references of `request`; an error that says every name that is wrong.
fn references<'a>(catalog: &Catalog, request: &'a PointRequest, schema: &Schema) -> Result<Vec<Reference<'a>>> {
    let (mut problems, mut lacking) = (Problems::default(), HashSet::new());
    let mut references = Vec::with_capacity(request.features.len());
    for reference in &request.features {
        let Some(table) = problems.found(catalog.find_table(&reference.table)) else { continue };
        let entity = entity_of(catalog, table)?;
        let columns = key_columns(&entity, reference, schema, &mut problems, &mut lacking);
        let named = problems.found(named_features(table, reference));
        if let (Some(columns), Some(named)) = (columns, named) {
            references.push(Reference { table: Arc::clone(table), entity, columns, named, reference });
        }
    }
    problems.check()?;
    Ok(references)
}

pub(crate) fn entity_of(catalog: &Catalog, table: &Table) -> Result<Arc<Entity>> {
    let found = catalog.entity_by_id(table.entity);
    Ok(Arc::clone(found.expect("a table's entity cannot be dropped before the table")))
}

fn asked_table<'a>(
    keyed: &'a mut Vec<KeyedTables>,
    states: &dyn States,
    entity: &Arc<Entity>,
    table: &Arc<Table>,
    columns: Vec<usize>,
) -> Result<&'a mut AskedTable> {
    let found = keyed.iter().position(|keyed| keyed.entity.id == entity.id && keyed.columns == columns);
    let index = match found {
        Some(index) => index,
        None => {
            let state = states.entity_state(entity)?;
            keyed.push(KeyedTables { entity: Arc::clone(entity), state, columns, tables: Vec::new() });
            keyed.len() - 1
        }
    };
    let tables = &mut keyed[index].tables;
    let index = match tables.iter().position(|asked| asked.table.id == table.id) {
        Some(index) => index,
        None => {
            let state = states.table_state(table)?;
            tables.push(AskedTable { table: Arc::clone(table), state, features: Vec::new(), outputs: Vec::new() });
            tables.len() - 1
        }
    };
    Ok(&mut tables[index])
}

/// Index of the request column of each key column of `entity`; none if one is a problem. One that is `lacking` is said once.
fn key_columns(
    entity: &Entity,
    reference: &FeatureReference,
    schema: &Schema,
    problems: &mut Problems,
    lacking: &mut HashSet<String>,
) -> Option<Vec<usize>> {
    let invalid = |said: String, hint: String| Unknown::new(Kind::Invalid, said, hint);
    let known = || entity.key.iter().map(|column| column.name.as_str());
    for (key, _) in reference.entity.iter().filter(|(key, _)| !known().any(|known| known == key)) {
        let (table, feature) = (&reference.table, &reference.feature);
        problems.add(invalid(
            format!(
                "feature {table}.{feature} maps the key column {key:?}, which entity {} does not have",
                entity.name
            ),
            format!("its key columns are {}", known().collect::<Vec<_>>().join(", ")),
        ));
    }
    let mut columns = Vec::with_capacity(entity.key.len());
    for key in &entity.key {
        let mapped = reference.entity.iter().find(|(name, _)| *name == key.name);
        let name = mapped.map_or(&key.name, |(_, column)| column);
        if let Some(column) = request_column(schema, name) {
            columns.push(column);
        } else if lacking.insert(name.clone()) {
            let needs = format!("that {}.{} needs", reference.table, reference.feature);
            problems.add(
                invalid(
                    format!(
                        "the request has no column {name:?}, the key column {} of entity {} {needs}",
                        key.name, entity.name
                    ),
                    format!("send it, or map another column with \"entity\":{{\"{}\":\"your_column\"}}", key.name),
                )
                .of_column(name),
            );
        }
    }
    (columns.len() == entity.key.len()).then_some(columns)
}

fn request_column(schema: &Schema, name: &str) -> Option<usize> {
    schema.fields().iter().position(|field| field.name() == name)
}

/// What can be read of a table: a feature, or a window of an aggregate.
#[derive(Debug, Clone)]
pub(crate) enum Named {
    Feature(Arc<Feature>),
    Output(Arc<Aggregate>, Output),
}

impl Named {
    /// What `table` has under `name`.
    pub(crate) fn find(table: &Table, name: &str) -> Result<Self, Unknown> {
        match table.outputs().find(|(_, output)| output.name == name) {
            Some(found) => Ok(Self::output(found)),
            None => Ok(Self::Feature(Arc::clone(table.find_feature(name)?))),
        }
    }

    fn output((aggregate, output): (&Arc<Aggregate>, &Output)) -> Self {
        Self::Output(Arc::clone(aggregate), output.clone())
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Feature(feature) => &feature.name,
            Self::Output(_, output) => &output.name,
        }
    }

    /// The type of its answers, as `table` declares it.
    pub(crate) fn data_type(&self, table: &Table) -> DataType {
        match self {
            Self::Feature(feature) => feature.data_type.clone(),
            Self::Output(aggregate, _) => aggregate.data_type(table),
        }
    }
}

fn named_features(table: &Table, reference: &FeatureReference) -> Result<Vec<Named>, Unknown> {
    match (reference.feature.as_str(), &reference.rename) {
        ("*", None) => {
            Ok(table.features.iter().cloned().map(Named::Feature).chain(table.outputs().map(Named::output)).collect())
        }
        ("*", Some(_)) => Err(Unknown::new(
            Kind::Invalid,
            format!("{}.* cannot be renamed with \"as\": it is many columns", reference.table),
            "use \"prefix\"".to_owned(),
        )),
        (name, _) => Ok(vec![Named::find(table, name)?]),
    }
}

/// The column that says why the answers of the column `name` are what they are.
pub(crate) fn status_name(name: &str) -> String {
    format!("{name}__status")
}

/// The column that says when the answers of the column `name` became true.
pub(crate) fn event_time_name(name: &str) -> String {
    format!("{name}__event_time")
}

fn output_name(name: &str, reference: &FeatureReference) -> String {
    let name = reference.rename.as_deref().unwrap_or(name);
    format!("{}{name}", reference.prefix.as_deref().unwrap_or(""))
}

pub(crate) fn refuse_collisions<'a>(mut fields: impl Iterator<Item = &'a Field>) -> Result<()> {
    let mut seen = HashSet::new();
    match fields.find(|field| !seen.insert(field.name())) {
        None => Ok(()),
        Some(twice) => Err(Error::invalid(format!(
            "two columns of the answer are called {:?}; rename one with {{\"feature\":…,\"as\":\"another_name\"}} or \
             give a \"prefix\"",
            twice.name()
        ))),
    }
}
