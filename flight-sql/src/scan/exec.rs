//! The running of a scan: the parts of the engine's scan are the partitions, read batch by batch as they are asked for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, Time};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, StatisticsArgs,
};
use datafusion::scalar::ScalarValue;
use firn_storage::database::Database;
use firn_storage::read::{Exactly, Scan};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::error::through;
use crate::memory::reserve;

/// A scan of a feature table.
#[derive(Debug)]
pub(crate) struct ScanExec {
    database: Database,
    scan: Arc<Scan>,
    /// What it is, in words.
    words: String,
    /// The columns of the engine's scan that are answered.
    columns: Vec<usize>,
    /// So many rows of a part are enough.
    fetch: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    /// Of `scan`, answering `schema`, whose columns are those of the scan by name.
    pub(crate) fn new(
        database: Database,
        scan: Arc<Scan>,
        schema: SchemaRef,
        fetch: Option<usize>,
        words: String,
    ) -> Result<Self> {
        let columns = schema.fields().iter().map(|field| scan.schema().index_of(field.name()));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let partitions = Partitioning::UnknownPartitioning(scan.parts());
        let equivalence = EquivalenceProperties::new(schema);
        let properties = PlanProperties::new(equivalence, partitions, EmissionType::Incremental, Boundedness::Bounded);
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Self { database, scan, words, columns, fetch, properties: Arc::new(properties), metrics })
    }
}

impl ScanExec {
    /// How many rows it answers at most.
    pub(crate) fn rows_at_most(&self) -> usize {
        usize::try_from(self.scan.rows_at_most()).unwrap_or(usize::MAX)
    }

    /// About how many bytes they take.
    pub(crate) fn bytes_at_most(&self) -> u64 {
        self.scan.bytes_at_most()
    }
}

/// `batch` with the columns of `schema`, which are at `columns`.
fn project(batch: &RecordBatch, columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
    let arrays = columns.iter().map(|&column| Arc::clone(batch.column(column))).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}

/// Batches, and how long they take to be read.
struct TimedStream {
    batches: BoxStream<'static, Result<RecordBatch>>,
    time: Time,
}

impl Stream for TimedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { batches, time } = &mut *self;
        let _timer = time.timer();
        batches.poll_next_unpin(context)
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)?;
        self.fetch.map_or(Ok(()), |fetch| write!(f, ", at most {fetch} rows of each part"))
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan has no children") }
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (database, scan) = (self.database.clone(), Arc::clone(&self.scan));
        let (columns, schema) = (self.columns.clone(), self.schema());
        let opened = async move {
            let memory = reserve(&database, scan.batch_bytes()).await.map_err(through)?;
            let batches = scan.open_within(partition, memory);
            batches.map(|batches| futures::stream::iter(batches).map_err(through)).map_err(through)
        };
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (time, rows) = (metrics.elapsed_compute().clone(), metrics.output_rows().clone());
        let batches = futures::stream::once(opened).try_flatten();
        let batches = TimedStream { batches: batches.boxed(), time };
        let batches = batches.try_filter(|batch| std::future::ready(batch.num_rows() > 0));
        let batches = batches.map(move |batch| project(&batch?, &columns, &schema));
        let batches = batches.inspect_ok(move |batch| rows.add(batch.num_rows()));
        let batches: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches));
        Ok(match self.fetch {
            None => batches,
            Some(_) => Box::pin(LimitStream::new(batches, 0, self.fetch, metrics)),
        })
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if args.partition().is_some() {
            return Ok(Arc::new(statistics));
        }
        let exactly = self.scan.exactly().filter(|_| self.fetch.is_none());
        let rows = self.rows_at_most();
        statistics.num_rows = Precision::Inexact(self.fetch.map_or(rows, |fetch| rows.min(fetch)));
        if let Some(Exactly { rows, event_times }) = exactly {
            statistics.num_rows = Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX));
            let schema = self.schema();
            let event_time = schema.fields().iter().position(|field| field.name() == self.scan.event_time());
            if let Some((place, (least, greatest))) = event_time.zip(event_times) {
                let time =
                    |micros| Precision::Exact(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
                let column = &mut statistics.column_statistics[place];
                column.null_count = Precision::Exact(0);
                (column.min_value, column.max_value) = (time(least), time(greatest));
            }
        }
        Ok(Arc::new(statistics))
    }
}
