//! SET, RESET and SHOW of the settings of a session.

use arrow_array::RecordBatch;
use chrono::Utc;
use datafusion::scalar::ScalarValue;
use firn_storage::error::Result;
use sqlparser::ast::{Expr, Ident, ObjectName, Reset, ResetStatement, Set, Statement, Value};

use super::show::rows;
use crate::door::{Caller, Need};
use crate::error::{from_datafusion, invalid, unsupported};
use crate::listing::{maybe, text};
use crate::moment::Bounds;
use crate::setting::Setting;
use crate::sql::Sql;

/// A change of the settings of a session.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// One is set; what is written is none of no value.
    One(Setting, Option<Box<Expr>>),
    /// All are open again.
    All,
    /// What is asked for is so already.
    Nothing,
}

/// The change that `statement` makes; none if it is neither SET nor RESET.
pub(super) fn change(statement: &Statement) -> Result<Option<Change>> {
    Ok(Some(match statement {
        Statement::Reset(ResetStatement { reset: Reset::ALL }) => Change::All,
        Statement::Reset(ResetStatement { reset: Reset::ConfigurationParameter(name) }) => {
            Change::One(setting(name)?, None)
        }
        Statement::Set(Set::SetTimeZone { local: false, value }) => time_zone(value)?,
        Statement::Set(Set::SingleAssignment { scope: None, hivevar: false, variable, values }) => {
            let [value] = values.as_slice() else {
                return Err(invalid(format!("`{variable}` is set to one value: SET {variable} = …")));
            };
            if variable.to_string().eq_ignore_ascii_case("timezone") {
                return time_zone(value).map(Some);
            }
            Change::One(setting(variable)?, (!is_open(value)).then(|| Box::new(value.clone())))
        }
        Statement::Set(set) => {
            return Err(unsupported(format!(
                "`{set}` is not served: write SET firn.as_of = …, one setting a statement"
            )));
        }
        _ => return Ok(None),
    }))
}

fn setting(name: &ObjectName) -> Result<Setting> {
    Setting::named(&name.to_string())
}

/// Whether a value stands for none.
fn is_open(value: &Expr) -> bool {
    match value {
        Expr::Value(value) => value.value == Value::Null,
        Expr::Identifier(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"),
        _ => false,
    }
}

fn time_zone(value: &Expr) -> Result<Change> {
    match value.to_string().trim_matches('\'').to_ascii_uppercase().as_str() {
        "UTC" | "Z" | "+00:00" => Ok(Change::Nothing),
        _ => Err(unsupported(format!(
            "the time zone of a session is UTC, not {value}: times with an offset are read as they say, and AT TIME ZONE \
             shows others"
        ))),
    }
}

impl Change {
    /// Makes it.
    pub(super) fn run(&self, sql: &Sql, caller: &Caller, values: &[ScalarValue]) -> Result<()> {
        let mut bounds = caller.session.bounds();
        match self {
            Self::Nothing => return Ok(()),
            Self::All => bounds = Bounds::default(),
            Self::One(setting, None) => bounds.reset(*setting),
            Self::One(setting, Some(written)) => set(&mut bounds, sql, *setting, written, values)?,
        }
        check(caller, &bounds)?;
        caller.session.set(bounds)
    }
}

fn set(bounds: &mut Bounds, sql: &Sql, setting: Setting, written: &Expr, values: &[ScalarValue]) -> Result<()> {
    let value = sql.constant(written, values, Utc::now())?;
    let null = || invalid(format!("{} is NULL, which is no value: RESET {} opens it", setting.name(), setting.name()));
    if value.is_null() {
        return Err(null());
    }
    if setting.is_time() && !value.data_type().is_string() {
        let array = value.to_array().map_err(|error| from_datafusion(&error))?;
        let time = firn_storage::model::micros::one_time(&array, false);
        let time =
            time.map_err(|_| invalid(format!("{} is {value}, which is no moment: write ISO 8601", setting.name())))?;
        bounds.set_time(setting, Some(time.ok_or_else(null)?));
        return Ok(());
    }
    bounds.set_text(setting, &value.to_string())
}

/// Refuses bounds that no statement could be run within.
pub(crate) fn check(caller: &Caller, bounds: &Bounds) -> Result<()> {
    let database = caller.door.grant(Need::Describe)?;
    if let Some(position) = &bounds.position {
        database.parse_position(position)?;
    }
    caller.door.catalog(bounds).map(drop)
}

/// What SHOW of a setting, or of all, answers.
pub(super) fn shown(variable: &[Ident], bounds: &Bounds) -> Result<RecordBatch> {
    let name = variable.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
    if name.eq_ignore_ascii_case("all") {
        let row = |setting: Setting| vec![text(setting.name()), maybe(bounds.told(setting)), text(setting.help())];
        return rows(&["name", "value", "comment"], Setting::ALL.into_iter().map(row).collect(), None);
    }
    if ["timezone", "time.zone"].iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return rows(&["timezone"], vec![vec![text("UTC")]], None);
    }
    let setting = Setting::named(&name)?;
    rows(&[setting.name()], vec![vec![maybe(bounds.told(setting))]], None)
}
