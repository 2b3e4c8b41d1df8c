//! SQL over one database: plans, threads and memory of queries, and the running of one.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
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
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
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
use tokio::sync::Semaphore;

use crate::as_of_join::lookup::LookupJoinRule;
use crate::as_of_join::rule::AsOfJoinRule;
use crate::door::{Caller, Need};
use crate::error::{defect, from_datafusion, invalid, planned, unsupported};
use crate::functions::checked::CheckedIntegers;
use crate::functions::{aggregate_functions, scalar_functions};
use crate::lanes::{Batches, Lanes, blocking};
use crate::limits::Limits;
use crate::memory::QueryPool;
use crate::moment::{Bounds, Pinned};
use crate::parameters;
use crate::parts::{self, Part};
use crate::physical::{Planner, YieldingJoins};
use crate::query::{Bound, Plans, Query};
use crate::running::{Running, within};
use crate::scope::Scope;
use crate::session::Unheard;
use crate::shape;
use crate::text::Parsed;
use crate::time::value_of;
use crate::told::tell;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// SQL.
#[derive(Debug)]
pub struct Sql {
    pub(crate) limits: Limits,
    pub(crate) lanes: Lanes,
    /// Plans and runs small queries.
    pub(crate) small: SessionState,
    /// Plans and runs all others.
    large: SessionState,
    pub(crate) plans: Mutex<Plans>,
    /// How many statements may be planned at once.
    pub(crate) planning: Arc<Semaphore>,
    /// What runs.
    pub(crate) running: Arc<Running>,
    unheard: Arc<Unheard>,
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
        let function_bytes_max = limits.query_bytes_max / 4;
        let state = |partitions| state(partitions, Arc::clone(&runtime), function_bytes_max);
        Ok(Self {
            small: state(1),
            large: state(limits.threads),
            lanes,
            plans: Mutex::default(),
            planning: Arc::new(Semaphore::new(limits.threads)),
            running: Arc::default(),
            unheard: Arc::new(Unheard::new(limits.sessions_unheard_max)),
            limits,
        })
    }

    /// What clients were told of their sessions and have not yet shown to know.
    pub fn unheard(&self) -> Arc<Unheard> {
        Arc::clone(&self.unheard)
    }

    /// The plan of a query that is part of another statement.
    pub(crate) fn plan_query(&self, caller: &Caller, parsed: Parsed, needs: Vec<Need>) -> Result<Query> {
        let catalog = caller.door.catalog(&caller.bounds)?;
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
        let expr = planner.sql_to_expr(written.clone(), &DFSchema::empty(), &mut PlannerContext::new());
        value_of(&expr.map_err(|error| planned(&error))?, now).map_err(|_| no_constant())
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
        let running = Arc::clone(&self.running);
        // Beside the table there are its hashes, and what else the query needs.
        let hash_bytes_max = self.limits.query_bytes_max / 4;
        Ok(Begun { database, catalog, bound, pinned, now, bounds: caller.bounds.clone(), running, hash_bytes_max })
    }

    /// What plans and runs a query.
    pub(crate) fn state_of(&self, begun: &Begun) -> &SessionState {
        if begun.is_small() { &self.small } else { &self.large }
    }

    /// What plans and runs a query that is not small.
    pub(crate) fn state_of_large(&self) -> &SessionState {
        &self.large
    }

    /// What a query that begins runs with: its own memory, of that of all requests.
    pub(crate) fn context(&self, begun: &Begun) -> Arc<TaskContext> {
        let state = self.state_of(begun);
        let pool = QueryPool::new(begun.database.budget(), self.limits.query_bytes_max);
        let runtime = RuntimeEnv { memory_pool: Arc::new(pool), ..RuntimeEnv::clone(state.runtime_env()) };
        Arc::new(TaskContext::from(state).with_runtime(Arc::new(runtime)))
    }

    /// Runs `query` with `values`, as `which` of its runs.
    pub(crate) async fn run(
        &self,
        caller: &Caller,
        query: &Query,
        values: Vec<ScalarValue>,
        which: Which,
    ) -> Result<Rows> {
        let place = self.running.enter(&query.text, which.run);
        let begun = self.pin(caller, query, values).await?;
        let (schema, context) = (Arc::clone(begun.schema()), self.context(&begun));
        let (told, small, state) = (Arc::clone(&schema), begun.is_small(), self.state_of(&begun).clone());
        let begin = async move {
            let plan = begun.plan(&state).await?;
            let batches = match which.part {
                None => execute_stream(plan, context),
                Some(part) => parts::execute(&plan, part, context),
            };
            let batches = batches.map_err(|error| from_datafusion(&error))?;
            let batches = batches.map_err(|error| from_datafusion(&error));
            Ok(batches.map(move |batch| batch.and_then(|batch| told_batch(&batch, &told))).boxed())
        };
        let lane = if small { &self.lanes.small } else { &self.lanes.large };
        let batches = lane.run(begin);
        Ok(Rows { schema, batches: within(&self.limits, place, batches) })
    }
}

/// Which run of a query.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Which {
    /// Its name, as tickets say it; 0 of one that no ticket names.
    pub(crate) run: u64,
    /// The part of the answer; none of all of it.
    pub(crate) part: Option<Part>,
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
    running: Arc<Running>,
    hash_bytes_max: u64,
}

impl Begun {
    /// The columns of the answer.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.bound.schema
    }

    /// Whether it looks at few rows.
    pub(crate) fn is_small(&self) -> bool {
        self.bound.small
    }

    /// Whether its answer may be cut into parts.
    pub(crate) fn may_run_apart(&self) -> bool {
        !self.is_small() && shape::may_run_apart(&self.bound.plan)
    }

    /// The bounds within which it answers the same again.
    pub(crate) fn bounds(&self) -> Bounds {
        let position = self.pinned.position.map(|position| position.to_string());
        let clock = self.pinned.clock.or(Some(self.now.timestamp_micros()));
        Bounds { position, clock, ..self.bounds.clone() }
    }

    /// What runs, over the engine at what is pinned.
    pub(crate) async fn plan(self, state: &SessionState) -> Result<Arc<dyn ExecutionPlan>> {
        let Self { database, catalog, bound, pinned, now, bounds, running, hash_bytes_max } = self;
        let parts = state.config().target_partitions();
        let planner =
            Planner { database, catalog, pinned: Arc::new(pinned), bounds, now, running, parts, hash_bytes_max };
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(planner)]);
        planner.create_physical_plan(&bound.plan, state).await.map_err(|error| planned(&error))
    }
}

fn told_batch(batch: &RecordBatch, told: &SchemaRef) -> Result<RecordBatch> {
    tell(batch, told).map_err(|error| defect(&format!("an answer is not what was told: {error}")))
}

/// What plans and runs queries in so many partitions, with functions whose answers for a batch are bounded.
fn state(partitions: usize, runtime: Arc<RuntimeEnv>, function_bytes_max: u64) -> SessionState {
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
    rules.push(Arc::new(LookupJoinRule));
    rules.push(Arc::new(AsOfJoinRule));
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(scalar_functions(function_bytes_max))
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_analyzer_rule(Arc::new(CheckedIntegers::default()))
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
