//! How the story is printed: a word, then a sentence with its figures; emphasis only on a terminal.

use std::io::IsTerminal;
use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::place::Home;
pub(super) use crate::print::{bytes, count};

/// The width of the words in front.
const WORD_WIDTH: usize = 10;

/// Prints the story.
#[derive(Debug)]
pub(super) struct Teller {
    coloured: bool,
}

impl Teller {
    /// Emphasis if someone is looking who has not asked for none.
    pub(super) fn new() -> Self {
        Self { coloured: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// The headline.
    pub(super) fn title(&self, text: &str) {
        say(&format!("\n{}\n", self.strong(text)));
    }

    /// A line of the story.
    pub(super) fn line(&self, word: &str, text: &str) {
        say(&format!("  {}{text}", self.styled(AnsiColor::Cyan.on_default(), &format!("{word:<WORD_WIDTH$}"))));
    }

    /// What to type next, with the data that was `kept` and the bucket that it is at home in.
    pub(super) fn next(&self, kept: Option<&Path>, home: Option<&Home>) {
        let data = kept.map_or_else(|| "DIR".to_owned(), |path| path.display().to_string());
        say("");
        let again = kept.is_none() && home.is_none();
        if again {
            self.line("next", "firn demo --data DIR        the same, keeping the data");
        }
        let bucket = home.map_or_else(String::new, |home| {
            let endpoint = home.endpoint.as_ref().map(|endpoint| format!(" --bucket-endpoint {endpoint}"));
            format!(" --bucket {}{}", home.address, endpoint.unwrap_or_default())
        });
        self.line(if again { "" } else { "next" }, &format!("firn serve --data {data}{bucket}"));
        self.line("", "pip install ./client/python");
        self.line(
            "",
            "python -c 'import firndb; print(firndb.connect().lookup(\"flights.*\", {\"tailnum\": [\"N14228\"]}))'",
        );
    }

    /// The text, emphasised.
    pub(super) fn strong(&self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.coloured { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// A closed pipe is no reason to end in a panic.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A span of time.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 0.1 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

/// A share of a whole.
pub(super) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!([seconds(0.0123), seconds(1.239)], ["12 ms", "1.24 s"]);
        assert_eq!(percent(8_456, 334_264), "2.5 %");
    }
}
