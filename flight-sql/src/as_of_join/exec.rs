//! The running of an as-of join: each batch of left rows is a request to the engine, as a join over the wire would send it.
//!
//! Left rows keep their order. A row whose key or moment is null has no match.

use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::filter::filter;
use arrow_select::nullif::nullif;
use datafusion::arrow::compute::{is_not_null, is_null};
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, CardinalityEffect, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, StatisticsArgs,
};
use firn_storage::database::Database;
use firn_storage::model::catalog::Catalog;
use firn_storage::model::micros::micros_array;
use firn_storage::read::{Bound, FeatureReference, Patience, Plan, PointRequest, Snapshot};
use firn_storage::time::Micros;
use futures::{StreamExt, TryStreamExt};

use super::node::AsOfJoin;
use crate::error::{through, unsupported};
use crate::memory::reserve;
use crate::moment::TableBounds;

/// How the keys and moments of left rows are worked out.
#[derive(Debug, Clone)]
pub(crate) struct Evaluated {
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) as_of: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) known_at: Option<Arc<dyn PhysicalExpr>>,
}

/// A column of the answer that comes from the table.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// A key column, from the left.
    Key(usize),
    /// The event time of the newest row that stands.
    EventTime,
    /// A feature, by its place in the engine's answer.
    Feature(usize),
}

/// What all partitions share.
#[derive(Debug)]
struct Joining {
    database: Database,
    plan: Plan,
    snapshot: Snapshot,
    evaluated: Evaluated,
    sources: Vec<Source>,
    /// The columns of a request to the engine.
    request: SchemaRef,
    /// No left row sees more than this of what was true, and of what was known.
    as_of_max: Option<Micros>,
    known_at_max: Option<Micros>,
    keeps_left: bool,
    /// Whether the engine says which rows have a match.
    standing: bool,
    /// Whether a feature without a match has its default, and is not null.
    defaults: bool,
    schema: SchemaRef,
}

/// An as-of join.
#[derive(Debug, Clone)]
pub(crate) struct AsOfJoinExec {
    joining: Arc<Joining>,
    input: Arc<dyn ExecutionPlan>,
    words: String,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What the columns of a request are called: nothing that a key column can be called.
const AS_OF: &str = "as of";
const KNOWN_AT: &str = "known at";

impl AsOfJoinExec {
    /// `join` over `input`, at what is pinned for it.
    pub(crate) fn new(
        database: Database,
        catalog: &Arc<Catalog>,
        join: &AsOfJoin,
        bounds: &TableBounds,
        snapshot: &Snapshot,
        evaluated: Evaluated,
        input: Arc<dyn ExecutionPlan>,
    ) -> Result<Self> {
        let (table, keys) = (&join.table.table, join.table.keys());
        let exclusive = join.matched.as_of.as_ref().is_some_and(|time| time.exclusive);
        if exclusive && bounds.as_of.is_some() {
            return Err(through(unsupported(
                "`>` in an ASOF JOIN is not served where firn.as_of bounds the session: write `>=`, or unset it",
            )));
        }
        let mut features = Vec::new();
        let sources = join.columns.iter().map(|&column| match column.checked_sub(keys + join.table.beside()) {
            Some(feature) => {
                features.push(FeatureReference {
                    table: table.name.clone(),
                    feature: table.features[feature].name.clone(),
                    ..FeatureReference::default()
                });
                Source::Feature(features.len() - 1)
            }
            None if column < keys => Source::Key(column),
            None => Source::EventTime,
        });
        let sources: Vec<Source> = sources.collect();
        let standing = !join.keeps_left
            || join.is_lookup()
            || features.is_empty()
            || sources.iter().any(|source| !matches!(source, Source::Feature(_)));
        let request = request_schema(join, &evaluated, &input.schema())?;
        let known_at = match evaluated.known_at {
            Some(_) => Bound::Column { name: KNOWN_AT.to_owned(), exclusive: false },
            None => bounds.known_at(),
        };
        let as_of = match evaluated.as_of {
            Some(_) => Bound::Column { name: AS_OF.to_owned(), exclusive },
            None => bounds.as_of(),
        };
        let point = PointRequest {
            features,
            as_of,
            known_at,
            keep_null_keys: true,
            standing: standing.then(|| table.name.clone()),
            ..PointRequest::default()
        };
        let plan = database.plan(catalog, &point, &request).map_err(through)?;
        let schema = Arc::clone(join.schema_ref().inner());
        let joining = Joining {
            database,
            plan,
            snapshot: snapshot.clone(),
            evaluated,
            sources,
            request,
            as_of_max: bounds.as_of.map(|(micros, _)| micros),
            known_at_max: bounds.known_at,
            keeps_left: join.keeps_left,
            standing,
            defaults: !join.is_lookup(),
            schema,
        };
        Ok(Self::over(Arc::new(joining), input, words(join)))
    }

