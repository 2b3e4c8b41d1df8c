//! A connection of this process: each method is a [`Call`] that talks to the server by the Rust client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use firn_client::wire::{Answer, Command, ProducerStep};
use firn_client::{Client, Error, Options, Parts, Tls};
use futures::stream::{self, StreamExt, TryStreamExt};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use tokio::sync::OnceCell;

use crate::call::{Call, Finish};
use crate::error::{Failure, invalid, raise};
use crate::exchange::{Exchange, Reader};
use crate::runtime::OfProcess;
use crate::table::Table;
use crate::writer::{Writer, written_json};

/// How many parts of a scan are read at once.
const PARTS_AT_ONCE: usize = 8;

/// Where to connect and how; the connection is made by the first call of each process.
#[pyclass(frozen, module = "firndb._native")]
pub(crate) struct Connection {
    options: Options,
    live: OfProcess<Arc<OnceCell<Client>>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A time in seconds as Python has it.
pub(crate) fn duration(py: Python<'_>, seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(seconds) = seconds else { return Ok(None) };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(Some(duration)),
        _ => {
            Err(invalid(py, format!("timeout={seconds} is not a time; give seconds above 0, or None to wait for ever")))
        }
    }
}

fn command(py: Python<'_>, text: &str) -> PyResult<Command> {
    Command::decode(text.as_bytes()).map_err(|error| raise(py, &error.into()))
}

/// What a message of an answer says about itself, as it came.
pub(crate) fn metadata(answer: &Answer) -> String {
    String::from_utf8(answer.encode()).unwrap_or_default()
}

fn finish(made: impl FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send + 'static) -> Finish {
    Box::new(made)
}

/// An outcome that is a value already.
pub(crate) fn ready<T>(value: T) -> Finish
where
    T: for<'py> IntoPyObject<'py> + Send + 'static,
{
    finish(|py| value.into_py_any(py))
}

impl Connection {
    fn live(&self) -> Arc<OnceCell<Client>> {
        let made = self.live.get_or_make(|| Ok::<_, std::convert::Infallible>(Arc::default()));
        let Ok(live) = made;
        Arc::clone(&live.1)
    }

