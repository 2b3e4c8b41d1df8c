//! A stream of batches into one table; the acknowledgements are read as they come.

use std::fmt;
use std::sync::Arc;

use firn_client::{Error, Kind, Written};
use pyo3::prelude::*;
use serde_json::json;
use tokio::sync::{Mutex, watch};

use crate::call::Call;
use crate::connection::{duration, ready};
use crate::error::Failure;
use crate::runtime::Ours;
use crate::table::Table;

/// An open stream. What fails, times out or is cancelled ends it.
#[pyclass(frozen, module = "firndb._native")]
pub(crate) struct Writer {
    stream: Ours<Arc<Mutex<Option<firn_client::Writer>>>>,
    written: Ours<watch::Receiver<Written>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    pub(crate) fn new(stream: firn_client::Writer) -> Self {
        let written = stream.written();
        Self { stream: Ours::new(Arc::new(Mutex::new(Some(stream)))), written: Ours::new(written) }
    }

    /// The stream, or none in a process that was forked from its own.
    fn stream(&self) -> Arc<Mutex<Option<firn_client::Writer>>> {
        self.stream.get().map_or_else(Arc::default, Arc::clone)
    }
}

/// What was acknowledged, as JSON.
pub(crate) fn written_json(written: &Written) -> String {
    json!({
        "batches": written.batches,
        "rows": written.rows,
        "read_position": written.read_position,
        "acknowledged": written.acknowledged,
        "durable_position": written.durable_position,
        "duplicates": written.duplicates,
        "bad_rows": written.bad_rows,
        "bad_row_count": written.bad_row_count,
    })
    .to_string()
}

fn ended() -> Failure {
    Error::new(Kind::Cancelled, "the stream has ended").into()
}

#[pymethods]
impl Writer {
    /// Sends one batch; false if the stream has ended, of which finishing says why.
    fn send(&self, py: Python<'_>, batch: &Table, timeout: Option<f64>) -> PyResult<Call> {
        let (stream, batch) = (self.stream(), batch.whole()?);
        Ok(Call::new(duration(py, timeout)?, async move {
            let mut held = stream.lock().await;
            let mut stream = held.take().ok_or_else(ended)?;
            let sent = match stream.send(&batch).await {
                Err(error) if error.kind() != Kind::Cancelled => return Err(error.into()),
                sent => sent.is_ok(),
            };
            *held = Some(stream);
            Ok(ready(sent))
        }))
    }

    /// Ends the stream and waits for the last acknowledgement: what was acknowledged, and what ended it if it failed.
    fn finish(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Call> {
        let stream = self.stream();
        Ok(Call::new(duration(py, timeout)?, async move {
            let stream = stream.lock().await.take().ok_or_else(ended)?;
            let (written, end) = stream.finish().await;
            let json = written_json(&written);
            Ok(Box::new(move |py: Python<'_>| {
                let error = end.err().map(|error| crate::error::raise(py, &error).into_value(py));
                pyo3::IntoPyObjectExt::into_py_any((json, error), py)
            }) as crate::call::Finish)
        }))
    }

    /// What has been acknowledged so far, as JSON.
    fn written(&self) -> String {
        self.written.get().map_or_else(|| written_json(&Written::default()), |written| written_json(&written.borrow()))
    }

    /// Ends the stream without waiting.
    fn abandon(&self) {
        if let Some(Ok(mut stream)) = self.stream.get().map(|stream| stream.try_lock()) {
            *stream = None;
        }
    }
}