    fn over(joining: Arc<Joining>, input: Arc<dyn ExecutionPlan>, words: String) -> Self {
        // Columns of the left keep their places, and rows their order.
        let ordering = input.output_ordering().cloned();
        let equivalence = EquivalenceProperties::new_with_orderings(Arc::clone(&joining.schema), ordering);
        let partitioning = input.output_partitioning().partition_count();
        let partitioning = datafusion::physical_plan::Partitioning::UnknownPartitioning(partitioning);
        let properties =
            PlanProperties::new(equivalence, partitioning, EmissionType::Incremental, Boundedness::Bounded);
        Self { joining, input, words, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

/// The columns of a request to the engine: keys, and moments.
fn request_schema(join: &AsOfJoin, evaluated: &Evaluated, left: &Schema) -> Result<SchemaRef> {
    let moment = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, None), false);
    let mut fields = Vec::with_capacity(evaluated.keys.len() + 2);
    for (key, expr) in join.table.entity.key.iter().zip(&evaluated.keys) {
        fields.push(Field::new(&key.name, expr.data_type(left)?, true));
    }
    fields.extend(evaluated.as_of.as_ref().map(|_| moment(AS_OF)));
    fields.extend(evaluated.known_at.as_ref().map(|_| moment(KNOWN_AT)));
    Ok(Arc::new(Schema::new(fields)))
}

/// What a join does, for an explanation.
fn words(join: &AsOfJoin) -> String {
    let keys: Vec<&str> = join.table.entity.key.iter().map(|key| key.name.as_str()).collect();
    let features = join.columns.iter().filter(|&&column| column >= join.table.keys() + join.table.beside()).count();
    format!("{} with {} on {}, {features} features", join.kind(), join.table.table.name, keys.join(", "))
}

impl Joining {
    /// The answer for a batch of left rows.
    async fn join(&self, left: RecordBatch) -> Result<RecordBatch> {
        let keys = self.evaluated.keys.iter().map(|expr| value(expr, &left)).collect::<Result<Vec<_>>>()?;
        let (mut columns, mut missing): (Vec<ArrayRef>, _) = (Vec::new(), None);
        if let Some(as_of) = &self.evaluated.as_of {
            let exclusive = self.plan.excludes_as_of();
            let (as_of, unmatched) = moments(&value(as_of, &left)?, exclusive, self.as_of_max)?;
            missing = unmatched;
            columns.push(as_of);
        }
        if let Some(known_at) = &self.evaluated.known_at {
            let (known_at, unknown) = moments(&value(known_at, &left)?, false, self.known_at_max)?;
            missing = NullBuffer::union(missing.as_ref(), unknown.as_ref());
            columns.push(known_at);
        }
        // A row without a moment is asked for without a key: it has no match.
        let mut asked = keys.clone();
        if let (Some(missing), Some(first)) = (&missing, asked.first_mut()) {
            *first = nullif(first, &BooleanArray::new(!missing.inner(), None))?;
        }
        columns.splice(0..0, asked);
        let request = RecordBatch::try_new(Arc::clone(&self.request), columns)?;
        let bytes = self.plan.row_bytes() * request.num_rows() as u64;
        let mut memory = reserve(&self.database, bytes).await.map_err(through)?;
        let answer = self.database.answer(&self.plan, &self.snapshot, &request, &mut memory, Patience::Waits);
        let answer = answer.and_then(firn_storage::read::Answer::into_batch).map_err(through)?;
        self.assemble(&left, &keys, &answer)
    }

