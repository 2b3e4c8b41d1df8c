//! As-of joins are put where a planner of relations meets them: each becomes, with all joins before it, the relation of
//! the joins behind it, as if there were parentheses.

use std::ops::ControlFlow;

use sqlparser::ast::{JoinOperator, Select, Statement, TableFactor, TableWithJoins, VisitMut, VisitorMut};

/// Nests the as-of joins of `statement`.
pub(super) fn nest(statement: &mut Statement) {
    let ControlFlow::Continue(()) = statement.visit(&mut Nest);
}

struct Nest;

impl VisitorMut for Nest {
    type Break = std::convert::Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        select.from.iter_mut().for_each(fold);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::NestedJoin { table_with_joins, alias: _ } = factor
            && last_as_of(table_with_joins).is_some_and(|last| last + 1 < table_with_joins.joins.len())
        {
            fold(table_with_joins);
        }
        ControlFlow::Continue(())
    }
}

fn last_as_of(table: &TableWithJoins) -> Option<usize> {
    table.joins.iter().rposition(|join| is_as_of(&join.join_operator))
}

/// Whether a join is one of ours.
pub(crate) fn is_as_of(operator: &JoinOperator) -> bool {
    matches!(operator, JoinOperator::AsOf { .. } | JoinOperator::StraightJoin(_))
}

/// Puts all up to the last as-of join into parentheses. Those before it are left: the relation of the last is planned as the
/// joins before it, where they are met again.
fn fold(table: &mut TableWithJoins) {
    let Some(last) = last_as_of(table) else { return };
    let behind = table.joins.split_off(last + 1);
    let nested = TableWithJoins { relation: table.relation.clone(), joins: std::mem::take(&mut table.joins) };
    table.relation = TableFactor::NestedJoin { table_with_joins: Box::new(nested), alias: None };
    table.joins = behind;
}
