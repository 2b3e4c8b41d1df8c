//! The demo's server: this very binary, serving in a process of its own that can be killed without warning.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use firn_client::{Client, Retry};

use super::place::Place;
use super::result::Result;

/// How long the server may take to answer its first call.
const START_WAIT_MAX: Duration = Duration::from_secs(60);

/// A server process; it is killed when this goes away.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    url: String,
    log: PathBuf,
}

impl Child {
    /// Starts a server at `place` and waits until it answers; says how many seconds that took.
    pub(super) async fn start(place: &Place) -> Result<(Self, f64)> {
        let program = std::env::current_exe().map_err(|error| format!("could not find this program: {error}"))?;
        let port = free_port()?;
        let log = place.log();
        let output = open_log(log)?;
        let errors = output.try_clone().map_err(|error| format!("could not open {}: {error}", log.display()))?;
        let started = Instant::now();
        let process = Command::new(&program)
            .arg("serve")
            .arg("--data")
            .arg(place.data())
            .args(["--listen", &format!("127.0.0.1:{port}"), "--metrics", "off"])
            .args(place.flags())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("could not start {}: {error}", program.display()))?;
        let mut child = Self { process, url: format!("grpc://127.0.0.1:{port}"), log: log.to_owned() };
        child.wait_until_it_answers(started).await?;
        Ok((child, started.elapsed().as_secs_f64()))
    }

    async fn wait_until_it_answers(&mut self, started: Instant) -> Result<()> {
        loop {
            if let Ok(client) = self.connect().await
                && client.status().await.is_ok()
            {
                return Ok(());
            }
            let ended = self.process.try_wait().map_err(|error| format!("could not watch the server: {error}"))?;
            if ended.is_some() || started.elapsed() > START_WAIT_MAX {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!("the server did not start; it said:\n{}", said.trim()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn connect(&self) -> firn_client::Result<Client> {
        let mut options = firn_client::Options::new(&self.url);
        options.retry = Retry::never();
        Client::connect_with(&options).await
    }

    /// A client of it.
    pub(super) async fn client(&self) -> Result<Client> {
        self.connect().await.map_err(|error| error.to_string())
    }

    /// Where it listens.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Its number as a process.
    pub(super) fn process(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL: no flush, no farewell.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.process.kill().map_err(|error| format!("could not kill the server: {error}"))?;
        self.process.wait().map_err(|error| format!("could not wait for the server: {error}"))?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may be dead already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn open_log(log: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(|error| format!("could not open {}: {error}", log.display()))
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("could not find a free port: {error}"))
}