    /// A call that uses the client, which it connects first if nobody has.
    fn call<W>(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        work: impl FnOnce(Client) -> W + Send + 'static,
    ) -> PyResult<Call>
    where
        W: Future<Output = Result<Finish, Failure>> + Send + 'static,
    {
        let (live, options) = (self.live(), self.options.clone());
        let connected = async move {
            let client = live.get_or_try_init(|| Client::connect_with(&options)).await?.clone();
            work(client).await
        };
        Ok(Call::new(duration(py, timeout)?, connected))
    }
}

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (url, *, token, headers, authorities, certificate, key, server_name))]
    fn new(
        url: String,
        token: Option<String>,
        headers: Vec<(String, String)>,
        authorities: Option<Vec<u8>>,
        certificate: Option<Vec<u8>>,
        key: Option<Vec<u8>>,
        server_name: Option<String>,
    ) -> Self {
        let tls = Tls { authorities, identity: certificate.zip(key), server_name };
        let options = Options { token, headers, tls, ..Options::new(url) };
        Self { options, live: OfProcess::new() }
    }

    /// Refuses options that no call could use.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.options.check().map_err(|error| raise(py, &error))
    }

    /// Lets go of the connection; it ends with the last call that uses it.
    fn close(&self) {
        self.live.clear();
    }

    /// An action: its JSON answer as text.
    fn action(&self, py: Python<'_>, name: String, body: String, timeout: Option<f64>) -> PyResult<Call> {
        self.call(py, timeout, move |client: Client| async move {
            let body = serde_json::from_str(&body)
                .map_err(|error| Error::invalid(format!("the body of `{name}` is not JSON: {error}")))?;
            let answer = client.action(&name, &body).await?;
            Ok(ready(answer.to_string()))
        })
    }

    /// The columns that a command takes or answers, without rows.
    fn schema(&self, py: Python<'_>, asked: &str, timeout: Option<f64>) -> PyResult<Call> {
        let asked = command(py, asked)?;
        self.call(py, timeout, move |client: Client| async move {
            let schema = client.schema(&asked).await?;
            Ok(ready(Table { schema: Arc::new(schema), batches: Vec::new() }))
        })
    }

    /// One lookup over a stream of its own: the rows, and what the answer says about itself.
    fn lookup(&self, py: Python<'_>, asked: &str, entities: &Table, timeout: Option<f64>) -> PyResult<Call> {
        let (asked, entities) = (command(py, asked)?, entities.whole()?);
        self.call(py, timeout, move |client: Client| async move {
            let Command::Lookup(asked) = asked else {
                return Err(Error::invalid("the command is no lookup").into());
            };
            let answered = client.lookup(&asked, &entities).await?;
            let said = metadata(&answered.answer);
            Ok(ready((Table::of_batch(answered.batch()?), said)))
        })
    }

    /// An open stream of requests that have the columns of `like`.
    fn exchange(&self, py: Python<'_>, asked: &str, like: &Table, timeout: Option<f64>) -> PyResult<Call> {
        let (asked, schema) = (command(py, asked)?, Arc::clone(&like.schema));
        self.call(py, timeout, move |client: Client| async move {
            let (requests, answers) = match asked {
                Command::Lookup(asked) => client.lookups(asked, schema).await?,
                Command::Join(asked) => client.joins(asked, schema).await?,
                _ => return Err(Error::invalid("the command is neither a lookup nor a join").into()),
            };
            Ok(ready(Exchange::new(requests, answers)))
        })
    }

    /// An open stream of batches into a table, with the columns of `like`.
    fn writer(&self, py: Python<'_>, asked: &str, like: &Table, timeout: Option<f64>) -> PyResult<Call> {
        let (asked, schema) = (command(py, asked)?, Arc::clone(&like.schema));
        self.call(py, timeout, move |client: Client| async move {
            let Command::Put(asked) = asked else {
                return Err(Error::invalid("the command is no write").into());
            };
            Ok(ready(Writer::new(client.writer(asked, schema))))
        })
    }

    /// One batch of a producer, sent again if the server goes away: what was acknowledged, as JSON.
    #[pyo3(signature = (asked, batch, producer_seq, previous, timeout))]
    fn write_step(
        &self,
        py: Python<'_>,
        asked: &str,
        batch: &Table,
        producer_seq: u64,
        previous: Option<u64>,
        timeout: Option<f64>,
    ) -> PyResult<Call> {
        let (asked, batch) = (command(py, asked)?, batch.whole()?);
        let step = ProducerStep { producer_seq, previous };
        self.call(py, timeout, move |client: Client| async move {
            let Command::Put(asked) = asked else {
                return Err(Error::invalid("the command is no write").into());
            };
            Ok(ready(written_json(&client.write_step(&asked, &batch, step).await?)))
        })
    }

    /// A scan, read in parallel: all its rows, and what its last message says about itself.
    fn scan(&self, py: Python<'_>, asked: &str, timeout: Option<f64>) -> PyResult<Call> {
        let asked = command(py, asked)?;
        self.call(py, timeout, move |client: Client| async move {
            let parts = parts(&client, asked).await?;
            let read = (0..parts.len()).map(|part| read_part(&client, &parts, part));
            let read: Vec<_> = stream::iter(read).buffered(PARTS_AT_ONCE).try_collect().await?;
            let said = read.iter().rev().find_map(|(_, said)| said.clone());
            let batches = read.into_iter().flat_map(|(batches, _)| batches).collect();
            Ok(ready((Table { schema: Arc::new(parts.schema.clone()), batches }, said)))
        })
    }

    /// A scan to be read batch by batch.
    fn scan_reader(&self, py: Python<'_>, asked: &str, timeout: Option<f64>) -> PyResult<Call> {
        let asked = command(py, asked)?;
        self.call(py, timeout, move |client: Client| async move {
            let parts = parts(&client, asked).await?;
            Ok(ready(Reader::new(client, parts)))
        })
    }
}

async fn parts(client: &Client, asked: Command) -> Result<Parts, Failure> {
    match asked {
        Command::Scan(asked) => Ok(client.scan(&asked).await?),
        _ => Err(Error::invalid("the command is no scan").into()),
    }
}

async fn read_part(
    client: &Client,
    parts: &Parts,
    part: usize,
) -> Result<(Vec<arrow_array::RecordBatch>, Option<String>), Failure> {
    let mut answers = client.scan_part(parts, part).await?;
    let (mut batches, mut said) = (Vec::new(), None);
    while let Some(message) = answers.message().await? {
        said = Some(metadata(&message.answer));
        batches.push(message.batch);
    }
    Ok((batches, said))
}
