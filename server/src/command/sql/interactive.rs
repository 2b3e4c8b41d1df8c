//! The conversation with a person: lines are edited, completed and remembered; a statement may take several.

use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::config::CompletionType;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, Helper};

use super::candidates::candidates;
use super::session::{Names, Session};
use super::shell::Shell;
use super::splitter::split;
use crate::print::say;

/// Statements that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// What completion knows.
#[derive(Default)]
struct Typing {
    names: Names,
    /// The lines of the statement that are typed already.
    lines: String,
}

impl Completer for Typing {
    type Candidate = String;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = format!("{}{}", self.lines, &line[..cursor]);
        let (start, found) = candidates(&before, &line[cursor..], &self.names);
        Ok((start.saturating_sub(self.lines.len()), found))
    }
}

impl Helper for Typing {}
impl Highlighter for Typing {}
impl Validator for Typing {}
impl Hinter for Typing {
    type Hint = String;
}

/// Runs what is typed until ctrl-D or `\q`.
pub(super) async fn converse(shell: &mut Shell) -> Result<(), String> {
    let failed = |error: ReadlineError| format!("could not read the terminal: {error}");
    let config = Config::builder().completion_type(CompletionType::List).max_history_size(REMEMBERED_MAX);
    let config = config.and_then(|config| config.history_ignore_dups(true)).map_err(failed)?.build();
    let history = FileHistory::with_config(&config);
    let mut editor: Editor<Typing, FileHistory> = Editor::with_history(config, history).map_err(failed)?;
    editor.set_helper(Some(Typing::default()));
    let file = history_file();
    if let Some(file) = &file {
        // There is none before the first statement.
        let _ = editor.load_history(file);
    }
    let mut lines = String::new();
    loop {
        let names = shell.new_names().await;
        if let Some(typing) = editor.helper_mut() {
            typing.lines.clone_from(&lines);
            typing.names = names.unwrap_or(std::mem::take(&mut typing.names));
        }
        match editor.readline(&prompt(&shell.session, &lines)) {
            Ok(line) => lines.extend([line.as_str(), "\n"]),
            Err(ReadlineError::Interrupted) => {
                lines.clear();
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        let cut = split(&lines);
        if cut.rest.is_some() {
            continue;
        }
        // A history that cannot be kept is no reason to stop.
        let _ = editor.add_history_entry(lines.trim_end());
        let _ = file.as_ref().map(|file| editor.append_history(file));
        for input in cut.inputs {
            match shell.run(input, 0).await {
                Ok(next) if next.is_break() => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    eprintln!("error: {error}");
                    break;
                }
            }
        }
        lines.clear();
    }
}

/// Says where one is.
pub(super) fn greet(place: &str) {
    say(&format!("FirnDB {} at {place}; \\? tells the commands", env!("CARGO_PKG_VERSION")));
}

/// The prompt: with the bounds that are set, or of the next line of a statement.
fn prompt(session: &Session, lines: &str) -> String {
    let bounds: Vec<String> = session.bounds().map(|(bound, value)| format!("{} {value}", bound.names().0)).collect();
    match (lines.is_empty(), bounds.is_empty()) {
        (false, _) => "  ... ".to_owned(),
        (true, true) => "firn> ".to_owned(),
        (true, false) => format!("firn [{}]> ", bounds.join(", ")),
    }
}

/// Where statements are remembered.
fn history_file() -> Option<PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = named("XDG_STATE_HOME").or_else(|| named("HOME").map(|home| home.join(".local/state")))?;
    let directory = state.join("firndb");
    std::fs::create_dir_all(&directory).ok()?;
    Some(directory.join("sql_history"))
}
