//! `firn verify`: reads every file of a closed database and says what is damaged, what is lost, and how to mend it.
//!
//! Every checksum and every structural promise is checked: of the manifest, the ceiling, the log, dictionaries, packs
//! and segments. Bytes are read from the medium one block at a time first, then what checks is mapped and looked at for
//! sense. Nothing is changed. The end that a crash tore off the log is a note, not damage.

mod files;

use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::ingest_clock::{self, CEILING};
use crate::io::{DAMAGED, Files};
use crate::manifest::Manifest;
use crate::recovery::unnamed;
use crate::wal;

/// Something that does not check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The file, from the data directory.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
    /// What cannot be answered because of it.
    pub lost: String,
    /// What to do.
    pub mend: String,
}

/// What verify found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many files were read.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// All damage.
    pub damages: Vec<Damage>,
    /// What is unusual, but no damage.
    pub notes: Vec<String>,
}

/// Reads everything that `files` holds.
pub fn verify(files: &Arc<dyn Files>) -> Result<Report> {
    Ok(Survey::of(files)?.report)
}

/// What of the database is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The manifest.
    Manifest,
    /// Schema versions.
    Versions,
    /// The ceiling of answered times.
    Ceiling,
    /// The log; `cut` says that commits are lost.
    Log { cut: bool },
    /// A file of the dictionary of a bucket; `lost` says that keys of it are.
    Dictionary { entity: u32, bucket: usize, number: u64, lost: bool },
    /// What was erased of an entity.
    Erasures { entity: u32 },
    /// A segment.
    Segment { table: u32, bucket: u32, number: u64 },
    /// A latest pack.
    Pack { table: u32, number: u64 },
}

/// What there is, and what of it is damaged.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// For a person.
    pub(crate) report: Report,
    /// The newest manifest, if it is whole.
    pub(crate) manifest: Option<Manifest>,
    /// What is damaged, each with its file.
    pub(crate) broken: Vec<(Broken, String)>,
}

impl Survey {
    /// Reads everything.
    pub(crate) fn of(files: &Arc<dyn Files>) -> Result<Self> {
        let mut survey = Self::default();
        let Some(manifest) = survey.manifest(files)? else { return Ok(survey) };
        if !survey.version_files(files, &manifest.state)? {
            return Ok(survey);
        }
        let versions = match manifest.versions() {
            Ok(versions) => versions,
            Err(error) => {
                survey.lost_manifest(&error)?;
                return Ok(survey);
            }
        };
        survey.ceiling(files)?;
        survey.published(files, &manifest.state, &versions)?;
        survey.log(files, manifest.state.wal_first)?;
        for name in unnamed(files, &manifest.state)? {
            survey.note(format!("{name} belongs to nothing: a crash left it, and the next opening removes it"));
        }
        survey.manifest = Some(manifest);
        Ok(survey)
    }

    fn note(&mut self, text: String) {
        self.report.notes.push(text);
    }

    /// Counts a file as read.
    fn read(&mut self, bytes: u64) {
        self.report.files += 1;
        self.report.bytes += bytes;
    }

    /// Notes the damage that `error` names in `file`. An error that says nothing about the bytes (no maps left, a newer
    /// format) ends the survey.
    fn damage(&mut self, file: &str, error: &Error, lost: &str, mend: &str) -> Result<()> {
        let (file, offset, what) = match (error.place(), error.kind()) {
            (Some(place), _) => (place.file.as_str(), place.offset, place.what.clone()),
            (None, Kind::Corrupt | Kind::Io | Kind::Invalid) => (file, 0, error.message().to_owned()),
            _ => return Err(error.clone()),
        };
        let (file, lost, mend) = (file.to_owned(), lost.to_owned(), mend.to_owned());
        self.report.damages.push(Damage { file, offset, what, lost, mend });
        Ok(())
    }

    fn lost_manifest(&mut self, error: &Error) -> Result<()> {
        let lost = "everything: the manifest says which files are the database, and nothing else does";
        let mend = "restore manifest/ from a copy of the directory that was made since the last flush or compaction";
        self.broken.push((Broken::Manifest, "manifest".to_owned()));
        self.damage("manifest", error, lost, mend)
    }

    fn manifest(&mut self, files: &Arc<dyn Files>) -> Result<Option<Manifest>> {
        match Manifest::open(Arc::clone(files)) {
            Ok(Some(manifest)) => {
                self.read(files.length(&manifest.file_name())?);
                Ok(Some(manifest))
            }
            Ok(None) => {
                let error = Error::new(
                    Kind::Corrupt,
                    "there is no manifest: this is no data directory, or it lost its manifest",
                );
                self.lost_manifest(&error).map(|()| None)
            }
            Err(error) => self.lost_manifest(&error).map(|()| None),
        }
    }

    fn ceiling(&mut self, files: &Arc<dyn Files>) -> Result<()> {
        if files.list("")?.iter().any(|name| name == CEILING) {
            self.read(files.length(CEILING)?);
        }
        let Err(error) = ingest_clock::verify_ceiling(files) else { return Ok(()) };
        self.broken.push((Broken::Ceiling, CEILING.to_owned()));
        let mend = "`firn repair` writes a ceiling above the time of now";
        self.damage(CEILING, &error, "nothing: it is the time up to which answers are final", mend)
    }

    fn log(&mut self, files: &Arc<dyn Files>, first_number: u64) -> Result<()> {
        for name in files.list(wal::DIRECTORY)? {
            self.read(files.length(&format!("{}/{name}", wal::DIRECTORY))?);
        }
        let findings = wal::verify(files.as_ref(), first_number)?;
        let losses = wal::losses(files.as_ref(), first_number)?;
        let (lost, mend) = match &losses.cut {
            None => {
                let mend = "`firn repair` writes the header anew";
                ("nothing: the records say themselves where they belong".to_owned(), mend.to_owned())
            }
            Some((file, offset)) => {
                let whole = match losses.sequences_lost {
                    None => "no whole commit follows".to_owned(),
                    Some((first, last)) => format!("the commits {first} to {last} follow and cannot be applied"),
                };
                let kept = losses.kept_last;
                let lost = format!("what was committed after {kept} and is not in segments: {whole}");
                let mend = format!(
                    "restore {file} from a copy; without one, `firn repair --drop-damaged` cuts the log at {file} offset {offset}"
                );
                (lost, mend)
            }
        };
        if findings.iter().any(|finding| finding.damage) {
            self.broken.push((Broken::Log { cut: losses.cut.is_some() }, wal::DIRECTORY.to_owned()));
        }
        for finding in findings {
            if finding.damage {
                let error = Error::corrupt(&finding.file, finding.offset, &finding.what);
                self.damage(&finding.file, &error, &lost, &mend)?;
            } else {
                self.note(format!("{} ends at offset {} with {}", finding.file, finding.offset, finding.what));
            }
        }
        Ok(())
    }
}

/// Whether damage of `file` is of the part whose file is `broken`: a file, or a folder of them.
pub(crate) fn is_of(file: &str, broken: &str) -> bool {
    file.strip_prefix(broken).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a report says in the end.
pub fn advice(report: &Report) -> String {
    match report.damages.len() {
        0 => "no damage".to_owned(),
        count => format!("{count} damaged places; `firn repair` keeps what is whole and moves the rest to {DAMAGED}/"),
    }
}
