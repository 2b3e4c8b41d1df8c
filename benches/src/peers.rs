//! Peers: installed into a directory of the harness, never into the system or the product.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command};

use serde_json::{Value, json};

use crate::harness::{Harness, Result};
use crate::process::Process;

/// Where the scripts of the peers are.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Installs `peer` (`redis`, `python`, `feast`) unless it is there; answers the directory that holds it.
pub(crate) fn install(harness: &Harness, peer: &str) -> Result<PathBuf> {
    let directory = harness.settings.output.join("peers");
    let done = Command::new(scripts().join("install.sh")).arg(&directory).arg(peer).output()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        return Err(format!("{peer} could not be installed; go on without peers (--without-peers): {said}").into());
    }
    Ok(directory)
}

/// A peer's script in a process of its own: one line asks for work, one line says what came of it.
#[derive(Debug)]
pub(crate) struct Script {
    _process: Process,
    name: String,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Script {
    /// Starts `script` in the environment `peer` and waits until it has loaded what it needs.
    pub(crate) fn start(harness: &Harness, peer: &str, script: &str, arguments: &[&str]) -> Result<Self> {
        let python = install(harness, peer)?.join(peer).join("bin/python");
        let mut command = Command::new(python);
        command.arg(scripts().join(script)).args(arguments);
        let (process, ask, output) = Process::start_talking(&mut command, &harness.log(script))?;
        let mut script = Self { _process: process, name: arguments.join(" "), ask, answers: BufReader::new(output) };
        script.answer()?;
        Ok(script)
    }

    /// Has it do `work` once.
    pub(crate) fn work(&mut self, work: &str) -> Result<Value> {
        writeln!(self.ask, "{}", json!({ "work": work }))?;
        self.ask.flush()?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(format!("the script `{}` ended; its log is beside the report", self.name).into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}
