//! CREATE TABLE: a feature table, and its entity if there is none.
//!
//! The primary key is the entity's key; options are those of the native declaration. `entity` is called as the table is
//! unless the options say otherwise; the one NOT NULL timestamp that is no key is the event time unless they do.

use firn_storage::error::{Error, Kind, Result};
use firn_storage::model::catalog::Catalog;
use firn_storage::model::types::print_type;
use serde_json::{Map, Value, json};
use sqlparser::ast::{
    ColumnDef, ColumnOption, CommentDef, CreateTable, CreateTableOptions, Expr, TableConstraint,
    helpers::stmt_create_table::CreateTableBuilder,
};

use super::options;
use super::step::{Step, folded, table_name};
use crate::door::Need;
use crate::error::{invalid, unsupported};
use crate::types::data_type;

/// What options of a table become in its declaration.
const SETTINGS: [&str; 5] = ["max_age", "max_future_skew", "hot_window", "owner", "event_time_rounding"];
/// Every option of a table.
const OPTIONS: [&str; 15] = [
    "event_time",
    "entity",
    "row_id",
    "bucket_by",
    "buckets",
    "max_age",
    "max_future_skew",
    "keep_events",
    "keep_knowledge",
    "hot_window",
    "owner",
    "comment",
    "tags",
    "event_time_rounding",
    "float_rounding",
];

/// The declarations that `create` is.
pub(super) fn steps(create: &CreateTable, catalog: &Catalog) -> Result<Vec<Step>> {
    check_served(create)?;
    let table = table_name(&create.name)?;
    if !create.if_not_exists && catalog.table(&table).is_ok() {
        return Err(Error::new(
            Kind::AlreadyExists,
            format!("there is a table `{table}` already: choose another name, or write IF NOT EXISTS"),
        ));
    }
    let mut given = given(create)?;
    let columns = create.columns.iter().map(Column::read).collect::<Result<Vec<_>>>()?;
    let key = key_columns(create, &columns)?;
    let event_time = match given.remove("event_time") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(invalid(format!("the option event_time is {other}, which is no name of a column"))),
        None => the_event_time(&columns, &key)?,
    };
    let row_id = given.remove("row_id").map(|names| options::words(&names, "the option row_id")).transpose()?;
    let row_id: Vec<String> = row_id.map_or_else(Vec::new, strings);
    let entity = match given.remove("entity") {
        Some(Value::String(name)) => name,
        _ => table.clone(),
    };
    let named = |name: &String| -> Result<Value> {
        let column = columns.iter().find(|column| column.name == *name);
        let column =
            column.ok_or_else(|| invalid(format!("CREATE TABLE names a column `{name}` that it does not declare")))?;
        Ok(json!({ "name": name, "type": column.data_type }))
    };
    let event = columns.iter().find(|column| column.name == event_time);
    let event = event.ok_or_else(|| invalid(format!("the event time `{event_time}` is no column of the table")))?;
    if !event.data_type.starts_with("timestamp") {
        return Err(invalid(format!("the event time `{event_time}` is no TIMESTAMP")));
    }
    let key_declared = key.iter().map(named).collect::<Result<Vec<_>>>()?;
    let mut steps = Vec::new();
    if catalog.entity(&entity).is_err() {
        let mut body = json!({ "entity": entity, "key": key_declared, "if_not_exists": true });
        for (option, value) in [("bucket_by", given.remove("bucket_by")), ("buckets", given.remove("buckets"))] {
            match value {
                Some(value) if option == "bucket_by" => body[option] = options::words(&value, "the option bucket_by")?,
                Some(value) => body[option] = value,
                None => {}
            }
        }
        steps.push(Step::new("create_entity", &body, Need::Create)?);
    } else {
        same_key(catalog, &entity, &key_declared)?;
        same_buckets(catalog, &entity, given.remove("bucket_by"), given.remove("buckets"))?;
    }
    let is_feature =
        |column: &&Column| column.name != event_time && !key.contains(&column.name) && !row_id.contains(&column.name);
    let mut body = json!({
        "table": table,
        "entity": entity,
        "event_time": event_time,
        "features": columns.iter().filter(is_feature).map(Column::feature).collect::<Result<Vec<_>>>()?,
        "if_not_exists": create.if_not_exists,
    });
    if !row_id.is_empty() {
        body["row_id"] = row_id.iter().map(named).collect::<Result<Vec<_>>>()?.into();
    }
    settings(&mut body, given, create.comment.as_ref())?;
    steps.push(Step::new("create_table", &body, Need::Create)?);
    Ok(steps)
}

