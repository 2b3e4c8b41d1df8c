//! A call that has not begun: it is waited for on the caller's thread, or awaited by an event loop.
//!
//! Both end in time: a call that was given a time-out is dropped when it has passed, and with it its stream. While a
//! thread waits, others of the interpreter run, and an interrupt from the keyboard ends the wait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use firn_client::{Error, Kind};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::error::Failure;
use crate::runtime;

/// Turns an outcome into what Python sees, on a thread that holds the interpreter.
pub(crate) type Finish = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
type Work = Pin<Box<dyn Future<Output = Result<Finish, Failure>> + Send>>;

/// How often a waiting thread looks whether it was interrupted.
const INTERRUPTED_EVERY: Duration = Duration::from_millis(100);

/// One step of talking to the server.
#[pyclass(frozen, module = "firndb._native")]
pub(crate) struct Call {
    work: Mutex<Option<Work>>,
    timeout: Option<Duration>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Call {
    /// A call that does `work` within `timeout`.
    pub(crate) fn new<W>(timeout: Option<Duration>, work: W) -> Self
    where
        W: Future<Output = Result<Finish, Failure>> + Send + 'static,
    {
        Self { work: Mutex::new(Some(Box::pin(work))), timeout }
    }

    fn begun(&self) -> PyResult<Work> {
        let mut work = self.work.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        work.take().ok_or_else(|| PyRuntimeError::new_err("a call can be waited for once"))
    }
}

/// What a call that took too long ends with.
fn too_late(timeout: Duration) -> Failure {
    let seconds = timeout.as_secs_f64();
    let message = format!(
        "no answer within {seconds} s (`timeout`); the server is gone, stalled or busy, or the call needs a longer one"
    );
    Failure::Firn(Error::new(Kind::DeadlineExceeded, message))
}

/// `work`, or an error when its time has passed.
async fn in_time(work: Work, timeout: Option<Duration>) -> Result<Finish, Failure> {
    let Some(timeout) = timeout else { return work.await };
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(too_late(timeout)))
}

/// Wakes a thread that is parked.
#[derive(Debug)]
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Does `work` on this thread, which sleeps while there is nothing to do. The runtime's own way to wait would set a timer
/// for each call, and setting one wakes the thread that watches the sockets: a fourth of a short call.
fn on_this_thread(runtime: &Handle, mut work: Work, timeout: Option<Duration>) -> Result<Finish, Failure> {
    let _entered = runtime.enter();
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let begun = Instant::now();
    let mut looked = begun;
    loop {
        if let Poll::Ready(ended) = work.as_mut().poll(&mut context) {
            return ended;
        }
        let left = timeout.map(|timeout| (timeout, timeout.saturating_sub(begun.elapsed())));
        if let Some((timeout, Duration::ZERO)) = left {
            return Err(too_late(timeout));
        }
        std::thread::park_timeout(left.map_or(INTERRUPTED_EVERY, |(_, left)| left.min(INTERRUPTED_EVERY)));
        if looked.elapsed() >= INTERRUPTED_EVERY {
            looked = Instant::now();
            Python::attach(|py| py.check_signals())?;
        }
    }
}

#[pymethods]
impl Call {
    /// Waits for the outcome on this thread.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (work, timeout) = (self.begun()?, self.timeout);
        let runtime = runtime::handle()?;
        let ended = py.detach(move || on_this_thread(&runtime, work, timeout));
        ended.and_then(|finish| Ok(finish(py)?)).map_err(|failure| failure.raise(py))
    }

    /// Begins the call and answers a future of `event_loop` that has its outcome. Cancelling that drops the call.
    fn begin<'py>(&self, event_loop: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (work, timeout) = (self.begun()?, self.timeout);
        let future = event_loop.call_method0("create_future")?;
        let (settled, waiting) = (future.clone().unbind(), event_loop.unbind());
        let task = runtime::handle()?.spawn(async move {
            let ended = in_time(work, timeout).await;
            // While the interpreter ends nobody waits any more.
            Python::try_attach(|py| settle(py, &waiting, &settled, ended));
        });
        let ended = Py::new(future.py(), Ended { task: task.abort_handle() })?;
        future.call_method1("add_done_callback", (ended,))?;
        Ok(future)
    }
}

/// Hands the outcome over to the thread of the event loop.
fn settle(py: Python<'_>, event_loop: &Py<PyAny>, future: &Py<PyAny>, ended: Result<Finish, Failure>) {
    let outcome = ended.and_then(|finish| Ok(finish(py)?));
    let (value, error) = match outcome {
        Ok(value) => (Some(value), None),
        Err(failure) => (None, Some(failure.raise(py).into_value(py).into_any())),
    };
    let Ok(settle) = Py::new(py, Settle { future: future.clone_ref(py), value, error }) else { return };
    // A loop that is closed has nobody who waits.
    drop(event_loop.call_method1(py, "call_soon_threadsafe", (settle,)));
}

/// What the thread of the event loop does with an outcome.
#[pyclass(frozen)]
#[derive(Debug)]
struct Settle {
    future: Py<PyAny>,
    value: Option<Py<PyAny>>,
    error: Option<Py<PyAny>>,
}

#[pymethods]
impl Settle {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        if self.future.call_method0(py, "done")?.is_truthy(py)? {
            return Ok(());
        }
        match &self.error {
            Some(error) => self.future.call_method1(py, "set_exception", (error,))?,
            None => self.future.call_method1(py, "set_result", (&self.value,))?,
        };
        Ok(())
    }
}

/// Ends the task of a future that is done, be it by cancelling.
#[pyclass(frozen)]
#[derive(Debug)]
struct Ended {
    task: AbortHandle,
}

#[pymethods]
impl Ended {
    fn __call__(&self, _future: &Bound<'_, PyAny>) {
        self.task.abort();
    }
}
