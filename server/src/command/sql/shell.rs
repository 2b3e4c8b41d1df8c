//! The shell: runs statements and backslash commands, one after the other, and tells what became of each.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use futures::StreamExt;
use terminal_size::{Width, terminal_size};
use tokio::time::timeout;

use super::answer::{AnswerFormat, Output};
use super::backslash::{self, Backslash};
use super::session::{Bound, Names, Prepared, Session};
use super::splitter::{Input, split, verb};
use crate::print::count;

/// How deep scripts may include one another.
const SCRIPTS_MAX: usize = 16;
/// How long the prompt waits for names to complete.
const NAMES_WAIT_MAX: Duration = Duration::from_secs(2);

/// Whether to go on.
pub(super) type Next = ControlFlow<()>;

/// The shell.
pub(super) struct Shell {
    pub(super) session: Session,
    output: Output,
    timing: bool,
    /// Whether a person sits before it.
    interactive: bool,
    /// Whether what is declared has changed since `names`.
    declared: bool,
    /// Whether a statement is running that changes something.
    changing: bool,
}

impl Shell {
    /// A shell.
    pub(super) fn new(session: Session, output: Output, timing: bool, interactive: bool) -> Self {
        Self { session, output, timing, interactive, declared: true, changing: false }
    }

    /// What is declared, if that has changed.
    pub(super) async fn new_names(&mut self) -> Option<Names> {
        match std::mem::take(&mut self.declared) {
            // Without names there is nothing to complete, which is no error.
            true => timeout(NAMES_WAIT_MAX, self.session.names()).await.ok()?.ok(),
            false => None,
        }
    }

    /// Runs a script to its first error, which tells its line behind `place`, or nothing of it if there is no place.
    pub(super) async fn script(&mut self, text: &str, place: Option<&str>, depth: usize) -> Result<Next, String> {
        let at = |input: Input<'_>, error| match place {
            Some(place) => format!("{place}{}: {error}", input.line),
            None => error,
        };
        let mut cut = split(text);
        match (cut.rest, cut.open) {
            (Some(rest), None) => cut.inputs.push(rest),
            (Some(rest), Some(open)) => {
                let error = format!("the {open} in this statement is never closed, so nothing was run");
                return Err(at(rest, error));
            }
            (None, _) => {}
        }
        for input in cut.inputs {
            if self.run(input, depth).await.map_err(|error| at(input, error))?.is_break() {
                return Ok(Next::Break(()));
            }
        }
        Ok(Next::Continue(()))
    }

    /// Runs one input of a script that `depth` others include, until ctrl-C.
    pub(super) async fn run(&mut self, input: Input<'_>, depth: usize) -> Result<Next, String> {
        let run = async {
            match input.is_backslash {
                true => self.command(backslash::parse(input.text)?, depth).await,
                false => self.statement(input.text).await,
            }
        };
        tokio::select! {
            ended = run => ended,
            _ = tokio::signal::ctrl_c() => Err(match std::mem::take(&mut self.changing) {
                true => "cancelled; what it was to change may have changed all the same".to_owned(),
                false => "cancelled".to_owned(),
            }),
        }
    }

    async fn command(&mut self, command: Backslash, depth: usize) -> Result<Next, String> {
        match command {
            Backslash::Quit => return Ok(Next::Break(())),
            Backslash::Tables => return self.statement("SHOW TABLES").await,
            Backslash::Columns(table) => return self.statement(&format!("DESCRIBE {table}")).await,
            Backslash::Include(file) => {
                let file = file.display().to_string();
                let text = std::fs::read_to_string(&file).map_err(|error| format!("could not read {file}: {error}"))?;
                if depth == SCRIPTS_MAX {
                    return Err(format!("{SCRIPTS_MAX} scripts include one another: does {file} include itself?"));
                }
                return Box::pin(self.script(&text, Some(&format!("{file}:")), depth + 1)).await;
            }
            Backslash::Timing(wanted) => {
                self.timing = wanted.unwrap_or(!self.timing);
                self.output.tell(if self.timing { "timing is on" } else { "timing is off" })?;
            }
            Backslash::Format(format) => self.output.format = format,
            Backslash::Output(file) => self.output.redirect(file),
            Backslash::Bound(bound, value) => self.bind(bound, value.as_deref()).await?,
            Backslash::Help => self.output.tell(&backslash::help())?,
        }
        Ok(Next::Continue(()))
    }

    /// Sets a bound that the server takes, or clears it.
    async fn bind(&mut self, bound: Bound, value: Option<&str>) -> Result<(), String> {
        let set = self.session.bounds().find(|(set, _)| *set == bound).map(|(_, value)| value.to_owned());
        self.session.bind(bound, value)?;
        let checked = self.session.check().await;
        if checked.is_err() {
            self.session.bind(bound, set.as_deref())?;
        }
        checked
    }

    async fn statement(&mut self, text: &str) -> Result<Next, String> {
        let started = Instant::now();
        let mut told = self.execute(text).await?;
        if self.timing {
            told.push(print_time(started.elapsed()));
        }
        if !told.is_empty() {
            self.output.tell(&told.join(", "))?;
        }
        Ok(if self.output.is_closed() { Next::Break(()) } else { Next::Continue(()) })
    }

    /// Runs a statement; what is to be told of it.
    async fn execute(&mut self, text: &str) -> Result<Vec<String>, String> {
        let verb = verb(text);
        let handle = match self.session.prepare(text).await? {
            Prepared::Query(handle) => handle,
            Prepared::Update(handle) => {
                self.changing = true;
                let changed = self.session.update(handle).await;
                self.changing = false;
                self.declared |= ["CREATE", "ALTER", "DROP"].contains(&verb.as_str());
                return changed.map(|rows| vec![print_change(&verb, rows)]);
            }
        };
        let begun = self.session.query(handle).await?;
        // A plan is read whole.
        let is_cut = self.interactive && self.output.file().is_none() && verb != "EXPLAIN";
        let width = terminal_size().filter(|_| is_cut).map(|(Width(width), _)| width);
        self.output.begin(&begun.schema, width)?;
        let mut rows = 0;
        for ticket in begun.tickets {
            let mut batches = self.session.rows(ticket).await?;
            while let Some(batch) = batches.next().await.transpose()? {
                rows += batch.num_rows() as u64;
                self.output.write(&batch)?;
                if self.output.is_closed() {
                    return Ok(Vec::new());
                }
            }
        }
        self.output.finish()?;
        Ok(match (self.output.format, self.output.file()) {
            (AnswerFormat::Table, _) => vec![print_rows(rows)],
            (_, Some(file)) => vec![format!("{} to {file}", print_rows(rows))],
            // Who reads them counts them.
            (_, None) => Vec::new(),
        })
    }
}

fn print_rows(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{} rows", count(rows)) }
}

/// What is told of a statement that answers no rows.
fn print_change(verb: &str, rows: u64) -> String {
    match verb {
        "INSERT" | "DELETE" => format!("{verb}: {}", print_rows(rows)),
        _ => "done".to_owned(),
    }
}

fn print_time(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_statement_is_told() {
        assert_eq!(print_change("INSERT", 1), "INSERT: 1 row");
        assert_eq!(print_change("DELETE", 12_345), "DELETE: 12,345 rows");
        assert_eq!(print_change("CREATE", 0), "done");
        assert_eq!(print_time(Duration::from_micros(1_240)), "1.2 ms");
        assert_eq!(print_time(Duration::from_millis(61_500)), "61.50 s");
    }
}
