//! The upload of the log: what is durable on the local disk goes up in the order in which it was written, and who waits for
//! the bucket is answered in that order.
//!
//! The pieces are read from the local files of the log, which stay until they are in the bucket: so a bucket that is down
//! costs disk, not memory, and after a restart the upload goes on. An object that may have landed is only ever tried again
//! with the same bytes: another content could be overwritten later by the first.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::log_object::{self, LogHeader, Piece};
use super::tail::{Begun, Done, LogTail};
use super::{Home, names};
use crate::error::{Error, Kind, Result};
use crate::published::Published;
use crate::time::{Micros, Sequence};
use crate::wal;

/// One object of the log is about as long at most.
const OBJECT_BYTES_MAX: u64 = 8 << 20;
/// After an error it is tried again that soon, however long what nobody waits for may wait: somebody may.
const FAILED_REST_MAX: Duration = Duration::from_secs(1);

impl Home {
    /// Takes note that the local disk has the log up to `tail`.
    pub fn note_tail(&self, tail: LogTail) {
        let mut known = self.upload.tail.lock();
        assert!(
            (tail.file, tail.bytes, tail.sequence) >= (known.file, known.bytes, known.sequence),
            "a log only grows"
        );
        let grew = if tail.file == known.file { tail.bytes - known.bytes } else { tail.bytes };
        self.upload.backlog_bytes.fetch_add(grew, Ordering::SeqCst);
        *known = tail;
    }

    /// Calls `then` once the commit `sequence`, which the local disk has, is in the bucket, or will not be.
    pub fn when_durable(&self, sequence: Sequence, then: impl FnOnce(Result<()>) + Send + 'static) {
        let known = {
            // Under the lock that answers are given under, so that none passes by.
            let mut waiting = self.upload.waiting.lock();
            if self.durable().sequence() >= sequence {
                Ok(())
            } else if let Some(error) = self.poison.get() {
                Err(error.clone())
            } else {
                waiting.push_back((sequence, Box::new(then)));
                drop(waiting);
                return self.upload.bell.ring();
            }
        };
        then(known);
    }

    /// The commits that are in the bucket.
    pub fn durable(&self) -> &Published {
        &self.upload.durable
    }

    /// Up to here a node that restores from the bucket gives no ingest time.
    pub(crate) fn promised(&self) -> Micros {
        self.upload.ceiling.there()
    }

    /// Sees to it that a node that restores from the bucket gives no ingest time at or below `bound`. The bucket is waited for no
    /// longer than `wait`.
    pub(crate) fn promise(&self, bound: Micros, wait: Duration) -> Result<()> {
        let ceiling = &self.upload.ceiling;
        if ceiling.there() < bound {
            ceiling.ask(bound);
            self.wake();
        }
        ceiling.wait(bound, wait)
    }

    /// Bytes of the log that the bucket lacks.
    pub fn backlog_bytes(&self) -> u64 {
        self.upload.backlog_bytes.load(Ordering::SeqCst)
    }

    /// Why writes must wait, if the bucket lacks too much of the log.
    pub fn overload(&self) -> Option<Error> {
        let (bytes, most) = (self.backlog_bytes(), self.options.policy.backlog_bytes_max);
        (bytes > most).then(|| {
            Error::exhausted(format!(
                "the bucket lacks {bytes} bytes of the log, more than bucket-backlog-bytes-max ({most}): it does not answer, or \
                 not fast enough; send again when it does"
            ))
        })
    }

    /// The first file of the log that the bucket may lack: it and those after it stay.
    pub fn first_file_missing(&self) -> u64 {
        self.upload.file.load(Ordering::SeqCst)
    }

    /// Sends up everything that the local disk has of the log, and the ceiling that was asked for if that lacks.
    pub(super) fn pump(&self, ceiling: Micros) -> Result<()> {
        let mut done = self.upload.done.lock();
        loop {
            if done.begun.is_none() {
                let tail = *self.upload.tail.lock();
                if done.tail == tail && !self.upload.ceiling.lacks() {
                    return Ok(());
                }
                done.begun = Some(self.next_object(&done, tail, ceiling.max(self.upload.ceiling.asked()))?);
            }
            let Some(Begun { bytes, chain, reached, ceiling, sent }) = &done.begun else {
                unreachable!("it was just begun")
            };
            self.put_once(&names::log(self.epoch(), done.next), bytes.clone())?;
            self.check()?;
            let (chain, reached, ceiling, sent) = (*chain, *reached, *ceiling, *sent);
            self.upload.bytes.fetch_add(sent, Ordering::Relaxed);
            let number = done.next;
            done.objects.push_back((number, reached.file));
            *done = Done {
                tail: reached,
                next: number + 1,
                chain,
                objects: std::mem::take(&mut done.objects),
                begun: None,
            };
            // The ends of closed files are sent and were not counted.
            let less = |bytes: u64| Some(bytes.saturating_sub(sent));
            let _ = self.upload.backlog_bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
            self.upload.file.store(reached.file, Ordering::SeqCst);
            self.upload.durable.publish(reached.sequence);
            self.upload.ceiling.put(ceiling);
            self.upload.answer(reached.sequence);
        }
    }

