//! The manifest: which files are the database, and everything else that must survive without the WAL.
//!
//! One file holds the whole state as JSON under a checksum. Each change writes the next number and then removes those
//! before, so the newest name is always whole: a newest manifest that does not check is damage, not a crash. A number
//! is used once, also when its write failed: what is on the disk under it is then unknown.

mod log_files;
mod named;
mod state;

use std::sync::Arc;

use crate::checksum::checksum64;
use crate::error::{Error, Kind, Result};
use crate::io::{Files, HUGE_BYTES, TEMPORARY, stage};
use crate::versions::Versions;

pub use log_files::{Contents, LogFiles, Subject};
pub use named::NamedFile;
pub use state::{EntityManifest, IceEntry, ManifestState, PackEntry, SegmentEntry, TableManifest};

const DIRECTORY: &str = "manifest";
const ENDING: &str = ".manifest";
const MAGIC: &[u8; 8] = b"firnmanf";
const FORMAT: u32 = 0;
const HEADER_BYTES: usize = 32;

/// The newest manifest, in memory and on disk.
#[derive(Debug)]
pub struct Manifest {
    files: Arc<dyn Files>,
    number: u64,
    /// The last number that was tried.
    tried: u64,
    /// What the file holds.
    pub state: Arc<ManifestState>,
}

/// A manifest that could not be made durable.
#[derive(Debug)]
pub struct Unwritten {
    /// Why.
    pub error: Error,
    /// Whether the file may have its name all the same: the next opening may find it, until a later one is durable.
    pub may_be_there: bool,
}

impl From<Unwritten> for Error {
    fn from(unwritten: Unwritten) -> Self {
        unwritten.error
    }
}

impl Manifest {
    /// The first manifest of a new database.
    pub fn create(files: Arc<dyn Files>, state: ManifestState) -> Result<Self> {
        files.create_directory(DIRECTORY)?;
        let mut manifest = Self { files, number: 0, tried: 0, state: Arc::default() };
        manifest.write(state)?;
        Ok(manifest)
    }

    /// The newest manifest of a directory, or `None` if there is none.
    pub fn open(files: Arc<dyn Files>) -> Result<Option<Self>> {
        let numbers = numbers(&files)?;
        let Some(&number) = numbers.last() else { return Ok(None) };
        let state = read(&files, number)?;
        Ok(Some(Self { files, number, tried: number, state: Arc::new(state) }))
    }

    /// Makes `state` durable as the next manifest and removes those before. After an error the manifest is what it was.
    pub fn write(&mut self, state: ManifestState) -> Result<(), Unwritten> {
        let number = self.tried + 1;
        let payload = serde_json::to_vec(&state).expect("a manifest is plain data");
        let surely_not = |error| Unwritten { error, may_be_there: false };
        let header = header(number, &payload).map_err(surely_not)?;
        self.tried = number;
        let staged = stage(&self.files, &name(number), HUGE_BYTES, |file| {
            file.append(&header)?;
            file.append(&payload)
        });
        let published = staged.map_err(surely_not)?.publish();
        published.map_err(|error| Unwritten { error, may_be_there: true })?;
        (self.number, self.state) = (number, Arc::new(state));
        // A manifest that stays behind is removed after the next one, or at the next open.
        let _ = self.sweep();
        Ok(())
    }

    /// The schema, all versions. An error names the file that is wrong.
    pub fn versions(&self) -> Result<Versions> {
        let versions = Versions::read(&self.files, &self.state.version_files, &self.state.versions);
        versions.map_err(|error| match error.place() {
            None if error.kind() == Kind::Corrupt => self.damaged(&error),
            _ => error,
        })
    }

    /// The error about a manifest whose bytes are whole, but whose content cannot be.
    pub fn damaged(&self, what: &Error) -> Error {
        Error::corrupt(&name(self.number), HEADER_BYTES as u64, what)
    }

    /// The name of the file.
    pub fn file_name(&self) -> String {
        name(self.number)
    }

    /// Removes every manifest but the newest, and what was begun of one.
    pub fn sweep(&self) -> Result<()> {
        let newest = self.file_name();
        let names = self.files.list(DIRECTORY)?.into_iter().map(|name| format!("{DIRECTORY}/{name}"));
        let ours = |name: &String| name.ends_with(ENDING) || name.ends_with(TEMPORARY);
        for name in names.filter(|name| ours(name) && *name != newest) {
            self.files.remove(&name)?;
        }
        Ok(())
    }
}

/// The name of the manifest `number`.
pub fn name(number: u64) -> String {
    format!("{DIRECTORY}/{number:020}{ENDING}")
}

fn numbers(files: &Arc<dyn Files>) -> Result<Vec<u64>> {
    let names = files.list(DIRECTORY)?;
    let numbers = names.iter().filter_map(|name| name.strip_suffix(ENDING)?.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Magic, format, number, payload length, and a checksum over these and the payload.
fn header(number: u64, payload: &[u8]) -> Result<[u8; HEADER_BYTES]> {
    let length = u32::try_from(payload.len()).map_err(|_| {
        Error::exhausted(format!("a manifest of {} bytes is beyond its format; drop what is not needed", payload.len()))
    })?;
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..16].copy_from_slice(&length.to_le_bytes());
    header[16..24].copy_from_slice(&number.to_le_bytes());
    let mut checked = header[..24].to_vec();
    checked.extend_from_slice(payload);
    header[24..].copy_from_slice(&checksum64(&checked).to_le_bytes());
    Ok(header)
}

fn read(files: &Arc<dyn Files>, number: u64) -> Result<ManifestState> {
    let name = name(number);
    let bytes = files.read(&name)?;
    let damage = |offset: u64, what: &str| Error::corrupt(&name, offset, what);
    if bytes.len() < HEADER_BYTES {
        return Err(damage(bytes.len() as u64, "it ends within its header"));
    }
    let (given, payload) = bytes.split_at(HEADER_BYTES);
    if !header(number, payload).is_ok_and(|header| header == given) {
        return Err(damage(0, "its header or checksum does not match its content"));
    }
    serde_json::from_slice(payload).map_err(|error| damage(HEADER_BYTES as u64, &error.to_string()))
}
