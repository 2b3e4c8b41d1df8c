//! CALL: the actions of the native protocol that no other statement says.

use firn_storage::error::Result;
use serde_json::json;
use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::step::{Step, declare, writing};
use crate::door::{Caller, Need};
use crate::error::{invalid, unsupported};
use crate::lanes::blocking;

/// An action.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// Changes what is declared.
    Declare(Box<Step>),
    /// Writes memtables to segments, of one table or all.
    Flush(Option<String>),
    /// Merges segments and builds packs.
    Compact(Option<String>),
}

/// What may be called.
const USAGE: &str = "CALL seal_table('t'), flush(['t']), compact(['t']) and drop_entity('e') are served";

/// The action that `function` names.
pub(super) fn call(function: &Function) -> Result<Call> {
    let name = function.name.to_string().to_lowercase();
    let arguments = match &function.args {
        FunctionArguments::List(list) if list.clauses.is_empty() => {
            list.args.iter().map(text).collect::<Result<Vec<_>>>()?
        }
        _ => return Err(invalid(USAGE)),
    };
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

impl Call {
    /// Does it.
    pub(super) async fn run(&self, caller: &Caller) -> Result<()> {
        match self {
            Self::Declare(step) => declare(caller, &[Step::clone(step)]).await,
            Self::Flush(table) | Self::Compact(table) => {
                let (database, catalog) = writing(caller, Need::Operate)?;
                let (table, compacts) = (table.clone(), matches!(self, Self::Compact(_)));
                blocking(move || match compacts {
                    true => database.compact(&catalog, table.as_deref()),
                    false => database.flush(&catalog, table.as_deref()),
                })
                .await
            }
        }
    }
}
