//! What is wrong with the names of a request: they are looked at to the end before any is refused, so that all is said at
//! once.

use crate::error::{Error, Kind, Result};
use crate::model::names::shown;

/// Problems said in one error, at most; how many more there are is said behind them.
const SAID_MAX: usize = 20;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    kind: Option<Kind>,
    /// The first column or feature at fault.
    column: Option<String>,
    said: Vec<String>,
    /// Each once, behind all problems.
    hints: Vec<String>,
}

/// A name that nothing has, and what to do about it.
#[derive(Debug)]
pub(crate) struct Unknown {
    kind: Kind,
    /// The column or feature at fault, if it is one.
    column: Option<String>,
    /// What is wrong.
    said: String,
    /// What there is.
    hint: String,
}

impl Unknown {
    /// `said` names what is wrong, `hint` what there is.
    pub(crate) fn new(kind: Kind, said: String, hint: String) -> Self {
        Self { kind, column: None, said, hint }
    }

    /// The same, of a column or a feature.
    pub(crate) fn of_column(self, column: &str) -> Self {
        Self { column: Some(column.to_owned()), ..self }
    }
}

impl From<Unknown> for Error {
    fn from(unknown: Unknown) -> Self {
        let mut problems = Problems::default();
        let kind = unknown.kind;
        problems.add(unknown);
        problems.error(kind)
    }
}

impl Problems {
    /// Adds a problem. The error is of the kind of the first.
    pub(crate) fn add(&mut self, unknown: Unknown) {
        self.kind.get_or_insert(unknown.kind);
        self.column = self.column.take().or(unknown.column);
        self.said.push(unknown.said);
        if !unknown.hint.is_empty() && !self.hints.contains(&unknown.hint) {
            self.hints.push(unknown.hint);
        }
    }

    /// What was found; a problem if it was not.
    pub(crate) fn found<T>(&mut self, found: Result<T, Unknown>) -> Option<T> {
        found.map_err(|unknown| self.add(unknown)).ok()
    }

    /// An error that says all problems, if there are any.
    pub(crate) fn check(self) -> Result<()> {
        match self.kind {
            Some(kind) => Err(self.error(kind)),
            None => Ok(()),
        }
    }

    fn error(mut self, kind: Kind) -> Error {
        let column = self.column.take();
        let error = Error::new(kind, self.message());
        match column {
            Some(column) => error.of_column(&column),
            None => error,
        }
    }

    fn message(mut self) -> String {
        let more = self.said.len().saturating_sub(SAID_MAX);
        self.said.truncate(SAID_MAX);
        if more > 0 {
            self.said.push(format!("and {more} more"));
        }
        self.said.append(&mut self.hints);
        self.said.join("; ")
    }
}

/// `name` for a message, and which of `known` was probably meant.
pub(crate) fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    // As many letters may be wrong as one in three.
    let most = (name.chars().count() / 3).max(1);
    let near = known.map(|known| (strsim::damerau_levenshtein(name, known), known));
    match near.filter(|(distance, _)| *distance <= most).min() {
        Some((_, near)) => format!("`{}` (did you mean `{near}`?)", shown(name)),
        None => format!("`{}`", shown(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_said_once_and_in_order() {
        let unknown = |name: &str| Unknown::new(Kind::NotFound, format!("no {name}"), "there is x".to_owned());
        let mut problems = Problems::default();
        assert!(problems.found(Ok::<_, Unknown>(1)).is_some());
        problems.add(unknown("a"));
        problems.add(Unknown::new(Kind::Invalid, "b is wrong".to_owned(), String::new()));
        problems.add(unknown("c"));
        let error = problems.check().expect_err("three");
        assert_eq!((error.kind(), error.message()), (Kind::NotFound, "no a; b is wrong; no c; there is x"));
        assert_eq!(Error::from(unknown("a")).message(), "no a; there is x");
        Problems::default().check().expect("nothing is wrong");
        let mut many = Problems::default();
        (0..25).for_each(|number| many.add(unknown(&number.to_string())));
        assert!(many.check().expect_err("many").message().ends_with("no 19; and 5 more; there is x"));
    }

    #[test]
    fn the_nearest_name_is_offered_if_it_is_near() {
        let known = || ["f5", "f59", "temperature"].into_iter();
        assert_eq!(meant("f_59", known()), "`f_59` (did you mean `f59`?)");
        assert_eq!(meant("temprature", known()), "`temprature` (did you mean `temperature`?)");
        assert_eq!(meant("wind", known()), "`wind`");
    }
}
