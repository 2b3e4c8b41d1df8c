//! ALTER TABLE and COMMENT: changes of a feature table, those of one statement all at once.

use firn_storage::error::Result;
use firn_storage::model::types::print_type;
use serde_json::{Map, Value, json};
use sqlparser::ast::{AlterColumnOperation, AlterTable, AlterTableOperation, CommentObject, ObjectName, Statement};

use super::step::{Step, folded, table_name};
use super::{create, options};
use crate::door::Need;
use crate::error::{invalid, unsupported};
use crate::types::data_type;

/// The changes that `alter` is: one, as the native protocol says it.
pub(super) fn steps(alter: &AlterTable) -> Result<Vec<Step>> {
    let AlterTable { name, if_exists, only, operations, location, on_cluster, table_type, end_token: _ } = alter;
    if *only || location.is_some() || on_cluster.is_some() || table_type.is_some() {
        return Err(unsupported(format!("`{alter}` is not served: write ALTER TABLE t and what changes")));
    }
    let mut body = Map::new();
    body.insert("table".to_owned(), json!(table_name(name)?));
    for operation in operations {
        change(&mut body, operation)?;
    }
    let step = Step::new("alter_table", &Value::Object(body), Need::Alter)?;
    Ok(vec![Step { if_exists: *if_exists, ..step }])
}

/// Adds `value` to the list `field`.
fn push(body: &mut Map<String, Value>, field: &str, value: Value) {
    match body.entry(field.to_owned()).or_insert_with(|| json!([])) {
        Value::Array(list) => list.push(value),
        other => unreachable!("{field} is a list, not {other}"),
    }
}

fn change(body: &mut Map<String, Value>, operation: &AlterTableOperation) -> Result<()> {
    match operation {
        AlterTableOperation::AddColumn {
            column_keyword: _,
            if_not_exists: false,
            column_def,
            column_position: None,
        } => {
            push(body, "add", create::added(column_def)?);
        }
        AlterTableOperation::DropColumn {
            has_column_keyword: _,
            column_names,
            if_exists: false,
            drop_behavior: None,
        } => {
            column_names.iter().for_each(|name| push(body, "retire", json!(folded(name))));
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            let renames = body.entry("rename").or_insert_with(|| json!({}));
            renames[folded(old_column_name)] = json!(folded(new_column_name));
        }
        AlterTableOperation::AlterColumn { column_name: name, op } => alter_column(body, &folded(name), op)?,
        AlterTableOperation::SetOptionsParens { options: given }
        | AlterTableOperation::SetTblProperties { table_properties: given } => {
            let mut given = options::read(given, "ALTER TABLE")?;
            if let Some(names) = given.remove("purge") {
                let Value::Array(names) = options::words(&names, "the option purge")? else {
                    unreachable!("words are a list");
                };
                names.into_iter().for_each(|name| push(body, "retire", name));
                body.insert("purge".to_owned(), json!(true));
            }
            let mut set = json!({});
            create::settings(&mut set, given.clone(), None)?;
            let known = [
                "max_age",
                "max_future_skew",
                "keep_events",
                "keep_knowledge",
                "hot_window",
                "owner",
                "comment",
                "tags",
            ];
            if let Some(unknown) = given.keys().find(|name| !known.contains(&name.as_str())) {
                return Err(invalid(format!(
                    "`{unknown}` is no option that ALTER TABLE sets; those are {}, and purge",
                    known.join(", ")
                )));
            }
            if set.as_object().is_some_and(|set| !set.is_empty()) {
                body.insert("set".to_owned(), set);
            }
        }
        other => {
            return Err(unsupported(format!(
                "`{other}` is not served; ALTER TABLE has ADD COLUMN, DROP COLUMN, RENAME COLUMN … TO, ALTER COLUMN … SET \
                 DATA TYPE | SET DEFAULT | DROP DEFAULT, and SET (…)"
            )));
        }
    }
    Ok(())
}

fn alter_column(body: &mut Map<String, Value>, name: &str, operation: &AlterColumnOperation) -> Result<()> {
    match operation {
        AlterColumnOperation::SetDataType { data_type: written, using: None, had_set: _ } => {
            push(body, "widen", json!({ "name": name, "type": print_type(&data_type(written)?) }));
        }
        AlterColumnOperation::SetDefault { value } => {
            push(body, "set_features", json!({ "name": name, "default": create::constant(value, name)? }));
        }
        AlterColumnOperation::DropDefault => push(body, "set_features", json!({ "name": name, "default": null })),
        other => {
            return Err(unsupported(format!("`{other}` of column `{name}` is not served: every feature may be null")));
        }
    }
    Ok(())
}

/// COMMENT ON TABLE t, or COLUMN t.c.
pub(super) fn comment(statement: &Statement) -> Result<Vec<Step>> {
    let Statement::Comment { object_type, object_name, comment, if_exists } = statement else {
        return Err(unsupported("COMMENT is served on tables and columns"));
    };
    let said = json!(comment.clone().unwrap_or_default());
    let body = match object_type {
        CommentObject::Table => json!({ "table": table_name(object_name)?, "set": { "description": said } }),
        CommentObject::Column => {
            let mut parts = object_name.0.clone();
            let column = parts.pop().and_then(|part| part.as_ident().cloned());
            let column = column.ok_or_else(|| invalid("COMMENT ON COLUMN names a column: t.c"))?;
            let feature = json!({ "name": folded(&column), "description": said });
            json!({ "table": table_name(&ObjectName(parts))?, "set_features": [feature] })
        }
        other => return Err(unsupported(format!("COMMENT ON {other} is not served: it is on tables and columns"))),
    };
    let step = Step::new("alter_table", &body, Need::Alter)?;
    Ok(vec![Step { if_exists: *if_exists, ..step }])
}
