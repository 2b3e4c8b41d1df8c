//! Options of sessions, as Flight sends them. The library has no messages for them.

use std::collections::HashMap;

use firn_storage::error::{Kind, Result};
use prost::{Enumeration, Message, Oneof};

use crate::door::Caller;
use crate::names::{CATALOG, SCHEMA};
use crate::setting::Setting;
use crate::statement::set::check;

/// `SetSessionOptionsRequest` and `GetSessionOptionsResult`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionOptions {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

/// `SessionOptionValue`.
#[derive(Clone, PartialEq, Message)]
struct OptionValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Double(f64),
}

/// `SetSessionOptionsResult`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SetResult {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, OptionError>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionError {
    #[prost(enumeration = "OptionErrorKind", tag = "1")]
    kind: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
enum OptionErrorKind {
    Unspecified = 0,
    Name = 1,
    Value = 2,
    Error = 3,
}

/// `CloseSessionResult`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Closed {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Ends the session of `caller`.
pub(super) fn close(caller: &Caller) -> Closed {
    caller.session.end();
    Closed { status: 1 }
}

/// Sets what `asked` says, all or nothing of it.
pub(super) fn set(caller: &Caller, asked: &SessionOptions) -> Result<SetResult> {
    let (mut bounds, mut errors) = (caller.session.bounds(), HashMap::new());
    let mut fail = |name: &str, kind: OptionErrorKind| {
        errors.insert(name.to_owned(), OptionError { kind: kind.into() });
    };
    for (name, OptionValue { value }) in &asked.options {
        let (setting, text) = (Setting::named(name), text(value.as_ref()));
        match (name.as_str(), setting, text) {
            ("catalog", ..) if is(value.as_ref(), CATALOG) => {}
            ("schema" | "db_schema", ..) if is(value.as_ref(), SCHEMA) => {}
            ("catalog" | "schema" | "db_schema", ..) => fail(name, OptionErrorKind::Value),
            (_, Err(_), _) => fail(name, OptionErrorKind::Name),
            (_, Ok(setting), None) => bounds.reset(setting),
            (_, Ok(setting), Some(text)) => {
                if let Err(error) = bounds.set_text(setting, &text) {
                    tracing::debug!("a session option was refused: {error}");
                    fail(name, OptionErrorKind::Value);
                }
            }
        }
    }
    if !errors.is_empty() || bounds == caller.session.bounds() {
        return Ok(SetResult { errors });
    }
    match check(caller, &bounds) {
        Err(error) if error.kind() == Kind::Denied => Err(error),
        Err(_) => {
            let named = asked.options.keys().cloned();
            let error = OptionError { kind: OptionErrorKind::Value.into() };
            Ok(SetResult { errors: named.map(|name| (name, error.clone())).collect() })
        }
        Ok(()) => caller.session.set(bounds).map(|()| SetResult { errors }),
    }
}

/// Whether a value is `name`, or none.
fn is(value: Option<&Value>, name: &str) -> bool {
    match value {
        None => true,
        Some(Value::Text(text)) => text.is_empty() || text == name,
        Some(_) => false,
    }
}

/// A value as text; none if it is to be left open.
fn text(value: Option<&Value>) -> Option<String> {
    match value {
        None => None,
        Some(Value::Text(text)) => (!text.is_empty()).then(|| text.clone()),
        Some(Value::Integer(number)) => Some(number.to_string()),
        Some(Value::Bool(flag)) => Some(flag.to_string()),
        Some(Value::Double(number)) => Some(number.to_string()),
    }
}

/// What the session of `caller` says.
pub(super) fn get(caller: &Caller) -> SessionOptions {
    let told = |name: &str, text: String| (name.to_owned(), OptionValue { value: Some(Value::Text(text)) });
    let bounds = &caller.bounds;
    let set = Setting::ALL.into_iter().filter_map(|setting| Some(told(setting.name(), bounds.told(setting)?)));
    let places = [told("catalog", CATALOG.to_owned()), told("schema", SCHEMA.to_owned())];
    SessionOptions { options: set.chain(places).collect() }
}
