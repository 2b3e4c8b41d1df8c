//! CSV, all of it text: records of the right length in batches, others set aside with what is wrong with them.
//!
//! Lines are counted and quotes watched byte by byte beside the parser, which takes the end of the file for the end of a
//! quote and would take a quote that nobody closes for the rest of the file.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::Result;
use super::given::{Broken, Given};

/// A record of more bytes is refused: it is a quote that nobody closed, more likely than a value.
const RECORD_BYTES_MAX: u64 = 64 << 20;

/// A CSV file that is being read.
pub(super) struct CsvReader {
    records: csv::Reader<Watch>,
    watched: Arc<Watched>,
    schema: SchemaRef,
    batch_rows: usize,
    ended: bool,
}

impl CsvReader {
    /// Reads `bytes`, whose first record is the header unless `names` are given.
    pub(super) fn open(bytes: Box<dyn Read + Send>, names: Option<&[String]>, batch_rows: usize) -> Result<Self> {
        let watched = Arc::new(Watched::default());
        let watch = Watch { bytes, state: State::FieldStart, line: 1, record_bytes: 0, told: Arc::clone(&watched) };
        let mut records = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(watch);
        let names: Vec<String> = match names {
            Some(names) => names.to_vec(),
            None => {
                let mut header = csv::StringRecord::new();
                records.read_record(&mut header).map_err(|error| error.to_string())?;
                header.iter().map(|name| name.trim().to_owned()).collect()
            }
        };
        let fields: Vec<Field> = names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        Ok(Self { records, watched, schema: Arc::new(Schema::new(fields)), batch_rows, ended: false })
    }

    /// The columns: text, by the names of the header.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn read(&mut self) -> Result<Option<Given>> {
        let width = self.schema.fields().len();
        let mut columns: Vec<StringBuilder> = (0..width).map(|_| StringBuilder::new()).collect();
        let (mut origins, mut broken) = (Vec::new(), Vec::new());
        let mut record = csv::ByteRecord::new();
        while origins.len() + broken.len() < self.batch_rows {
            if !self.records.read_byte_record(&mut record).map_err(|error| error.to_string())? {
                self.ended = true;
                self.watched.check_closed()?;
                break;
            }
            let line = record.position().map_or(0, csv::Position::line);
            let texts: Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
            match texts {
                Ok(texts) if texts.len() == width => {
                    for (column, text) in columns.iter_mut().zip(texts) {
                        // CSV cannot tell an empty text from none.
                        column.append_option(Some(text).filter(|text| !text.is_empty()));
                    }
                    origins.push(line);
                }
                found => {
                    let reason = match found {
                        Ok(texts) => format!("the line has {} fields, the header has {width}", texts.len()),
                        Err(_) => "the line is not UTF-8".to_owned(),
                    };
                    let fields = record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
                    broken.push(Broken { origin: line, fields, reason });
                }
            }
        }
        if origins.is_empty() && broken.is_empty() {
            return Ok(None);
        }
        let arrays = columns.into_iter().map(|mut column| Arc::new(column.finish()) as ArrayRef).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(|error| error.to_string())?;
        Ok(Some(Given { batch, origins, broken }))
    }
}

impl Iterator for CsvReader {
    type Item = Result<Given>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read();
        self.ended |= read.is_err();
        read.transpose()
    }
}

/// What is known of the bytes that were read, at their end.
#[derive(Debug, Default)]
struct Watched {
    /// The line of the quote that is open; 0 if none is.
    open_line: AtomicU64,
}

impl Watched {
    fn check_closed(&self) -> Result<()> {
        match self.open_line.load(Ordering::Relaxed) {
            0 => Ok(()),
            line => Err(format!("line {line}: the quote that opens there is never closed")),
        }
    }
}

/// Where in a record the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Bare,
    /// Behind a quote that opened in this line.
    Quoted(u64),
    /// Behind a quote that may end the field, or be the first of two.
    Closing(u64),
}

/// Bytes of CSV on their way to the parser.
struct Watch {
    bytes: Box<dyn Read + Send>,
    state: State,
    line: u64,
    record_bytes: u64,
    told: Arc<Watched>,
}

impl Watch {
    fn see(&mut self, byte: u8) {
        self.record_bytes += 1;
        let inside = matches!(self.state, State::Quoted(_));
        self.state = match (self.state, byte) {
            (State::Quoted(line), b'"') => State::Closing(line),
            (State::Closing(line), b'"') => State::Quoted(line),
            (State::Quoted(line), _) => State::Quoted(line),
            (State::FieldStart, b'"') => State::Quoted(self.line),
            (_, b',' | b'\n' | b'\r') => State::FieldStart,
            _ => State::Bare,
        };
        if byte == b'\n' {
            self.line += 1;
            if !inside {
                self.record_bytes = 0;
            }
        }
    }
}

impl Read for Watch {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(into)?;
        into[..read].iter().for_each(|&byte| self.see(byte));
        let open = if let State::Quoted(line) = self.state { line } else { 0 };
        self.told.open_line.store(open, Ordering::Relaxed);
        if self.record_bytes > RECORD_BYTES_MAX {
            let what = match open {
                0 => format!("the line before {} is longer than {RECORD_BYTES_MAX} bytes", self.line + 1),
                line => {
                    format!("line {line}: no quote closes the one that opens there within {RECORD_BYTES_MAX} bytes")
                }
            };
            return Err(io::Error::other(what));
        }
        Ok(read)
    }
}
