//! `firn verify` for the log: reads everything, changes nothing, reports all damage.

use super::names::{file_name, file_numbers};
use super::reader::{Next, Reader};
use super::record::{FileHeader, Link};
use super::replay::{NOT_CLOSED, broken_link, is_torn};
use crate::error::{Error, Kind, Result};
use crate::io::Files;
use crate::time::Sequence;

/// Something that does not check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the file.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
    /// Whether the database refuses to open because of it. The torn end of the last group is found, but is no damage.
    pub damage: bool,
}

/// Everything in the log from the file `first_number` on that does not check, in order.
pub fn verify(files: &dyn Files, first_number: u64) -> Result<Vec<Finding>> {
    Ok(Survey::of(files, first_number)?.findings)
}

/// What there is to keep and what there is to lose.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) findings: Vec<Finding>,
    /// The files, in order, from the first one that is needed.
    pub(super) numbers: Vec<u64>,
    /// Files of which only the header is damaged, and what it must have been.
    pub(super) headers: Vec<FileHeader>,
    /// Where the log stops being whole.
    pub(super) cut: Option<Cut>,
    /// The greatest sequence before the cut; 0 if there is none.
    pub(super) kept_last: Sequence,
    /// Whole records after the cut.
    pub(super) records_lost: u64,
    /// The failure to read a file, if there was one.
    pub(super) unreadable: Option<Error>,
    /// The first and last sequence of those records.
    pub(super) sequences_lost: Option<(Sequence, Sequence)>,
}

/// The end of the whole part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) number: u64,
    /// Bytes of the file that are whole; 0 if the file does not belong here at all.
    pub(super) offset: u64,
    /// What the header of the file is, or must have been.
    pub(super) header: FileHeader,
}

/// How the log stands where a file begins.
#[derive(Debug, Clone, Copy)]
struct Before {
    /// The file before; `None` before the first.
    number: Option<u64>,
    /// The end of the file before, if it is whole.
    link: Option<Link>,
    last: Sequence,
}

impl Survey {
    /// Reads the log from the file `first_number` on.
    pub(super) fn of(files: &dyn Files, first_number: u64) -> Result<Self> {
        let mut numbers = file_numbers(files)?;
        numbers.retain(|&number| number >= first_number);
        let mut survey = Self { numbers, ..Self::default() };
        if survey.numbers.first() != Some(&first_number) {
            let header = FileHeader { number: first_number, previous: None };
            survey.damage(&header, 0, "the file is missing".to_owned());
        }
        let mut before = Before { number: None, link: None, last: 0 };
        for (index, number) in survey.numbers.clone().into_iter().enumerate() {
            let is_last = index + 1 == survey.numbers.len();
            before = match survey.file(files, number, before, is_last) {
                Ok(before) => before,
                Err(error) if error.kind() == Kind::Io => {
                    // Damage like any other to the reader of a report, but nothing to repair by leaving it out.
                    let header = FileHeader { number, previous: before.link };
                    survey.damage(&header, 0, error.to_string());
                    survey.unreadable.get_or_insert(error);
                    Before { number: Some(number), link: None, last: before.last }
                }
                Err(error) => return Err(error),
            };
        }
        Ok(survey)
    }

    /// Reads one file.
    fn file(&mut self, files: &dyn Files, number: u64, before: Before, is_last: bool) -> Result<Before> {
        let expected = FileHeader { number, previous: before.link };
        let mut reader = match Reader::open(files, number, before.last)? {
            Ok(reader) => {
                if let Some(what) = self.broken(reader.header(), before) {
                    self.damage(&expected, 0, what);
                }
                reader
            }
            Err(damage) => {
                let Some(mut reader) = Reader::with_header(files, expected, before.last)? else {
                    self.damage(&expected, damage.offset, damage.what);
                    return Ok(Before { number: Some(number), link: None, last: before.last });
                };
                if self.cut.is_none() && follows(&mut reader, before)? {
                    self.find(&file_name(number), damage.offset, damage.what, true);
                    self.headers.push(expected);
                } else {
                    self.damage(&expected, damage.offset, damage.what);
                }
                reader
            }
        };
        let whole = self.records(&mut reader, is_last)?;
        let link = whole.then(|| reader.link());
        Ok(Before { number: Some(number), link, last: reader.last() })
    }

    /// Why the file with `header` does not follow the one before it.
    fn broken(&self, header: &FileHeader, before: Before) -> Option<String> {
        match (before.link, before.number, header.previous) {
            (Some(link), _, _) => broken_link(header, &link),
            // The file before is damaged, which was said already; that it is the right one can still be told.
            (None, Some(number), Some(previous)) if previous.number != number => {
                Some(format!("the file before it, {}, is missing", file_name(previous.number)))
            }
            _ => None,
        }
    }

    /// Reads the records of a file; whether all of them and the end of the file are whole.
    fn records(&mut self, reader: &mut Reader<'_>, is_last: bool) -> Result<bool> {
        let mut whole = true;
        loop {
            match reader.next()? {
                Next::Record(stored) => {
                    let (first, last) = (stored.header.first, stored.header.last);
                    self.count(first, last);
                }
                Next::End => {}
                Next::Finished => {
                    if !is_last && !reader.ended() {
                        let offset = reader.offset();
                        self.damage(&reader.header().clone(), offset, NOT_CLOSED.to_owned());
                        whole = false;
                    }
                    return Ok(whole);
                }
                Next::Damage(damage) => {
                    if is_last && is_torn(reader, &damage)? {
                        let bytes = reader.length() - damage.offset;
                        let what = format!("{bytes} bytes of a write that a crash cut short; {}", damage.what);
                        self.find(reader.name(), damage.offset, what, false);
                        return Ok(whole);
                    }
                    whole = false;
                    self.damage(&reader.header().clone(), damage.offset, damage.what);
                    match reader.find(damage.offset, |_| true)? {
                        Some(offset) => reader.resume(offset)?,
                        None => return Ok(false),
                    }
                }
            }
        }
    }

    /// Counts a whole record to what is kept or to what is lost.
    fn count(&mut self, first: Sequence, last: Sequence) {
        if self.cut.is_none() {
            self.kept_last = self.kept_last.max(last);
            return;
        }
        self.records_lost += 1;
        if first <= last {
            let (low, high) = self.sequences_lost.unwrap_or((first, last));
            self.sequences_lost = Some((low.min(first), high.max(last)));
        }
    }

    /// Notes damage; the first ends the whole part of the log.
    fn damage(&mut self, header: &FileHeader, offset: u64, what: String) {
        self.find(&file_name(header.number), offset, what, true);
        self.cut.get_or_insert(Cut { number: header.number, offset, header: *header });
    }

    fn find(&mut self, file: &str, offset: u64, what: String, damage: bool) {
        self.findings.push(Finding { file: file.to_owned(), offset, what, damage });
    }
}

/// Whether the records of a file whose header is damaged follow those before it. They name their file and place
/// themselves, so that they can be kept if no sequence is missing between.
fn follows(reader: &mut Reader<'_>, before: Before) -> Result<bool> {
    Ok(before.number.is_none() || reader.first_sequence()? == Some(before.last + 1))
}
