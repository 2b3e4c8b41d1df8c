//! CALL: the actions of the native protocol that no other statement says.

use chrono::Utc;
use datafusion::scalar::ScalarValue;
use firn_storage::database::EraseRequest;
use firn_storage::error::Result;
use serde_json::json;
use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};

use super::step::{Step, declare, folded, writing};
use crate::door::{Caller, Need};
use crate::error::{from_datafusion, invalid, unsupported};
use crate::lanes::blocking;
use crate::parameters;
use crate::sql::Sql;
use crate::words::in_words_of_sql;

/// An action.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// Changes what is declared.
    Declare(Box<Step>),
    /// Writes memtables to segments, of one table or all.
    Flush(Option<String>),
    /// Merges segments and builds packs.
    Compact(Option<String>),
    /// Removes an entity, or all with these leading key columns, at all bounds.
    Erase(Erased),
}

/// What is erased.
#[derive(Debug, Clone)]
pub(crate) struct Erased {
    entity: String,
    /// Leading key columns with their values.
    keys: Vec<(String, Expr)>,
    /// Whether later rows are refused.
    block: bool,
}

/// What may be called.
const USAGE: &str = "CALL seal_table('t'), flush(['t']), compact(['t']), drop_entity('e') and \
                     erase('e', key => value [, block => true]) are served";

/// The action that `function` names.
pub(super) fn call(function: &Function) -> Result<Call> {
    let name = function.name.to_string().to_lowercase();
    let arguments = match &function.args {
        FunctionArguments::List(list) if list.clauses.is_empty() => &list.args,
        _ => return Err(invalid(USAGE)),
    };
    if name == "erase" {
        return erased(arguments).map(Call::Erase);
    }
    let arguments = arguments.iter().map(text).collect::<Result<Vec<_>>>()?;
    let one = |field: &str, need| match arguments.as_slice() {
        [named] => Ok(Call::Declare(Box::new(Step::new(&name, &json!({ field: named }), need)?))),
        _ => Err(invalid(format!("{name} names one {field}: {USAGE}"))),
    };
    let perhaps = || match arguments.as_slice() {
        [] => Ok(None),
        [table] => Ok(Some(table.clone())),
        _ => Err(invalid(format!("{name} names one table or none: {USAGE}"))),
    };
    match name.as_str() {
        "seal_table" => one("table", Need::Alter),
        "drop_entity" => one("entity", Need::Drop),
        "flush" => Ok(Call::Flush(perhaps()?)),
        "compact" => Ok(Call::Compact(perhaps()?)),
        _ => Err(unsupported(format!("`{name}` cannot be called: {USAGE}"))),
    }
}

fn text(argument: &FunctionArg) -> Result<String> {
    let value = match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => value.value.clone().into_string(),
        _ => None,
    };
    value.ok_or_else(|| invalid(format!("`{argument}` is no name as text: {USAGE}")))
}

fn erased(arguments: &[FunctionArg]) -> Result<Erased> {
    let (first, rest) = arguments.split_first().ok_or_else(|| invalid(format!("erase names an entity: {USAGE}")))?;
    let mut erased = Erased { entity: text(first)?, keys: Vec::new(), block: false };
    for argument in rest {
        let (name, value) = match argument {
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => (folded(name), value),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(value), .. } => {
                (folded(name), value)
            }
            other => return Err(invalid(format!("`{other}` is no key column and its value: {USAGE}"))),
        };
        match value {
            Expr::Value(value) if name == "block" && matches!(value.value, Value::Boolean(_)) => {
                erased.block = value.value == Value::Boolean(true);
            }
            value => erased.keys.push((name, value.clone())),
        }
    }
    if erased.keys.is_empty() {
        return Err(invalid(format!("erase names key columns, so that it is no accident: {USAGE}")));
    }
    Ok(erased)
}

impl Erased {
    /// Erases it; how many entities.
    async fn run(&self, sql: &Sql, caller: &Caller, values: &[ScalarValue]) -> Result<u64> {
        let (database, catalog) = writing(caller, Need::Erase)?;
        let entity = catalog.entity(&self.entity)?;
        let mut keys = Vec::with_capacity(self.keys.len());
        for (name, written) in &self.keys {
            let Some(column) = entity.key.iter().find(|column| column.name == *name) else {
                let names: Vec<&str> = entity.key.iter().map(|column| column.name.as_str()).collect();
                return Err(invalid(format!(
                    "`{}` has no key column `{name}`; it has {}",
                    self.entity,
                    names.join(", ")
                )));
            };
            let value = sql.constant(written, values, Utc::now())?;
            let value = parameters::exactly(&value, &column.data_type, &format!("the key column `{name}`"))?;
            keys.push((name.clone(), value.to_array().map_err(|error| from_datafusion(&error))?));
        }
        let request = EraseRequest { entity: self.entity.clone(), keys, block: self.block };
        let receipt = blocking(move || database.erase(&catalog, &request)).await?;
        Ok(receipt["entities"].as_u64().unwrap_or(0))
    }
}

impl Call {
    /// Does it; how many rows or entities changed.
    pub(super) async fn run(&self, sql: &Sql, caller: &Caller, values: &[ScalarValue]) -> Result<u64> {
        match self {
            Self::Erase(erased) => erased.run(sql, caller, values).await,
            Self::Declare(step) => declare(caller, &[Step::clone(step)]).await.map(|()| 0),
            Self::Flush(table) | Self::Compact(table) => {
                let (database, catalog) = writing(caller, Need::Operate)?;
                let (table, compacts) = (table.clone(), matches!(self, Self::Compact(_)));
                let done = blocking(move || match compacts {
                    true => database.compact(&catalog, table.as_deref()),
                    false => database.flush(&catalog, table.as_deref()),
                })
                .await;
                done.map(|()| 0).map_err(in_words_of_sql)
            }
        }
    }
}
