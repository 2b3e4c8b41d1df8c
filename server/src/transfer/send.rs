//! Sending the pieces of an import, each exactly once however often the import is run.
//!
//! Pieces are numbered from 1 and sent by one producer, whose name comes from what is imported. The server knows the
//! last one that it applied; an import that is run again asks for it and goes on after it.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use firn_client::wire::{ProducerStep, Put};
use firn_client::{Client, Error, Kind, Writer, Written};
use indicatif::ProgressBar;

use super::bad_rows::BadRowsFile;
use super::history::Staged;
use super::stage::Unread;
use super::{Piece, Result};

/// What became of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Rows applied now.
    pub(crate) rows: u64,
    /// Rows refused now.
    pub(crate) bad_rows: u64,
    /// Rows refused now that the server did not list.
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
    /// Batches that are not acknowledged.
    sent: VecDeque<RecordBatch>,
    /// How many are.
    batches: u64,
    rows: u64,
    bad_rows: usize,
    bad_row_count: u64,
}

impl<'a> Upload<'a> {
    /// An import that goes on after piece `applied` and reports to `bar`; bad rows go to the file, or end it if there is
    /// none.
    pub(crate) fn new(client: &'a Client, applied: u64, bad_rows: Option<BadRowsFile>, bar: ProgressBar) -> Self {
        Self { client, bad_rows, bar, last: 0, applied, stream: None, summary: Summary::default() }
    }

    /// Sends the next piece.
    pub(crate) async fn send(&mut self, (piece, unread): Staged) -> Result<()> {
        self.last += 1;
        if self.last <= self.applied {
            self.skip(&piece);
            return Ok(());
        }
        self.refuse_unread(&unread)?;
        self.note_unread(&unread)?;
        if self.stream.as_ref().is_some_and(|stream| stream.put != piece.put || stream.schema != piece.batch.schema()) {
            self.end_stream().await?;
        }
        let step = ProducerStep { producer_seq: self.last, previous: (self.last > 1).then(|| self.last - 1) };
        let stream = self.stream.get_or_insert_with(|| Stream::open(self.client, &piece));
        let sent = stream.writer.send_step(&piece.batch, step).await;
        stream.noted.sent.push_back(piece.batch);
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

    /// Ends the import before a batch of which rows do not read, if there is no file for them.
    fn refuse_unread(&self, unread: &[Unread]) -> Result<()> {
        match (unread.first(), &self.bad_rows) {
            (Some(first), None) => Err(format!(
                "{} rows do not read, the first for its column {}: {}; mend them, or give --bad-rows FILE to import the \
                 others",
                unread.len(),
                first.column,
                first.reason
            )),
            _ => Ok(()),
        }
    }

    fn note_unread(&mut self, unread: &[Unread]) -> Result<()> {
        self.summary.bad_rows += unread.len() as u64;
        self.bad_rows.as_mut().map_or(Ok(()), |file| file.unread(unread))
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
            for (place, batch) in (self.batches..).zip(&self.sent) {
                let of_batch: Vec<_> = news.iter().filter(|bad| bad.batch == place).collect();
                file.refused(batch, &of_batch)?;
            }
        }
        let mut sent = 0;
        for _ in self.batches..written.batches {
            sent += self.sent.pop_front().map_or(0, |batch| batch.num_rows() as u64);
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
