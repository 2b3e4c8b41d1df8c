//! Where the demo keeps what it makes: its data, the log of its server, and perhaps a bucket.
//!
//! It takes nothing that is somebody's: a data directory must be empty, and a bucket must hold no database.

use std::path::{Path, PathBuf};

use firn_objects::bucket::Bucket;
use firn_storage::home::is_claimed;

use super::result::Result;

/// What the command line may say.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The data directory, which is kept; without one a temporary directory is used.
    pub data: Option<PathBuf>,
    /// Keeps the temporary directory.
    pub keep: bool,
    /// The bucket that the data is at home in; with one the demo loses its disk.
    pub home: Option<Home>,
}

/// A bucket, as `firn serve` takes it.
#[derive(Debug, Clone)]
pub struct Home {
    /// Where it is.
    pub address: String,
    /// The server of the store, if it is not the cloud's own.
    pub endpoint: Option<String>,
}

/// Where the data and the server's log go.
#[derive(Debug)]
pub(super) struct Place {
    scratch: Option<tempfile::TempDir>,
    data: PathBuf,
    log: PathBuf,
    home: Option<Home>,
}

impl Place {
    /// Makes sure that nothing is there yet. It blocks.
    pub(super) fn new(options: Options) -> Result<Self> {
        let Options { data, keep, home } = options;
        home.as_ref().map_or(Ok(()), Home::check)?;
        let scratch = tempfile::Builder::new().prefix("firn-demo-").tempdir();
        let scratch = scratch.map_err(|error| format!("could not make a temporary directory: {error}"))?;
        let log = scratch.path().join("server.log");
        if let Some(data) = data {
            let occupied = std::fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some());
            if occupied {
                let data = data.display();
                return Err(format!("{data} is not empty; the demo loads its data into a new directory"));
            }
            return Ok(Self { scratch: Some(scratch), data, log, home });
        }
        let data = scratch.path().join("data");
        match keep {
            false => Ok(Self { scratch: Some(scratch), data, log, home }),
            true => {
                let _ = scratch.keep();
                Ok(Self { scratch: None, data, log, home })
            }
        }
    }

    /// The data directory.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// The log of the server.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// The bucket.
    pub(super) fn home(&self) -> Option<&Home> {
        self.home.as_ref()
    }

    /// What the server is told of the bucket. It is told of none, too: the environment may name that of a real database.
    pub(super) fn flags(&self) -> Vec<&str> {
        let Some(home) = &self.home else { return vec!["--bucket", "none"] };
        let endpoint = home.endpoint.as_deref().unwrap_or("none");
        // No acknowledged row is lost with the disk.
        vec!["--bucket", &home.address, "--bucket-endpoint", endpoint, "--acknowledge", "object"]
    }

    /// Where the data is, for the story.
    pub(super) fn shown(&self) -> String {
        let data = format!("data in {}", self.data.display());
        self.home.as_ref().map_or(data.clone(), |home| format!("{data}, at home in {}", home.address))
    }

    /// Deletes the data directory with all that is in it.
    pub(super) fn lose_disk(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.data)
            .map_err(|error| format!("could not delete {}: {error}", self.data.display()))
    }

    /// What outlives the demo: the data directory, if it does, and the bucket.
    pub(super) fn end(self) -> (Option<PathBuf>, Option<Home>) {
        let temporary = self.scratch.as_ref().is_some_and(|scratch| self.data.starts_with(scratch.path()));
        ((!temporary).then_some(self.data), self.home)
    }
}

impl Home {
    /// Refuses a bucket in which anybody ever wrote a database: to start a server on it would stop the writer that it has.
    fn check(&self) -> Result<()> {
        let options = firn_objects::options::Options { endpoint: self.endpoint.clone(), ..Default::default() };
        let objects = Bucket::open(&self.address, &options).map_err(|error| error.to_string())?;
        match is_claimed(objects.as_ref()).map_err(|error| error.to_string())? {
            false => Ok(()),
            true => Err(format!("{} holds a database already; give the demo a prefix that holds none", self.address)),
        }
    }
}
