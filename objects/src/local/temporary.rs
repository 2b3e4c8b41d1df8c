//! Files that are not yet objects.
//!
//! One is written beside the object that it will be, whole and durable, under a name that begins with a dot, which no
//! object's does. It is removed when it is dropped; what a crash leaves is found by its name.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Mode of the files that we create: the owner's alone.
const FILE_MODE: u32 = 0o600;

/// The end of the names of temporary files.
const ENDING: &str = ".new";

/// A file that is durable, but under no name that anybody looks for.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    /// Whether the file still has this name.
    here: bool,
}

impl Temporary {
    /// Writes `bytes` to a file in `folder`, durably. After an error it is not there.
    pub(super) fn write(folder: &Path, bytes: &[u8]) -> io::Result<Self> {
        let (mut file, temporary) = Self::create(folder)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        Ok(temporary)
    }

    /// Creates a file under a random name that is still free.
    fn create(folder: &Path) -> io::Result<(File, Self)> {
        loop {
            let path = folder.join(format!(".{:016x}{ENDING}", fastrand::u64(..)));
            match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path) {
                Ok(file) => return Ok((file, Self { path, here: true })),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file the name `to`, replacing what has it.
    pub(super) fn rename(mut self, to: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, to)?;
        self.here = false;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.here {
            // What cannot be removed now is swept when the bucket is opened.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether a file of that name is one of these.
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(ENDING)
}
