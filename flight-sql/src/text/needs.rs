//! What a statement needs, as it is written: so that who may not is told before anything is looked up, and cannot tell what
//! is there from what is not.

use std::ops::ControlFlow;

use sqlparser::ast::{Insert, Statement, TableFactor, Visit, Visitor};

use crate::door::Need;
use crate::names::{QUERIES, SYSTEM_SCHEMAS};

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
            "erase" => Need::Erase,
            _ => Need::Operate,
        }],
        Statement::ShowTables { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowCreate { .. }
        | Statement::ShowVariable { .. }
        | Statement::ExplainTable { .. }
        | Statement::Set(_)
        | Statement::Reset(_) => vec![Need::Describe],
        _ if tables.operated => vec![read, Need::Operate],
        _ if tables.described && !tables.any => vec![Need::Describe],
        _ => vec![read],
    }
}

/// Which tables a statement reads.
#[derive(Default)]
struct Tables {
    /// Feature tables.
    any: bool,
    /// Every row of one.
    history: bool,
    /// What is declared.
    described: bool,
    /// What runs.
    operated: bool,
}

impl Visitor for Tables {
    type Break = std::convert::Infallible;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { name, args, .. } = factor {
            let name = name.to_string().to_lowercase();
            let within = |schema: &&str| name.split_once(*schema).is_some_and(|(_, table)| table.starts_with('.'));
            let described = SYSTEM_SCHEMAS.iter().any(within);
            self.described |= described;
            self.operated |= described && name.ends_with(&format!(".{QUERIES}"));
            self.any |= !described;
            self.history |= args.is_some() && ["history", "changes"].contains(&name.as_str());
        }
        ControlFlow::Continue(())
    }
}
