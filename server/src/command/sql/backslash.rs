//! Commands of the shell itself: a backslash, a name, and what follows it in the line.

use std::path::PathBuf;

use super::answer::AnswerFormat;
use super::session::Bound;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Backslash {
    Tables,
    Columns(String),
    /// On, off, or the other of both.
    Timing(Option<bool>),
    Format(AnswerFormat),
    /// Where answers go; none is the terminal.
    Output(Option<PathBuf>),
    /// Runs a script.
    Include(PathBuf),
    /// Sets a bound, or clears it.
    Bound(Bound, Option<String>),
    Help,
    Quit,
}

/// The names of all commands, what follows each, and what it does.
pub(super) const COMMANDS: [(&str, &str, &str); 11] = [
    ("d", "", "the tables"),
    ("d", "TABLE", "the columns of a table"),
    ("format", "FORMAT", "answers as table, csv, json or parquet"),
    ("o", "[FILE]", "answers into a file; alone, onto the terminal again"),
    ("i", "FILE", "run a script"),
    ("timing", "[on|off]", "tell how long each statement took"),
    ("as_of", "[TIME]", "what was true then; alone, no bound"),
    ("known_at", "[TIME]", "what was known then; alone, no bound"),
    ("position", "[POSITION]", "exactly these commits; alone, no bound"),
    ("?", "", "this list"),
    ("q", "", "leave, as ctrl-D does"),
];

/// All commands, one a line.
pub(super) fn help() -> String {
    let line = |(name, follows, does): &(&str, &str, &str)| format!("{:<24}{does}", format!("\\{name} {follows}"));
    let commands: Vec<String> = COMMANDS.iter().map(line).collect();
    format!("{}\nA statement ends with a semicolon; ctrl-C ends one that runs or is being typed.", commands.join("\n"))
}

/// Reads `text`, which is what follows the backslash.
pub(super) fn parse(text: &str) -> Result<Backslash, String> {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim().trim_end_matches(';').trim_end();
    let rest = rest.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(rest);
    let given = Some(rest.to_owned()).filter(|rest| !rest.is_empty());
    Ok(match name.trim_end_matches(';') {
        "d" => given.map_or(Backslash::Tables, Backslash::Columns),
        "timing" => Backslash::Timing(match rest {
            "" => None,
            "on" => Some(true),
            "off" => Some(false),
            _ => return Err(format!("\\timing is on or off, not {rest}")),
        }),
        "format" => Backslash::Format(AnswerFormat::named(rest)?),
        "o" => Backslash::Output(given.map(PathBuf::from)),
        "i" => Backslash::Include(given.ok_or("\\i names a script: \\i FILE")?.into()),
        "as_of" => Backslash::Bound(Bound::AsOf, given),
        "known_at" => Backslash::Bound(Bound::KnownAt, given),
        "position" => Backslash::Bound(Bound::Position, given),
        "?" => Backslash::Help,
        "q" => Backslash::Quit,
        unknown => {
            let far = |name: &&str| strsim::damerau_levenshtein(name, unknown);
            let near = COMMANDS.iter().map(|(name, ..)| *name).min_by_key(far).unwrap_or_default();
            return Err(format!("there is no \\{unknown}; the nearest is \\{near}, and \\? lists them all"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_read_what_follows() {
        let time = "2013-07-01 10:00:00Z".to_owned();
        for (text, command) in [
            ("d", Backslash::Tables),
            ("d  weather ;", Backslash::Columns("weather".to_owned())),
            ("timing", Backslash::Timing(None)),
            ("timing off", Backslash::Timing(Some(false))),
            ("format json", Backslash::Format(AnswerFormat::Json)),
            ("o", Backslash::Output(None)),
            ("o my rows.csv", Backslash::Output(Some("my rows.csv".into()))),
            ("i load.sql", Backslash::Include("load.sql".into())),
            ("as_of '2013-07-01 10:00:00Z'", Backslash::Bound(Bound::AsOf, Some(time.clone()))),
            ("known_at 2013-07-01 10:00:00Z", Backslash::Bound(Bound::KnownAt, Some(time))),
            ("position", Backslash::Bound(Bound::Position, None)),
            ("?", Backslash::Help),
            ("q;", Backslash::Quit),
        ] {
            assert_eq!(parse(text), Ok(command), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, told) in [
            ("formt csv", "the nearest is \\format"),
            ("asof x", "the nearest is \\as_of"),
            ("dt", "the nearest is \\d,"),
            ("format xml", "table, csv, json or parquet"),
            ("i", "\\i FILE"),
            ("timing maybe", "on or off"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(told), "{error}");
        }
        assert!(COMMANDS.iter().all(|(name, ..)| help().contains(&format!("\\{name} "))), "{}", help());
    }
}