    fn assemble(&self, left: &RecordBatch, keys: &[ArrayRef], answer: &RecordBatch) -> Result<RecordBatch> {
        let standing = self.standing.then(|| Arc::clone(answer.column(answer.num_columns() - 1)));
        let mut columns: Vec<ArrayRef> = left.columns().to_vec();
        for (source, place) in self.sources.iter().zip(left.num_columns()..) {
            columns.push(match (source, &standing) {
                (Source::Feature(feature), Some(standing)) if !self.defaults => {
                    nullif(answer.column(*feature), &is_null(standing)?)?
                }
                (Source::Feature(feature), _) => Arc::clone(answer.column(*feature)),
                (Source::EventTime, Some(standing)) => Arc::clone(standing),
                (Source::Key(key), Some(standing)) => {
                    let unmatched = is_null(standing)?;
                    let key = arrow_cast::cast(&keys[*key], self.schema.field(place).data_type())?;
                    nullif(&key, &unmatched)?
                }
                (_, None) => unreachable!("standing rows are asked for where their keys or times are"),
            });
        }
        let mut rows = left.num_rows();
        if let (Some(standing), false) = (&standing, self.keeps_left) {
            let matched = is_not_null(standing)?;
            rows = matched.true_count();
            columns = columns.iter().map(|column| filter(column, &matched)).collect::<Result<_, _>>()?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// Moments in µs, none after `most`, and which rows have one.
fn moments(given: &ArrayRef, round_up: bool, most: Option<Micros>) -> Result<(ArrayRef, Option<NullBuffer>)> {
    let times = micros_array(given, round_up).map_err(|error| through(error.at("a moment of ASOF JOIN")))?;
    let nulls = times.nulls().cloned();
    let times = times.as_primitive::<TimestampMicrosecondType>().values().clone();
    let times = match most {
        None => times,
        Some(most) => times.iter().map(|&time| time.min(most)).collect(),
    };
    Ok((Arc::new(TimestampMicrosecondArray::new(times, None)), nulls))
}

fn value(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef> {
    expr.evaluate(batch)?.into_array(batch.num_rows())
}

impl DisplayAs for AsOfJoinExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl ExecutionPlan for AsOfJoinExec {
    fn name(&self) -> &'static str {
        "AsOfJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let Evaluated { keys, as_of, known_at } = &self.joining.evaluated;
        let mut recursion = TreeNodeRecursion::Continue;
        for expr in keys.iter().chain(as_of).chain(known_at) {
            recursion = visit(expr)?;
        }
        Ok(recursion)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children).expect("a join has one input");
        Ok(Arc::new(Self::over(Arc::clone(&self.joining), input, self.words.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let joining = Arc::clone(&self.joining);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (time, rows) = (metrics.elapsed_compute().clone(), metrics.output_rows().clone());
        let joined = input.and_then(move |batch| {
            let (joining, time, rows) = (Arc::clone(&joining), time.clone(), rows.clone());
            async move {
                let _timer = time.timer();
                let joined = joining.join(batch).await?;
                rows.add(joined.num_rows());
                Ok(joined)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), joined.boxed())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        let rows = inputs[0].num_rows;
        statistics.num_rows = if self.joining.keeps_left { rows } else { rows.to_inexact() };
        Ok(Arc::new(statistics))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        if self.joining.keeps_left { CardinalityEffect::Equal } else { CardinalityEffect::LowerEqual }
    }
}
