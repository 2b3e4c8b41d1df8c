//! SQL over one database: plans, threads and memory of queries, and the running of one.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use datafusion::common::DFSchema;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerMode};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::optimizer::Optimizer;
use datafusion::optimizer::OptimizerRule;
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use firn_storage::database::Database;
use firn_storage::error::{Error, Kind, Result};
use firn_storage::model::catalog::Catalog;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use sqlparser::ast::{Expr, Value};

use crate::as_of_join::rule::AsOfJoinRule;
use crate::door::{Caller, Need};
use crate::error::{defect, from_datafusion, invalid, unsupported};
use crate::lanes::{Batches, Lanes, blocking};
use crate::limits::Limits;
use crate::memory::QueryPool;
use crate::moment::{Bounds, Pinned};
use crate::parameters;
use crate::physical::{Planner, YieldingJoins};
use crate::query::{Bound, Plans, Query};
use crate::scope::Scope;
use crate::text::Parsed;
use crate::time::value_of;
use crate::told::tell;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// SQL.
#[derive(Debug)]
pub struct Sql {
    pub(crate) limits: Limits,
    lanes: Lanes,
    /// Plans and runs small queries.
    pub(crate) small: SessionState,
    /// Plans and runs all others.
    large: SessionState,
    pub(crate) plans: Mutex<Plans>,
}

/// An answer on its way.
pub struct Rows {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its batches, each with these columns.
    pub batches: Batches,
}

impl Rows {
    /// One batch as an answer.
    pub(crate) fn of(batch: RecordBatch) -> Self {
        Self { schema: batch.schema(), batches: futures::stream::iter([Ok(batch)]).boxed() }
    }
}

/// The columns of a plan that is told.
pub(crate) fn plan_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("plan", DataType::Utf8, false)]))
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows of {:?}", self.schema)
    }
}

impl Sql {
    /// SQL within `limits`.
    pub fn new(limits: Limits) -> Result<Self> {
        let failed = |what: &str, error: String| Error::new(Kind::Io, format!("SQL cannot begin: {what}: {error}"));
        let lanes = Lanes::new(limits.threads, limits.queries_max);
        let lanes = lanes.map_err(|error| failed("its threads", error.to_string()))?;
        let spills = DiskManager::builder()
            .with_mode(DiskManagerMode::Directories(vec![limits.spill_directory.clone()]))
            .with_max_temp_directory_size(limits.spill_bytes_max)
            .build();
        let spills = spills.map_err(|error| failed("the directory of what does not fit memory", error.to_string()))?;
        let runtime = RuntimeEnv {
            disk_manager: Arc::new(spills),
            object_store_registry: Arc::new(NoStores),
            ..RuntimeEnv::default()
        };
        let runtime = Arc::new(runtime);
        let state = |partitions| state(partitions, Arc::clone(&runtime));
        Ok(Self { small: state(1), large: state(limits.threads), lanes, plans: Mutex::default(), limits })
    }

    /// The plan of a query that is part of another statement.
    pub(crate) fn plan_query(&self, caller: &Caller, parsed: Parsed, needs: Vec<Need>) -> Result<Query> {
        let catalog = caller.door.catalog(caller.bounds.schema_version)?;
        Query::new(parsed, needs, catalog, &self.small)
    }

    /// What a constant of a statement, perhaps a parameter, is worth.
    pub(crate) fn constant(&self, written: &Expr, values: &[ScalarValue], now: DateTime<Utc>) -> Result<ScalarValue> {
        let no_constant = || invalid(format!("`{written}` is no constant"));
        if let Expr::Value(value) = written
            && let Value::Placeholder(id) = &value.value
        {
            let number = parameters::number(id).ok_or_else(no_constant)?;
            let bound = values.get(number).cloned();
            return bound.ok_or_else(|| invalid(format!("the parameter {id} has no value: bind one")));
        }
        let scope = Scope::new(Arc::default(), &self.small);
        let planner = SqlToRel::new(&scope);
        let planned = planner.sql_to_expr(written.clone(), &DFSchema::empty(), &mut PlannerContext::new());
        value_of(&planned.map_err(|error| from_datafusion(&error))?, now).map_err(|_| no_constant())
    }

    /// Works out and pins the moment of `query` with `values`: the bounds within which it answers the same again.
    pub(crate) async fn pin(&self, caller: &Caller, query: &Query, values: Vec<ScalarValue>) -> Result<Begun> {
        let now = caller.bounds.clock.and_then(DateTime::from_timestamp_micros).unwrap_or_else(Utc::now);
        let bound = query.bind(values, &caller.bounds, now, &self.small)?;
        let need = query.needs.iter().max().copied().unwrap_or(Need::Read);
        let database = caller.door.grant(need)?;
        let (catalog, bounds) = (Arc::clone(&query.catalog), caller.bounds.clone());
        // Only a bound of what was known may have to be waited for.
        let waits = bound.wanted.iter().any(|wanted| wanted.bounds.may_wait());
        let pinned = match waits {
            false => Pinned::new(&database, &catalog, &bound.wanted, &bounds)?,
            true => {
                let (database, wanted) = (database.clone(), bound.wanted.clone());
                blocking(move || Pinned::new(&database, &catalog, &wanted, &bounds)).await?
            }
        };
        let catalog = Arc::clone(&query.catalog);
        Ok(Begun { database, catalog, bound, pinned, now, bounds: caller.bounds.clone() })
    }

