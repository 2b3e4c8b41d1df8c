//! What a statement needs, as it is written: so that who may not is told before anything is looked up, and cannot tell what
//! is there from what is not.

use std::ops::ControlFlow;

use sqlparser::ast::{Insert, Statement, TableFactor, Visit, Visitor};

use crate::door::Need;

/// What `statement` needs, each once.
pub(crate) fn needs(statement: &Statement) -> Vec<Need> {
    let mut tables = Tables::default();
    let ControlFlow::Continue(()) = statement.visit(&mut tables);
    let read = if tables.history { Need::History } else { Need::Read };
    match statement {
        Statement::Insert(Insert { source: Some(_), .. }) if tables.any => vec![Need::Write, read],
        Statement::Insert(_) => vec![Need::Write],
        Statement::Delete(_) => vec![Need::Delete],
        Statement::CreateTable(_) => vec![Need::Create],
        Statement::AlterTable(_) | Statement::Comment { .. } => vec![Need::Alter],
        Statement::Drop { .. } => vec![Need::Drop],
        Statement::Call(function) => vec![match function.name.to_string().to_lowercase().as_str() {
            "seal_table" => Need::Alter,
            "drop_entity" => Need::Drop,
            _ => Need::Operate,
        }],
        Statement::ShowTables { .. } | Statement::ShowColumns { .. } | Statement::ExplainTable { .. } => {
            vec![Need::Describe]
        }
        _ => vec![read],
    }
}

/// Which tables a statement reads.
#[derive(Default)]
struct Tables {
    any: bool,
    history: bool,
}

impl Visitor for Tables {
    type Break = std::convert::Infallible;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { name, args, .. } = factor {
            let rows = ["history", "changes"].iter().any(|rows| name.to_string().eq_ignore_ascii_case(rows));
            self.any = true;
            self.history |= args.is_some() && rows;
        }
        ControlFlow::Continue(())
    }
}
