//! Sending the pieces of an import, each exactly once however often the import is run.
//!
//! Pieces are numbered from 1 and sent by one producer, whose name comes from what is imported. The server knows the
//! last one that it applied; an import that is run again asks for it and goes on after it.

use std::collections::VecDeque;

use arrow_array::BooleanArray;
use arrow_buffer::BooleanBuffer;
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use firn_client::wire;
use firn_client::wire::{ProducerStep, Put};
use firn_client::{Client, Error, Kind, Writer, Written};
use firn_storage::model::prove::BadRow;
use indicatif::ProgressBar;

use super::bad_rows::BadRowsFile;
use super::check::{Checked, by_row};
use super::{Piece, Result};

/// What became of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Rows applied now.
    pub(crate) rows: u64,
    /// Rows that the server refused now.
    pub(crate) bad_rows: u64,
    /// Rows that the server refused now and did not list.
    pub(crate) unlisted: u64,
    /// Rows that an earlier attempt had sent.
    pub(crate) before: u64,
}

/// An import on its way.
#[derive(Debug)]
pub(crate) struct Upload<'a> {
    client: &'a Client,
    bad_rows: Option<BadRowsFile>,
    bar: ProgressBar,
    /// The number of the last piece that was handed in.
    last: u64,
    /// Pieces up to this one had been applied before.
    applied: u64,
    stream: Option<Stream>,
    summary: Summary,
}

/// One stream: pieces that do the same with the same columns.
#[derive(Debug)]
struct Stream {
    put: Put,
    schema: SchemaRef,
    writer: Writer,
    noted: Noted,
}

/// What of a stream is acknowledged and written down.
#[derive(Debug, Default)]
struct Noted {
    /// Pieces that are not acknowledged.
    sent: VecDeque<Piece>,
    /// How many are.
    batches: u64,
    rows: u64,
    bad_rows: usize,
    bad_row_count: u64,
}

impl<'a> Upload<'a> {
    /// An import that goes on after piece `applied` and reports to `bar`. Rows that the server refuses go to the file, or end
    /// the import if there is none.
    pub(crate) fn new(client: &'a Client, applied: u64, bad_rows: Option<BadRowsFile>, bar: ProgressBar) -> Self {
        Self { client, bad_rows, bar, last: 0, applied, stream: None, summary: Summary::default() }
    }

    /// Sends the rows of the next piece that `checked` found good.
    pub(crate) async fn send(&mut self, piece: Piece, checked: &Checked) -> Result<()> {
        self.last += 1;
        if self.last <= self.applied {
            self.skip(&piece);
            return Ok(());
        }
        let piece = match checked.good.get(&self.last) {
            Some(good) => good_rows(&piece, good)?,
            None => piece,
        };
        if self.stream.as_ref().is_some_and(|stream| stream.put != piece.put || stream.schema != piece.batch.schema()) {
            self.end_stream().await?;
        }
        let step = ProducerStep { producer_seq: self.last, previous: (self.last > 1).then(|| self.last - 1) };
        let stream = self.stream.get_or_insert_with(|| Stream::open(self.client, &piece));
        let sent = stream.writer.send_step(&piece.batch, step).await;
        stream.noted.sent.push_back(piece);
        if sent.is_err() {
            // The end of the stream says why.
            return self.end_stream().await;
        }
        let written = stream.writer.written();
        stream.noted.note(&written.borrow(), self.bad_rows.as_mut(), &mut self.summary, &self.bar)
    }

    /// Ends the import.
    pub(crate) async fn finish(mut self) -> Result<Summary> {
        self.end_stream().await?;
        self.bar.finish_and_clear();
        Ok(self.summary)
    }

    fn skip(&mut self, piece: &Piece) {
        self.summary.before += piece.batch.num_rows() as u64;
        self.bar.inc(piece.batch.num_rows() as u64);
    }

    /// Waits for the last acknowledgement of the stream.
    async fn end_stream(&mut self) -> Result<()> {
        let Some(stream) = self.stream.take() else { return Ok(()) };
        let mut noted = stream.noted;
        let (written, end) = stream.writer.finish().await;
        noted.note(&written, self.bad_rows.as_mut(), &mut self.summary, &self.bar)?;
        end.map_err(|error| self.stopped(&error))
    }

    fn stopped(&self, error: &Error) -> String {
        let message = error.message();
        let again = "what was acknowledged stays; run the same command again to go on where it stopped";
        let mend = match (error.kind(), &self.bad_rows) {
            (Kind::Invalid, None) => ", or with --bad-rows FILE to import all other rows",
            _ => "",
        };
        format!("the import stopped: {message}\n{again}{mend}")
    }
}

impl Stream {
    fn open(client: &Client, piece: &Piece) -> Self {
        let schema = piece.batch.schema();
        let writer = client.writer(piece.put.clone(), SchemaRef::clone(&schema));
        Self { put: piece.put.clone(), schema, writer, noted: Noted::default() }
    }
}

impl Noted {
    /// Writes down what was acknowledged since the last time.
    fn note(
        &mut self,
        written: &Written,
        file: Option<&mut BadRowsFile>,
        summary: &mut Summary,
        bar: &ProgressBar,
    ) -> Result<()> {
        if let Some(file) = file {
            let news = &written.bad_rows[self.bad_rows..];
            for (place, piece) in (self.batches..).zip(&self.sent) {
                let of_piece: Vec<BadRow> = news.iter().filter(|bad| bad.batch == place).map(as_proven).collect();
                for (row, bad) in by_row(&of_piece) {
                    file.refused(piece, row, &bad, BadRowsFile::BY_SERVER)?;
                }
            }
            if !news.is_empty() {
                file.sync()?;
            }
        }
        let mut sent = 0;
        for _ in self.batches..written.batches {
            sent += self.sent.pop_front().map_or(0, |piece| piece.batch.num_rows() as u64);
        }
        let applied = written.rows - self.rows;
        let listed = (written.bad_rows.len() - self.bad_rows) as u64;
        summary.rows += applied;
        summary.bad_rows += sent.saturating_sub(applied);
        summary.unlisted += (written.bad_row_count - self.bad_row_count).saturating_sub(listed);
        bar.inc(sent);
        (self.batches, self.rows) = (written.batches, written.rows);
        (self.bad_rows, self.bad_row_count) = (written.bad_rows.len(), written.bad_row_count);
        Ok(())
    }
}

/// The rows of `piece` that are `good`.
fn good_rows(piece: &Piece, good: &BooleanBuffer) -> Result<Piece> {
    let batch =
        filter_record_batch(&piece.batch, &BooleanArray::from(good.clone())).map_err(|error| error.to_string())?;
    let origins = good.set_indices().map(|row| piece.origins[row]).collect();
    Ok(Piece { put: piece.put.clone(), batch, origins })
}

fn as_proven(bad: &wire::BadRow) -> BadRow {
    BadRow { row: bad.row as u32, column: bad.column.clone(), reason: bad.reason.clone() }
}
