//! Where a file lies: at a path of this machine, or in a bucket.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use firn_objects::file::{File as ObjectFile, Files, Found, Located};
use firn_objects::options::Options;

use super::Result;

/// Finds files by what the command line says of them.
#[derive(Debug)]
pub(crate) struct Locations(Files);

/// Where a file lies.
#[derive(Debug, Clone)]
pub(crate) enum Location {
    /// At a path.
    Path(PathBuf),
    /// In a bucket.
    Object(Arc<Object>),
}

/// A file in a bucket. Whatever is read of it is of the content that was there at the first look.
#[derive(Debug)]
pub(crate) struct Object {
    file: ObjectFile,
    found: OnceLock<Found>,
}

impl Locations {
    /// With `endpoint` for the server of the buckets, if it is not the cloud's own.
    pub(crate) fn new(endpoint: Option<&str>) -> Self {
        Self(Files::new(Options { endpoint: endpoint.map(str::to_owned), ..Options::default() }))
    }

    /// What `text` says, a path or an address.
    pub(crate) fn find(&self, text: &str) -> Result<Location> {
        if !text.contains("://") {
            return Ok(Location::Path(text.into()));
        }
        match self.0.open(text).map_err(|error| error.to_string())? {
            Located::Path(path) => Ok(Location::Path(path)),
            Located::Object(file) => Ok(Location::Object(Arc::new(Object { file, found: OnceLock::new() }))),
        }
    }
}

impl Location {
    /// Its path, or its key in the bucket: what its name and ending are.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Path(path) => path,
            Self::Object(object) => Path::new(object.file.key()),
        }
    }

    /// Whether there is such a file.
    pub(crate) fn exists(&self) -> Result<bool> {
        match self {
            Self::Path(path) => Ok(path.exists()),
            Self::Object(object) => Ok(object.file.find().map_err(|error| error.to_string())?.is_some()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Object(object) => f.write_str(object.file.address()),
        }
    }
}

impl Object {
    /// What was there at the first look.
    pub(super) fn found(&self) -> Result<&Found> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let found = self.file.find().map_err(|error| error.to_string())?;
        let found = found.ok_or("the store says that there is no such file")?;
        Ok(self.found.get_or_init(|| found))
    }

    /// The file.
    pub(super) fn file(&self) -> &ObjectFile {
        &self.file
    }

    /// Puts what `file` holds, all of its `length`, in its place.
    pub(super) fn put(&self, mut file: File, length: u64) -> Result<()> {
        self.file.write(&mut file, length).map_err(|error| error.to_string())
    }
}
