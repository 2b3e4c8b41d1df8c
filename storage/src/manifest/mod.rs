//! The manifest: which files are the database, and everything else that must survive without the WAL.
//!
//! One file holds the whole state as JSON under a checksum. Each change writes the next number and then removes the
//! one before, so the newest name is always whole: a newest manifest that does not check is damage, not a crash.

mod state;

use std::sync::Arc;

use crate::checksum::checksum64;
use crate::error::{Error, Result};
use crate::io::{Files, publish};

pub use state::{EntityManifest, ManifestState, PackEntry, SegmentEntry, TableManifest, VersionEntry};

const DIRECTORY: &str = "manifest";
const MAGIC: &[u8; 8] = b"firnmanf";
const FORMAT: u32 = 0;
const HEADER_BYTES: usize = 32;

/// The newest manifest, in memory and on disk.
#[derive(Debug)]
pub struct Manifest {
    files: Arc<dyn Files>,
    number: u64,
    /// What the file holds.
    pub state: ManifestState,
}

impl Manifest {
    /// The first manifest of a new database.
    pub fn create(files: Arc<dyn Files>, state: ManifestState) -> Result<Self> {
        files.create_directory(DIRECTORY)?;
        let mut manifest = Self { files, number: 0, state };
        manifest.write()?;
        Ok(manifest)
    }

    /// The newest manifest of a directory, or `None` if there is none.
    pub fn open(files: Arc<dyn Files>) -> Result<Option<Self>> {
        let numbers = numbers(&files)?;
        let Some(&number) = numbers.last() else { return Ok(None) };
        let state = read(&files, number)?;
        Ok(Some(Self { files, number, state }))
    }

    /// Makes `state` durable as the next manifest and removes the one before.
    pub fn write(&mut self) -> Result<()> {
        let number = self.number + 1;
        let payload = serde_json::to_vec(&self.state).expect("a manifest is plain data");
        publish(&self.files, &name(number), |file| {
            file.append(&header(number, &payload))?;
            file.append(&payload)
        })?;
        let before = std::mem::replace(&mut self.number, number);
        if before > 0 {
            // A manifest that stays behind is removed at the next open.
            let _ = self.files.remove(&name(before));
        }
        Ok(())
    }

    /// The error about a manifest whose bytes are whole, but whose content cannot be.
    pub fn damaged(&self, what: &Error) -> Error {
        Error::corrupt(&name(self.number), HEADER_BYTES as u64, what)
    }

    /// The name of the file.
    pub fn file_name(&self) -> String {
        name(self.number)
    }

    /// Removes every manifest but the newest.
    pub fn sweep(&self) -> Result<()> {
        for number in numbers(&self.files)? {
            if number != self.number {
                self.files.remove(&name(number))?;
            }
        }
        Ok(())
    }
}

/// The name of the manifest `number`.
pub fn name(number: u64) -> String {
    format!("{DIRECTORY}/{number:020}.manifest")
}

fn numbers(files: &Arc<dyn Files>) -> Result<Vec<u64>> {
    let names = files.list(DIRECTORY)?;
    let numbers = names.iter().filter_map(|name| name.strip_suffix(".manifest")?.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Magic, format, number, payload length, and a checksum over these and the payload.
fn header(number: u64, payload: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[16..24].copy_from_slice(&number.to_le_bytes());
    let mut checked = header[..24].to_vec();
    checked.extend_from_slice(payload);
    header[24..].copy_from_slice(&checksum64(&checked).to_le_bytes());
    header
}

fn read(files: &Arc<dyn Files>, number: u64) -> Result<ManifestState> {
    let name = name(number);
    let bytes = files.read(&name)?;
    let damage = |offset: u64, what: &str| Error::corrupt(&name, offset, what);
    if bytes.len() < HEADER_BYTES {
        return Err(damage(bytes.len() as u64, "it ends within its header"));
    }
    let (given, payload) = bytes.split_at(HEADER_BYTES);
    if given != header(number, payload) {
        return Err(damage(0, "its header or checksum does not match its content"));
    }
    serde_json::from_slice(payload).map_err(|error| damage(HEADER_BYTES as u64, &error.to_string()))
}