/// The options of the table.
fn given(create: &CreateTable) -> Result<Map<String, Value>> {
    let given = match &create.table_options {
        CreateTableOptions::With(given) | CreateTableOptions::Options(given) => options::read(given, "CREATE TABLE")?,
        _ => Map::new(),
    };
    match given.keys().find(|name| !OPTIONS.contains(&name.as_str())) {
        None => Ok(given),
        Some(unknown) => {
            Err(invalid(format!("`{unknown}` is no option of CREATE TABLE; the options are {}", OPTIONS.join(", "))))
        }
    }
}

fn strings(value: Value) -> Vec<String> {
    match value {
        Value::Array(words) => words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// Puts what the options say beside columns into a declaration.
pub(super) fn settings(body: &mut Value, mut given: Map<String, Value>, comment: Option<&CommentDef>) -> Result<()> {
    let mut retention = Map::new();
    for name in ["keep_events", "keep_knowledge"] {
        if let Some(value) = given.remove(name) {
            let for_ever = value == "all" || value == "none";
            retention.insert(name.to_owned(), if for_ever { json!("none") } else { value });
        }
    }
    if !retention.is_empty() {
        body["retention"] = retention.into();
    }
    if let Some(tags) = given.remove("tags") {
        body["tags"] = options::words(&tags, "the option tags")?;
    }
    let said = comment.map(|comment| json!(comment.to_string()));
    if let Some(description) = given.remove("comment").or(said) {
        body["description"] = description;
    }
    for name in SETTINGS.into_iter().chain(["float_rounding"]) {
        if let Some(value) = given.remove(name) {
            body[name] = value;
        }
    }
    Ok(())
}

/// A column as it is written.
struct Column {
    name: String,
    /// As the native protocol prints it.
    data_type: String,
    not_null: bool,
    primary: bool,
    default: Option<Value>,
    comment: Option<String>,
    options: Map<String, Value>,
}

impl Column {
    fn read(column: &ColumnDef) -> Result<Self> {
        let ColumnDef { name, data_type: written, options: given } = column;
        let name = folded(name);
        let data_type = data_type(written).map_err(|error| error.at(format!("column `{name}`")))?;
        let (mut default, mut comment, mut options) = (None, None, Map::new());
        let (mut not_null, mut primary) = (false, false);
        for option in given {
            match &option.option {
                ColumnOption::NotNull => not_null = true,
                ColumnOption::Null => {}
                ColumnOption::PrimaryKey(_) => primary = true,
                ColumnOption::Default(value) => default = Some(constant(value, &name)?),
                ColumnOption::Comment(text) => comment = Some(text.clone()),
                ColumnOption::Options(given) => options = options::read(given, &format!("column `{name}`"))?,
                other => {
                    return Err(unsupported(format!(
                        "column `{name}`: `{other}` is not served; a column has NOT NULL, PRIMARY KEY, DEFAULT, COMMENT \
                         and OPTIONS (max_age = …, tags = …)"
                    )));
                }
            }
        }
        let data_type = print_type(&data_type);
        Ok(Self { name, data_type, not_null, primary, default, comment, options })
    }

    /// The declaration of a feature.
    fn feature(&self) -> Result<Value> {
        let Self { name, data_type, not_null, primary: _, default, comment, options } = self;
        if *not_null {
            return Err(invalid(format!(
                "the feature `{name}` is NOT NULL, which no feature can be: an entity may have no value yet"
            )));
        }
        let mut feature = json!({ "name": name, "type": data_type });
        if let Some(default) = default {
            feature["default"] = default.clone();
        }
        if let Some(comment) = comment {
            feature["description"] = json!(comment);
        }
        for (option, value) in options {
            match option.as_str() {
                "max_age" => feature["max_age"] = value.clone(),
                "tags" => feature["tags"] = options::words(value, "the option tags")?,
                _ => {
                    return Err(invalid(format!(
                        "`{option}` is no option of the column `{name}`: max_age and tags are"
                    )));
                }
            }
        }
        Ok(feature)
    }
}

pub(super) fn constant(value: &Expr, name: &str) -> Result<Value> {
    options::literal(value).ok_or_else(|| invalid(format!("the default of `{name}` is no constant: `{value}`")))
}

/// The declaration of a feature that is added.
pub(super) fn added(column: &ColumnDef) -> Result<Value> {
    let column = Column::read(column)?;
    if column.primary {
        return Err(invalid(format!(
            "`{}` cannot be added as PRIMARY KEY: the key is that of the entity, and does not change",
            column.name
        )));
    }
    column.feature()
}

fn key_columns(create: &CreateTable, columns: &[Column]) -> Result<Vec<String>> {
    let mut keys: Vec<String> =
        columns.iter().filter(|column| column.primary).map(|column| column.name.clone()).collect();
    for constraint in &create.constraints {
        let TableConstraint::PrimaryKey(key) = constraint else {
            return Err(unsupported(format!("`{constraint}` is not served: PRIMARY KEY names the entity's key")));
        };
        for column in &key.columns {
            keys.push(match &column.column.expr {
                Expr::Identifier(name) => folded(name),
                other => return Err(invalid(format!("PRIMARY KEY names columns, not `{other}`"))),
            });
        }
    }
    if keys.is_empty() {
        return Err(invalid("a feature table has a PRIMARY KEY: the key columns of its entity, in their order"));
    }
    Ok(keys)
}

fn the_event_time(columns: &[Column], key: &[String]) -> Result<String> {
    let times: Vec<&Column> = columns
        .iter()
        .filter(|column| column.not_null && column.data_type.starts_with("timestamp") && !key.contains(&column.name))
        .collect();
    match times.as_slice() {
        [one] => Ok(one.name.clone()),
        _ => Err(invalid(
            "say which column is the event time: WITH (event_time = '…'), or exactly one TIMESTAMP NOT NULL that is no key",
        )),
    }
}

/// Refuses a key that is not the one of the entity that is there.
fn same_key(catalog: &Catalog, entity: &str, key: &[Value]) -> Result<()> {
    let there = catalog.entity(entity)?;
    let there: Vec<Value> =
        there.key.iter().map(|key| json!({ "name": key.name, "type": print_type(&key.data_type) })).collect();
    if there == key {
        return Ok(());
    }
    let said = |key: &[Value]| {
        let columns = key
            .iter()
            .map(|key| format!("{} {}", key["name"].as_str().unwrap_or(""), key["type"].as_str().unwrap_or("")));
        columns.collect::<Vec<_>>().join(", ")
    };
    Err(invalid(format!(
        "the entity `{entity}` has the key ({}), and the table's is ({}): give the same, or another entity",
        said(&there),
        said(key)
    )))
}

/// Refuses another placing than that of the entity that is there.
fn same_buckets(catalog: &Catalog, entity: &str, bucket_by: Option<Value>, buckets: Option<Value>) -> Result<()> {
    let there = catalog.entity(entity)?;
    let by: Vec<&str> = there.key.iter().take(there.bucket_by).map(|key| key.name.as_str()).collect();
    let asked = bucket_by.map(|names| options::words(&names, "the option bucket_by")).transpose()?;
    let same_by = asked.is_none_or(|asked| asked == json!(by));
    let same_number = buckets.is_none_or(|buckets| {
        buckets == json!(there.buckets) || buckets.as_str().is_some_and(|text| text == there.buckets.to_string())
    });
    match same_by && same_number {
        true => Ok(()),
        false => Err(invalid(format!(
            "the entity `{entity}` is there, placed by {} in {} buckets, which cannot change: leave bucket_by and buckets out",
            by.join(", "),
            there.buckets
        ))),
    }
}

/// Refuses whatever a CREATE TABLE says beside what is read here.
fn check_served(create: &CreateTable) -> Result<()> {
    let served = CreateTableBuilder::new(create.name.clone())
        .if_not_exists(create.if_not_exists)
        .columns(create.columns.clone())
        .constraints(create.constraints.clone())
        .table_options(create.table_options.clone())
        .build();
    let served = CreateTable { comment: create.comment.clone(), ..served };
    if served == *create
        && !matches!(create.table_options, CreateTableOptions::Plain(_) | CreateTableOptions::TableProperties(_))
    {
        return Ok(());
    }
    if create.or_replace {
        return Err(unsupported("CREATE OR REPLACE TABLE is not served: drop the table first"));
    }
    if create.query.is_some() {
        return Err(unsupported("CREATE TABLE AS is not served: create the table, then INSERT INTO … SELECT"));
    }
    Err(unsupported(
        "CREATE TABLE has columns, a PRIMARY KEY and WITH (event_time = '…', comment = '…', …): leave ENGINE, TBLPROPERTIES, \
         PARTITION BY and everything else out",
    ))
}
