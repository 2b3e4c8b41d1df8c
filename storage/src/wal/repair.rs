//! `firn repair` for the log: keeps what is whole up to the first damage, and nothing after it.
//!
//! What comes after a gap is never kept: later commits were made on top of earlier ones. Nothing is thrown away
//! either: every file that is changed or left out is first copied to `damaged/`. A repair that is interrupted can be
//! run again and comes to the same end, because files are taken away from the last one backwards.

use std::sync::Arc;

use super::names::{DIRECTORY, file_name};
use super::record::{FILE_HEADER_BYTES, FileHeader};
use super::survey::{Cut, Survey};
use crate::error::Result;
use crate::io::{Files, copy_aside, copy_bytes, publish, sweep};
use crate::time::Sequence;

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repair {
    /// The greatest sequence that the log still holds; 0 if it holds none.
    pub kept_last: Sequence,
    /// Whole records that are no longer in the log. Damaged ones cannot be counted.
    pub records_lost: u64,
    /// The first and the last sequence of those records. What lies between `kept_last` and them is lost too.
    pub sequences_lost: Option<(Sequence, Sequence)>,
    /// Where the log is cut: the file and how many of its bytes stay. `None` if no record is given up.
    pub cut: Option<(String, u64)>,
    /// The copies of the files that were changed or left out.
    pub copies: Vec<String>,
}

impl Repair {
    fn of(survey: &Survey) -> Self {
        Self {
            kept_last: survey.kept_last,
            records_lost: survey.records_lost,
            sequences_lost: survey.sequences_lost,
            cut: survey.cut.map(|cut| (file_name(cut.number), cut.offset)),
            copies: Vec::new(),
        }
    }
}

/// What [`repair`] would do; nothing is changed.
pub fn losses(files: &dyn Files, first_number: u64) -> Result<Repair> {
    Ok(Repair::of(&Survey::of(files, first_number)?))
}

/// Keeps the log from the file `first_number` on up to its first damage. A log without damage is left as it is.
pub fn repair(files: &Arc<dyn Files>, first_number: u64) -> Result<Repair> {
    sweep(files.as_ref(), DIRECTORY)?;
    let survey = Survey::of(files.as_ref(), first_number)?;
    if let Some(error) = survey.unreadable {
        return Err(error.at("nothing was repaired, a file cannot be read"));
    }
    let mut done = Repair::of(&survey);
    if let Some(cut) = survey.cut {
        for &number in survey.numbers.iter().rev().take_while(|&&number| number > cut.number) {
            done.copies.push(copy_aside(files, &file_name(number))?);
            remove(files, number)?;
        }
        let there = survey.numbers.contains(&cut.number);
        done.copies.extend(cut_file(files, &cut, there, first_number)?);
    }
    for header in survey.headers.iter().filter(|header| survey.cut.is_none_or(|cut| header.number < cut.number)) {
        done.copies.push(copy_aside(files, &file_name(header.number))?);
        let length = files.length(&file_name(header.number))?;
        rewrite(files, header, length)?;
    }
    Ok(done)
}

/// Keeps of the file at the cut what is whole.
fn cut_file(files: &Arc<dyn Files>, cut: &Cut, there: bool, first_number: u64) -> Result<Option<String>> {
    let copy = if there { Some(copy_aside(files, &file_name(cut.number))?) } else { None };
    let header_bytes = FILE_HEADER_BYTES as u64;
    if cut.offset >= header_bytes || cut.number == first_number {
        rewrite(files, &cut.header, cut.offset.max(header_bytes))?;
    } else if there {
        remove(files, cut.number)?;
    }
    Ok(copy)
}

/// Removes the log file `number`, durably.
fn remove(files: &Arc<dyn Files>, number: u64) -> Result<()> {
    files.remove(&file_name(number))?;
    files.sync_directory(DIRECTORY)
}

/// Writes a log file anew: `header`, and what follows it up to `length`.
fn rewrite(files: &Arc<dyn Files>, header: &FileHeader, length: u64) -> Result<()> {
    let name = file_name(header.number);
    files.create_directory(DIRECTORY)?;
    publish(files, &name, |file| {
        file.append(&header.encode())?;
        copy_bytes(files.as_ref(), &name, FILE_HEADER_BYTES as u64, length, file)
    })
}
