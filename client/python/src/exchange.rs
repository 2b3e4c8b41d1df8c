//! Streams that are open for longer than one call: exchanges of requests and answers, and scans that are read bit by bit.
//!
//! An exchange never waits for room to send while the server waits for it to read: what comes meanwhile is kept.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use firn_client::{Answers, Client, Error, Kind, Message, Parts, Requests};
use pyo3::prelude::*;
use tokio::sync::Mutex;

use crate::call::Call;
use crate::connection::{duration, metadata, ready};
use crate::error::Failure;
use crate::runtime::Ours;
use crate::table::Table;

/// An open stream. A call on it that fails, times out or is cancelled ends it; an error in band does not.
#[pyclass(frozen, module = "firndb._native")]
pub(crate) struct Exchange {
    stream: Ours<Arc<Mutex<Option<Stream>>>>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange")
    }
}

struct Stream {
    /// None when no more requests follow.
    requests: Option<Requests>,
    answers: Answers,
    arrived: VecDeque<Message>,
}

impl Stream {
    /// Sends a request. If the stream has ended, its answers say why.
    async fn send(&mut self, request: &Table) -> Result<(), Failure> {
        let Self { requests: Some(requests), answers, arrived } = self else {
            return Err(Error::invalid("the stream takes no more requests").into());
        };
        let batch = request.whole()?;
        let mut sent = pin!(requests.send(&batch));
        let mut reading = true;
        loop {
            tokio::select! {
                biased;
                sent = &mut sent => return match sent {
                    Err(error) if error.kind() == Kind::Cancelled => Ok(()),
                    sent => Ok(sent?),
                },
                message = answers.message(), if reading => match message? {
                    Some(message) => arrived.push_back(message),
                    None => reading = false,
                },
            }
        }
    }

    async fn message(&mut self) -> Result<Option<Message>, Failure> {
        match self.arrived.pop_front() {
            Some(message) => Ok(Some(message)),
            None => Ok(self.answers.message().await?),
        }
    }

    /// The next answer, whole: its rows, or its own error, after which the stream goes on.
    async fn answer(&mut self) -> Result<Result<(Table, String), Error>, Failure> {
        let mut batches = Vec::new();
        while let Some(Message { batch, answer }) = self.message().await? {
            let schema = batch.schema();
            batches.push(batch);
            if !answer.last {
                continue;
            }
            let said = metadata(&answer);
            return Ok(match answer.error {
                Some(error) => Err(error.into()),
                None => Ok((Table { schema, batches }, said)),
            });
        }
        Err(Error::new(Kind::Internal, "the server ended the stream before the answer was complete").into())
    }
}

impl Exchange {
    pub(crate) fn new(requests: Requests, answers: Answers) -> Self {
        let stream = Stream { requests: Some(requests), answers, arrived: VecDeque::new() };
        Self { stream: Ours::new(Arc::new(Mutex::new(Some(stream)))) }
    }

    /// The stream, or none in a process that was forked from its own.
    fn stream(&self) -> Arc<Mutex<Option<Stream>>> {
        self.stream.get().map_or_else(Arc::default, Arc::clone)
    }
}

fn ended() -> Failure {
    Error::new(Kind::Cancelled, "the stream has ended").into()
}

#[pymethods]
impl Exchange {
    /// Sends one request.
    fn send(&self, py: Python<'_>, request: &Table, timeout: Option<f64>) -> PyResult<Call> {
        let (stream, request) = (self.stream(), request.clone());
        Ok(Call::new(duration(py, timeout)?, async move {
            let mut held = stream.lock().await;
            // It comes back when the call ends well: whatever else happens drops it, and so ends the stream.
            let mut stream = held.take().ok_or_else(ended)?;
            stream.send(&request).await?;
            *held = Some(stream);
            Ok(ready(()))
        }))
    }

    /// The next answer, whole.
    fn answer(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Call> {
        let stream = self.stream();
        Ok(Call::new(duration(py, timeout)?, async move {
            let mut held = stream.lock().await;
            let mut stream = held.take().ok_or_else(ended)?;
            let answer = stream.answer().await?;
            *held = Some(stream);
            Ok(ready(answer?))
        }))
    }

    /// Sends one request and waits for its answer.
    fn ask(&self, py: Python<'_>, request: &Table, timeout: Option<f64>) -> PyResult<Call> {
        let (stream, request) = (self.stream(), request.clone());
        Ok(Call::new(duration(py, timeout)?, async move {
            let mut held = stream.lock().await;
            let mut stream = held.take().ok_or_else(ended)?;
            stream.send(&request).await?;
            let answer = stream.answer().await?;
            *held = Some(stream);
            Ok(ready(answer?))
        }))
    }

    /// Says that no more requests follow, and waits for the end of the stream.
    fn finish(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Call> {
        let stream = self.stream();
        Ok(Call::new(duration(py, timeout)?, async move {
            let Some(mut stream) = stream.lock().await.take() else { return Ok(ready(())) };
            stream.requests = None;
            while stream.message().await?.is_some() {}
            Ok(ready(()))
        }))
    }

    /// Whether it may still be used.
    #[getter]
    fn open(&self) -> bool {
        self.stream.get().is_some_and(|stream| stream.try_lock().is_ok_and(|stream| stream.is_some()))
    }

    /// Ends the stream without waiting for answers.
    fn abandon(&self) {
        // A call that is under way holds it, and drops it when it ends.
        if let Some(Ok(mut stream)) = self.stream.get().map(|stream| stream.try_lock()) {
            *stream = None;
        }
    }
}

/// A scan that is read batch by batch, one part after the other.
#[pyclass(frozen, module = "firndb._native")]
pub(crate) struct Reader {
    schema: Table,
    reading: Ours<Arc<Mutex<Option<Reading>>>>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("schema", &self.schema.schema).finish_non_exhaustive()
    }
}

struct Reading {
    client: Client,
    parts: Parts,
    next: usize,
    answers: Option<Answers>,
}

impl Reading {
    async fn batch(&mut self) -> Result<Option<Table>, Failure> {
        loop {
            if self.answers.is_none() {
                if self.next == self.parts.len() {
                    return Ok(None);
                }
                self.answers = Some(self.client.scan_part(&self.parts, self.next).await?);
                self.next += 1;
            }
            let Some(answers) = &mut self.answers else { continue };
            match answers.message().await? {
                Some(message) => return Ok(Some(Table::of_batch(message.batch))),
                None => self.answers = None,
            }
        }
    }
}

impl Reader {
    pub(crate) fn new(client: Client, parts: Parts) -> Self {
        let schema = Table { schema: Arc::new(parts.schema.clone()), batches: Vec::new() };
        let reading = Reading { client, parts, next: 0, answers: None };
        Self { schema, reading: Ours::new(Arc::new(Mutex::new(Some(reading)))) }
    }
}

#[pymethods]
impl Reader {
    /// The columns, without rows.
    fn empty(&self) -> Table {
        self.schema.clone()
    }

    /// The next batch, or None after the last.
    fn batch(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Call> {
        let reading = self.reading.get().map_or_else(Arc::default, Arc::clone);
        Ok(Call::new(duration(py, timeout)?, async move {
            let mut held = reading.lock().await;
            let mut reading = held.take().ok_or_else(ended)?;
            let batch = reading.batch().await?;
            *held = Some(reading);
            Ok(ready(batch))
        }))
    }
}
