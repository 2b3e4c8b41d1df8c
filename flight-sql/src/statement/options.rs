//! Options in parentheses: `name = value`, with the names of the native protocol.

use firn_storage::error::Result;
use serde_json::{Map, Value, json};
use sqlparser::ast::{Expr, SqlOption, UnaryOperator, Value as Literal};

use crate::error::invalid;

/// Options by their names, each once.
pub(super) fn read(options: &[SqlOption], of: &str) -> Result<Map<String, Value>> {
    let mut read = Map::new();
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(invalid(format!("`{option}` is no option of {of}: write name = 'value'")));
        };
        let name = key.value.to_lowercase();
        let value = literal(value).ok_or_else(|| invalid(format!("the option `{name}` of {of} is no constant")))?;
        if read.insert(name.clone(), value).is_some() {
            return Err(invalid(format!("the option `{name}` of {of} is given twice")));
        }
    }
    Ok(read)
}

/// A constant as JSON.
pub(super) fn literal(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Value(value) => Some(match &value.value {
            Literal::Null => Value::Null,
            Literal::Boolean(flag) => json!(flag),
            Literal::Number(digits, _) => digits.parse::<i64>().map_or_else(
                |_| digits.parse::<f64>().map_or(Value::Null, |number| json!(number)),
                |number| json!(number),
            ),
            other => json!(other.clone().into_string()?),
        }),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal(expr)? {
            Value::Number(number) => match number.as_i64() {
                Some(number) => Some(json!(-number)),
                None => number.as_f64().map(|number| json!(-number)),
            },
            _ => None,
        },
        Expr::Identifier(ident) => Some(json!(ident.value)),
        Expr::Nested(inner) => literal(inner),
        Expr::TypedString(typed) => Some(json!(typed.value.value.clone().into_string()?)),
        _ => None,
    }
}

/// Words that are separated by commas.
pub(super) fn words(value: &Value, what: &str) -> Result<Value> {
    match value {
        Value::String(text) => {
            Ok(text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>().into())
        }
        other => Err(invalid(format!("{what} is {other}, which is no text of words separated by commas"))),
    }
}
