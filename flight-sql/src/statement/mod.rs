//! Statements that are no queries: what is declared, rows that are written, upkeep. Each runs by itself and is atomic.
//!
//! DataFusion plans none of them: its own paths drop clauses, and its DELETE may take every row.

mod alter;
mod call;
mod create;
mod declaration;
mod delete;
mod fit;
pub(crate) mod ingest;
mod insert;
mod options;
pub(crate) mod set;
mod show;
mod step;

use firn_storage::error::{Error, Result};
use firn_storage::model::catalog::Catalog;
use sqlparser::ast::{ObjectType, Statement};

use crate::door::{Caller, Need};
use crate::error::unsupported;
use crate::parameters::Parameter;
use crate::sql::Sql;
pub(crate) use show::show;
pub(crate) use step::Values;
use step::{Step, declare, table_name};

/// What a statement that is no query does.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// Changes what is declared, one step after the other.
    Declare(Vec<Step>),
    /// Writes rows.
    Insert(Box<insert::Insertion>),
    /// Writes tombstones.
    Delete(Box<delete::Deletion>),
    /// Does something else.
    Call(call::Call),
    /// Changes the session.
    Set(set::Change),
}

impl Command {
    /// Whether it is SET or RESET.
    pub(crate) fn changes_session(&self) -> bool {
        matches!(self, Self::Set(_))
    }

    /// The types of `count` parameters; none where any will do.
    pub(crate) fn parameters(&self, catalog: &Catalog, count: usize) -> Vec<Parameter> {
        match self {
            Self::Insert(insertion) => insertion.parameters(catalog, count),
            Self::Declare(_) | Self::Delete(_) | Self::Call(_) | Self::Set(_) => vec![Parameter::default(); count],
        }
    }
}

/// The command that `statement` is; none if it is a query.
pub(crate) fn command(statement: &Statement, catalog: &Catalog) -> Result<Option<Command>> {
    Ok(Some(match statement {
        Statement::Query(_) => return Ok(None),
        Statement::CreateTable(create) => Command::Declare(create::steps(create, catalog)?),
        Statement::AlterTable(alter) => Command::Declare(alter::steps(alter)?),
        Statement::Comment { .. } => Command::Declare(alter::comment(statement)?),
        Statement::Drop { .. } => Command::Declare(drop_tables(statement)?),
        Statement::Insert(insert) => Command::Insert(Box::new(insert::insertion(insert)?)),
        Statement::Delete(delete) => Command::Delete(Box::new(delete::deletion(delete)?)),
        Statement::Call(function) => Command::Call(call::call(function)?),
        other => match set::change(other)? {
            Some(change) => Command::Set(change),
            None => return Err(not_served(other)),
        },
    }))
}

/// Runs `command`; how many rows it changed.
pub(crate) async fn run(sql: &Sql, caller: &Caller, command: &Command, values: Values) -> Result<u64> {
    match command {
        Command::Declare(steps) => declare(caller, steps).await.map(|()| 0),
        Command::Insert(insertion) => insertion.run(sql, caller, values).await,
        Command::Delete(deletion) => deletion.run(sql, caller, values).await,
        Command::Call(call) => call.run(sql, caller, values.first().map_or(&[], Vec::as_slice)).await,
        Command::Set(change) => change.run(sql, caller, values.first().map_or(&[], Vec::as_slice)).map(|()| 0),
    }
}

fn drop_tables(statement: &Statement) -> Result<Vec<Step>> {
    let Statement::Drop {
        object_type: ObjectType::Table,
        if_exists,
        names,
        cascade: false,
        restrict: _,
        purge: false,
        temporary: false,
        table: None,
    } = statement
    else {
        return Err(unsupported(format!("`{statement}` is not served: DROP TABLE [IF EXISTS] t drops a table")));
    };
    let steps = names.iter().map(|name| {
        let body = serde_json::json!({ "table": table_name(name)? });
        Ok(Step { if_exists: *if_exists, ..Step::new("drop_table", &body, Need::Drop)? })
    });
    steps.collect()
}

/// The refusal of a statement that is never served, with what serves instead.
fn not_served(statement: &Statement) -> Error {
    let instead = match statement {
        Statement::Update(_) | Statement::Merge(_) => "writing an identity again corrects it: use INSERT",
        Statement::Truncate(_) => "drop the table and create it again, or erase entities",
        Statement::Copy { to: true, .. } => "query the table, and write what it answers; `firn export` writes files",
        Statement::Copy { .. } => "load rows with bulk ingest, or with `firn import`",
        Statement::Savepoint { .. } | Statement::ReleaseSavepoint { .. } => "each statement is atomic",
        Statement::StartTransaction { .. } | Statement::Commit { .. } | Statement::Rollback { .. } => {
            "each statement is atomic; reads with one firn.position agree"
        }
        Statement::CreateView(_) => "write the query as a common table expression",
        Statement::CreateFunction(_) => "write the expression out; SQL has no functions of its users",
        Statement::CreateIndex(_) => "entities are found by their keys",
        Statement::CreateSchema { .. } | Statement::CreateDatabase { .. } => "all feature tables are in firn.public",
        _ => {
            "the statements are queries, EXPLAIN, SHOW, DESCRIBE, CREATE, ALTER and DROP TABLE, COMMENT, INSERT, DELETE, CALL, \
             SET and RESET"
        }
    };
    let text = statement.to_string();
    let word: String = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    unsupported(format!("`{word}` is not served: {instead}"))
}
