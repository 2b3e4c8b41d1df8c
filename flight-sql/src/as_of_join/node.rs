//! An as-of join in a logical plan. A lookup join is one whose rows all have the table's own moment.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::common::{DFSchema, DFSchemaRef, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::moment::{Bounds, TableBounds};
use crate::table::FeatureTable;

/// A moment of each left row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct Time {
    /// Over the left.
    pub(crate) expr: Expr,
    /// Whether the moment itself is left out.
    pub(crate) exclusive: bool,
}

/// How the moments and keys of left rows are found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct Matched {
    /// For each key column an expression over the left.
    pub(crate) keys: Vec<Expr>,
    /// The event bound; none if entities are looked up at the table's own moment.
    pub(crate) as_of: Option<Time>,
    /// The knowledge bound.
    pub(crate) known_at: Option<Time>,
}

/// Left rows with columns of a feature table as they were at a moment of each row.
#[derive(Debug, Clone)]
pub(crate) struct AsOfJoin {
    pub(crate) input: LogicalPlan,
    pub(crate) table: FeatureTable,
    /// What the table is called.
    pub(crate) name: TableReference,
    pub(crate) matched: Matched,
    /// Whether left rows without a match stay.
    pub(crate) keeps_left: bool,
    /// Which columns of the table follow those of the left, ascending.
    pub(crate) columns: Vec<usize>,
    schema: DFSchemaRef,
}

impl AsOfJoin {
    /// The join of `input` with `table`, which is called `name`; `using` says that key columns are those of the left.
    pub(crate) fn new(
        input: LogicalPlan,
        table: FeatureTable,
        name: TableReference,
        matched: Matched,
        keeps_left: bool,
        using: bool,
    ) -> Result<Self> {
        let first = if using { table.keys() } else { 0 };
        let columns: Vec<usize> = (first..table.columns().fields().len()).collect();
        let schema = schema_of(&input, &table, &name, &columns, keeps_left)?;
        Ok(Self { input, table, name, matched, keeps_left, columns, schema })
    }

    /// The same over another left, with other columns.
    pub(crate) fn with(&self, input: LogicalPlan, columns: Vec<usize>) -> Result<Self> {
        let schema = schema_of(&input, &self.table, &self.name, &columns, self.keeps_left)?;
        Ok(Self { input, columns, schema, ..self.clone() })
    }

    /// The bounds of the table, within those of the request.
    pub(crate) fn bounds(&self, bounds: &Bounds, now: DateTime<Utc>) -> firn_storage::error::Result<TableBounds> {
        let constant = TableBounds::new(&self.table.moment, bounds, now)?;
        Ok(TableBounds { known_by_row: self.matched.known_at.is_some(), ..constant })
    }

    /// The columns of the left, then those of the table.
    pub(crate) fn schema_ref(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// What it is called in explanations.
    pub(crate) fn kind(&self) -> String {
        let kind = if self.keeps_left { "left" } else { "inner" };
        let how = if self.is_lookup() { "lookup" } else { "as-of" };
        format!("{kind} {how} join")
    }

    /// Whether entities are looked up at the table's own moment.
    pub(crate) fn is_lookup(&self) -> bool {
        self.matched.as_of.is_none()
    }

    /// How many columns the left has.
    pub(crate) fn left_columns(&self) -> usize {
        self.input.schema().fields().len()
    }
}

fn schema_of(
    input: &LogicalPlan,
    table: &FeatureTable,
    name: &TableReference,
    columns: &[usize],
    keeps_left: bool,
) -> Result<DFSchemaRef> {
    let all = table.columns();
    // Without a match they are null.
    let right = columns.iter().map(|&column| {
        let field = all.field(column).clone();
        let nullable = keeps_left || field.is_nullable();
        let field = field.with_nullable(nullable);
        (Some(name.clone()), Arc::new(field))
    });
    let right = DFSchema::new_with_metadata(right.collect(), std::collections::HashMap::new())?;
    Ok(Arc::new(input.schema().join(&right)?))
}

impl UserDefinedLogicalNodeCore for AsOfJoin {
    fn name(&self) -> &str {
        "AsOfJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let Matched { keys, as_of, known_at } = &self.matched;
        let times = [as_of, known_at].into_iter().flatten();
        keys.iter().chain(times.map(|time| &time.expr)).cloned().collect()
    }

    /// Names are not enough to tell the sides apart, so nothing is pushed by name; [`rule`](super::rule) does it.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.kind(), self.table.table.name)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let keys = exprs.by_ref().take(self.matched.keys.len()).collect();
        let mut timed = |time: &Time| Time { expr: exprs.next().expect("as many as there were"), ..*time };
        let as_of = self.matched.as_of.as_ref().map(&mut timed);
        let known_at = self.matched.known_at.as_ref().map(&mut timed);
        let input = inputs.into_iter().next().expect("one input");
        let joined = self.with(input, self.columns.clone())?;
        Ok(Self { matched: Matched { keys, as_of, known_at }, ..joined })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let left = self.left_columns();
        let mut needed: Vec<usize> = output_columns.iter().copied().filter(|&column| column < left).collect();
        for expr in self.expressions() {
            for column in expr.column_refs() {
                needed.push(self.input.schema().maybe_index_of_column(column)?);
            }
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }

    fn supports_limit_pushdown(&self) -> bool {
        self.keeps_left
    }
}

impl PartialEq for AsOfJoin {
    fn eq(&self, other: &Self) -> bool {
        let Self { input, table, name, matched, keeps_left, columns, schema: _ } = self;
        (input, table, name, matched, keeps_left, columns)
            == (&other.input, &other.table, &other.name, &other.matched, &other.keeps_left, &other.columns)
    }
}

impl Eq for AsOfJoin {}

impl Hash for AsOfJoin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.input, &self.table, &self.name, &self.matched, self.keeps_left, &self.columns).hash(state);
    }
}

impl PartialOrd for AsOfJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.input, &self.matched, &self.columns).partial_cmp(&(&other.input, &other.matched, &other.columns))
    }
}