    /// What plans and runs a query.
    fn state_of(&self, begun: &Begun) -> &SessionState {
        if begun.bound.small { &self.small } else { &self.large }
    }

    /// Runs `query` with `values`.
    pub(crate) async fn run(&self, caller: &Caller, query: &Query, values: Vec<ScalarValue>) -> Result<Rows> {
        let begun = self.pin(caller, query, values).await?;
        let schema = Arc::clone(begun.schema());
        let state = self.state_of(&begun);
        let pool = QueryPool::new(begun.database.budget(), self.limits.query_bytes_max);
        let runtime = RuntimeEnv { memory_pool: Arc::new(pool), ..RuntimeEnv::clone(state.runtime_env()) };
        let context = Arc::new(TaskContext::from(state).with_runtime(Arc::new(runtime)));
        let (told, small, state) = (Arc::clone(&schema), begun.bound.small, state.clone());
        let begin = async move {
            let plan = begun.plan(&state).await?;
            let batches = execute_stream(plan, context).map_err(|error| from_datafusion(&error))?;
            let batches = batches.map_err(|error| from_datafusion(&error));
            Ok(batches.map(move |batch| batch.and_then(|batch| told_batch(&batch, &told))).boxed())
        };
        let batches = if small { begin.await? } else { self.lanes.run(begin) };
        Ok(Rows { schema, batches: self.limited(batches) })
    }

    /// How `query` would run with `values`: what it reads at which moment, and its steps, the last first.
    pub(crate) async fn explain(&self, caller: &Caller, query: &Query, values: Vec<ScalarValue>) -> Result<Rows> {
        let begun = self.pin(caller, query, values).await?;
        let position = begun.bounds().position.unwrap_or_else(|| "none".to_owned());
        let lane = if begun.bound.small { "where it arrives" } else { "on threads of queries" };
        let state = self.state_of(&begun);
        let plan = begun.plan(state).await?;
        let mut lines = vec![format!("reads at position {position}, runs {lane}")];
        lines.extend(displayable(plan.as_ref()).indent(false).to_string().lines().map(str::to_owned));
        let lines: ArrayRef = Arc::new(StringArray::from(lines));
        Ok(Rows::of(RecordBatch::try_new(plan_schema(), vec![lines])?))
    }

    /// `batches`, ended by the limits of an answer.
    fn limited(&self, batches: Batches) -> Batches {
        let (most, time_max) = (self.limits.result_rows_max, self.limits.query_time_max);
        let started = std::time::Instant::now();
        let mut rows = 0_u64;
        let limited = batches.map(move |batch| {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            if rows > most {
                return Err(Error::exhausted(format!("the answer has more than {most} rows (sql-result-rows-max)")));
            }
            if started.elapsed() > time_max {
                return Err(Error::exhausted(format!("the query takes longer than {time_max:?} (sql-query-time-max)")));
            }
            Ok(batch)
        });
        limited.boxed()
    }
}

/// A query whose moment is pinned.
#[derive(Debug)]
pub(crate) struct Begun {
    database: Database,
    catalog: Arc<Catalog>,
    bound: Bound,
    pinned: Pinned,
    now: DateTime<Utc>,
    bounds: Bounds,
}

impl Begun {
    /// The columns of the answer.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.bound.schema
    }

    /// The bounds within which it answers the same again.
    pub(crate) fn bounds(&self) -> Bounds {
        let position = self.pinned.position.map(|position| position.to_string());
        let clock = self.pinned.clock.or(Some(self.now.timestamp_micros()));
        Bounds { position, clock, ..self.bounds.clone() }
    }

    /// What runs, over the engine at what is pinned.
    async fn plan(self, state: &SessionState) -> Result<Arc<dyn ExecutionPlan>> {
        let Self { database, catalog, bound, pinned, now, bounds } = self;
        let parts = state.config().target_partitions();
        let planner = Planner { database, catalog, pinned: Arc::new(pinned), bounds, now, parts };
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(planner)]);
        planner.create_physical_plan(&bound.plan, state).await.map_err(|error| from_datafusion(&error))
    }
}

fn told_batch(batch: &RecordBatch, told: &SchemaRef) -> Result<RecordBatch> {
    tell(batch, told).map_err(|error| defect(&format!("an answer is not what was told: {error}")))
}

/// What plans and runs queries in so many partitions.
fn state(partitions: usize, runtime: Arc<RuntimeEnv>) -> SessionState {
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    // It drops the order of a subquery whose LIMIT stands outside.
    options.sql_parser.enable_subquery_sort_elimination = false;
    options.execution.time_zone = Some("UTC".to_owned());
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Optimizer::new().rules;
    rules.push(Arc::new(AsOfJoinRule));
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_optimizer_rules(rules)
        .with_physical_optimizer_rule(Arc::new(YieldingJoins))
        .build()
}

/// No query reads or writes a file or a bucket by its address.
#[derive(Debug)]
struct NoStores;

impl ObjectStoreRegistry for NoStores {
    fn register_store(
        &self,
        _url: &url::Url,
        _store: Arc<dyn object_store::ObjectStore>,
    ) -> Option<Arc<dyn object_store::ObjectStore>> {
        None
    }

    fn get_store(&self, url: &url::Url) -> datafusion::error::Result<Arc<dyn object_store::ObjectStore>> {
        Err(crate::error::through(unsupported(format!("`{url}` is not read: SQL reads feature tables alone"))))
    }
}
