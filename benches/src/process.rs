//! Child processes: servers that are measured, and peers. Each ends with the value that stands for it.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::Result;

/// How long a server may take to stop when it is asked to.
const STOP_WAIT_MAX: Duration = Duration::from_secs(60);

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`; what it says goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let errors = output.try_clone()?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        Self::spawn(command)
    }

    /// Starts `command` to talk with it over its standard input and output; what it complains of goes to `log`.
    pub(crate) fn start_talking(command: &mut Command, log: &Path) -> Result<(Self, ChildStdin, ChildStdout)> {
        let errors = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut process = Self::spawn(command)?;
        let (input, output) = (process.child.stdin.take(), process.child.stdout.take());
        Ok((process, input.ok_or("no pipe to the child")?, output.ok_or("no pipe from the child")?))
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let child = command.spawn().map_err(|error| format!("could not start {}: {error}", program.display()))?;
        Ok(Self { child })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Asks it to finish (SIGTERM) and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let number = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(number, rustix::process::Signal::TERM)?;
        let asked = Instant::now();
        while !self.has_ended()? {
            if asked.elapsed() > STOP_WAIT_MAX {
                return Err(format!("process {} did not stop when it was asked to", self.number()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