    /// The pieces between two places.
    fn pieces(&self, from: LogTail, to: LogTail) -> Result<Vec<Piece>> {
        let numbers = wal::file_numbers(self.files.as_ref())?;
        let numbers = numbers.into_iter().filter(|number| (from.file..=to.file).contains(number));
        let piece = |file: u64| {
            let end = if file == to.file { to.bytes } else { self.files.length(&wal::file_name(file))? };
            let offset = if file == from.file { from.bytes } else { 0 };
            Ok(Piece { file, offset, length: end - offset })
        };
        numbers.map(piece).collect()
    }

    /// The next object, of as much as one holds up to `tail`.
    fn next_object(&self, done: &Done, tail: LogTail, ceiling: Micros) -> Result<Begun> {
        let (mut pieces, mut reached) = (self.pieces(done.tail, tail)?, tail);
        let mut left = OBJECT_BYTES_MAX;
        for (place, piece) in pieces.iter_mut().enumerate() {
            if piece.length > left {
                // Never within the header of a file: only the first piece is cut.
                let cut = if place == 0 { left } else { 0 };
                piece.length = cut;
                reached = LogTail { file: piece.file, bytes: piece.offset + cut, sequence: done.tail.sequence };
                pieces.truncate(place + 1);
                break;
            }
            left -= piece.length;
        }
        pieces.retain(|piece| piece.length > 0);
        let mut body = vec![0; pieces.iter().map(|piece| piece.length as usize).sum()];
        let mut into = body.as_mut_slice();
        for piece in &pieces {
            let (now, later) = into.split_at_mut(piece.length as usize);
            self.files.read_at(&wal::file_name(piece.file), piece.offset, now)?;
            into = later;
        }
        let header = LogHeader {
            database: self.database,
            epoch: self.epoch(),
            number: done.next,
            nonce: self.claim.nonce.clone(),
            chain: done.chain,
            sequence: reached.sequence,
            ceiling,
            pieces,
        };
        let (bytes, chain) = log_object::encode(&header, &body);
        Ok(Begun { bytes, chain, reached, ceiling, sent: body.len() as u64 })
    }

    /// The first object that holds a piece of the file `first` or of a later one; the objects before it, which a root that says
    /// so lets go.
    pub(super) fn replay_from(&self, first: u64) -> (u64, Vec<u64>) {
        let done = self.upload.done.lock();
        let needed = done.objects.iter().position(|(_, last)| *last >= first).unwrap_or(done.objects.len());
        let replay = done.objects.get(needed).map_or(done.next, |(number, _)| *number);
        (replay, done.objects.iter().take(needed).map(|(number, _)| *number).collect())
    }

    /// How many objects of the log before `replay` may still be there.
    pub(super) fn log_before(&self, replay: u64) -> usize {
        self.upload.done.lock().objects.iter().filter(|(number, _)| *number < replay).count()
    }

    /// Forgets the objects before `replay`, which are deleted.
    pub(super) fn forget_before(&self, replay: u64) {
        self.upload.done.lock().objects.retain(|(number, _)| *number >= replay);
    }

    /// Answers all who wait: the bucket will not have their commits from this process.
    pub(super) fn give_up(&self, error: &Error) {
        self.upload.durable.fail(error.clone());
        self.upload.ceiling.fail(error.clone());
        let waiting = std::mem::take(&mut *self.upload.waiting.lock());
        waiting.into_iter().for_each(|(_, then)| then(Err(error.clone())));
    }

    /// Sends up what there is, again and again, until `stop` says so; then once more.
    pub(crate) fn upload_until(&self, stop: impl Fn() -> bool, ceiling: impl Fn() -> Micros) {
        let _guard = Guard(self);
        let mut heard = 0;
        loop {
            let stopping = stop();
            let mut rest = self.options.policy.upload_interval;
            match self.pump(ceiling()) {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::Poisoned => {
                    self.poison_on(&error);
                    return self.give_up(&error);
                }
                Err(error) => {
                    tracing::warn!(%error, backlog_bytes = self.backlog_bytes(), "the log could not be sent to the bucket");
                    if stopping {
                        return self.give_up(&error);
                    }
                    rest = rest.min(FAILED_REST_MAX);
                }
            }
            if stopping {
                return self.give_up(&Error::new(Kind::Unavailable, "the database is being closed"));
            }
            self.upload.bell.wait(&mut heard, rest);
        }
    }
}

/// Answers all who wait if the thread that would answer them panics.
struct Guard<'a>(&'a Home);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = Error::new(
                Kind::Poisoned,
                "the thread that sends the log to the bucket met a defect; open the database again",
            );
            self.0.poison_on(&error);
            self.0.give_up(&error);
        }
    }
}
