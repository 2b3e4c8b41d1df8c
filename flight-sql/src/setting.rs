//! Settings: what a session or the headers of a call may bound, by name.

use chrono::{DateTime, SecondsFormat};
use firn_storage::error::{Error, Result};
use firn_storage::model::value::parse_time_text;
use firn_storage::time::Micros;

use crate::error::invalid;
use crate::moment::Bounds;

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setting {
    /// What was true.
    AsOf,
    /// What was known.
    KnownAt,
    /// Exactly which commits.
    Position,
    /// The clock that ages are measured from.
    Clock,
    /// Whose names and types are meant.
    SchemaVersion,
    /// Nothing that the loss of the disk could take back.
    Durable,
}

use Setting::{AsOf, Clock, Durable, KnownAt, Position, SchemaVersion};

impl Setting {
    /// All of them.
    pub const ALL: [Self; 6] = [AsOf, KnownAt, Position, Clock, SchemaVersion, Durable];

    /// Its name, which is that of its header too.
    pub fn name(self) -> &'static str {
        match self {
            AsOf => "firn.as_of",
            KnownAt => "firn.known_at",
            Position => "firn.position",
            Clock => "firn.clock",
            SchemaVersion => "firn.schema_version",
            Durable => "firn.durable",
        }
    }

    /// What it is for.
    pub(crate) fn help(self) -> &'static str {
        match self {
            AsOf => "Nothing later was true: a time",
            KnownAt => "Nothing later was known: a time",
            Position => "Exactly these commits: a position, as the server answers it",
            Clock => "The clock that ages are measured from: a time",
            SchemaVersion => "Names and types as this version of the schema has them: a number",
            Durable => "Nothing that the loss of the server's disk could take back: true",
        }
    }

    /// The setting called `name`.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|setting| setting.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            invalid(format!("there is no setting `{name}`; the settings are {names}"))
        })
    }

    /// Whether its value is a time.
    pub(crate) fn is_time(self) -> bool {
        matches!(self, AsOf | KnownAt | Clock)
    }
}

impl Bounds {
    /// Sets `setting` to what `text` says.
    pub fn set_text(&mut self, setting: Setting, text: &str) -> Result<()> {
        if setting.is_time() {
            let time = parse_time_text(text, false).map_err(|error| error.at(setting.name()))?;
            self.set_time(setting, Some(time));
            return Ok(());
        }
        match setting {
            SchemaVersion => {
                let version =
                    text.parse().map_err(|_| invalid(format!("{} is `{text}`, which is no number", setting.name())))?;
                self.schema_version = Some(version);
            }
            Durable => {
                let flag = text.to_ascii_lowercase().parse();
                self.durable =
                    flag.map_err(|_| invalid(format!("{} is `{text}`: write true or false", setting.name())))?;
            }
            _ => self.position = Some(text.to_owned()),
        }
        Ok(())
    }

    /// Sets a setting that is a time.
    pub(crate) fn set_time(&mut self, setting: Setting, time: Option<Micros>) {
        let place = match setting {
            AsOf => &mut self.as_of,
            KnownAt => &mut self.known_at,
            _ => &mut self.clock,
        };
        *place = time;
    }

    /// Leaves `setting` open.
    pub(crate) fn reset(&mut self, setting: Setting) {
        match setting {
            AsOf | KnownAt | Clock => self.set_time(setting, None),
            Position => self.position = None,
            SchemaVersion => self.schema_version = None,
            Durable => self.durable = false,
        }
    }

    /// The value of `setting`, as it could be set again.
    pub(crate) fn told(&self, setting: Setting) -> Option<String> {
        let time = |micros: Micros| {
            let time = DateTime::from_timestamp_micros(micros);
            time.map_or_else(|| micros.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
        };
        match setting {
            AsOf => self.as_of.map(time),
            KnownAt => self.known_at.map(time),
            Clock => self.clock.map(time),
            Position => self.position.clone(),
            SchemaVersion => self.schema_version.map(|version| version.to_string()),
            Durable => self.durable.then(|| self.durable.to_string()),
        }
    }

    /// These within those of a session: of times of what was true and known the earlier counts, what is durable if either says
    /// so, and of the others there is one.
    pub fn within(self, session: &Self) -> Result<Self> {
        fn one<T: PartialEq + Clone>(setting: Setting, here: Option<T>, there: Option<&T>) -> Result<Option<T>> {
            match (here, there) {
                (Some(here), Some(there)) if here != *there => Err(Error::precondition(format!(
                    "a header and the session say two values of {}: leave one out",
                    setting.name()
                ))),
                (here, there) => Ok(here.or_else(|| there.cloned())),
            }
        }
        let earlier = |here: Option<Micros>, there: Option<Micros>| [here, there].into_iter().flatten().min();
        Ok(Self {
            as_of: earlier(self.as_of, session.as_of),
            known_at: earlier(self.known_at, session.known_at),
            position: one(Position, self.position, session.position.as_ref())?,
            clock: one(Clock, self.clock, session.clock.as_ref())?,
            schema_version: one(SchemaVersion, self.schema_version, session.schema_version.as_ref())?,
            durable: self.durable || session.durable,
        })
    }
}
