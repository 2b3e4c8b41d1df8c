//! Redis, started for the bench, and a client for it that does as little as a client can.
//!
//! Requests are built before they are timed, replies are read and counted but not turned into anything. So the figures
//! are the server's, not those of a client library.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Harness, Result};
use crate::peers::install;
use crate::process::{Process, free_port};

/// How long the server may take to accept a connection.
const START_WAIT_MAX: Duration = Duration::from_secs(30);
/// Commands sent at once while loading.
const LOAD_PIPELINE: usize = 500;

/// How Redis keeps what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Not at all.
    None,
    /// An append-only file that is synced once a second.
    EverySecond,
    /// An append-only file that is synced before a command is answered.
    Always,
}

/// A running `redis-server`.
#[derive(Debug)]
pub(crate) struct Redis {
    _process: Process,
    port: u16,
}

impl Redis {
    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts one over the directory `data`.
    pub(crate) fn start(harness: &Harness, data: &Path, persistence: Persistence) -> Result<Self> {
        let root = install(harness, "redis")?.join("redis/usr");
        let libraries = std::fs::read_dir(root.join("lib"))?.filter_map(|entry| Some(entry.ok()?.path()));
        let port = free_port()?;
        let (append, sync) = match persistence {
            Persistence::None => ("no", "no"),
            Persistence::EverySecond => ("yes", "everysec"),
            Persistence::Always => ("yes", "always"),
        };
        let mut command = Command::new(root.join("bin/redis-server"));
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(data)
            .args(["--appendonly", append, "--appendfsync", sync])
            .env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?);
        let redis = Self { _process: Process::start(&mut command, &harness.log("redis"))?, port };
        let started = Instant::now();
        while redis.connect().is_err() {
            if started.elapsed() > START_WAIT_MAX {
                return Err("redis-server did not start; its log is beside the report".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(redis)
    }

    /// A connection of its own.
    pub(crate) fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        Ok(Connection { replies: BufReader::with_capacity(1 << 20, stream.try_clone()?), stream, line: Vec::new() })
    }

    /// Runs `commands` in large pipelines.
    pub(crate) fn load(&self, commands: impl Iterator<Item = Request>) -> Result<()> {
        let mut connection = self.connect()?;
        let mut pipeline = Request::default();
        for command in commands {
            pipeline.append(&command);
            if pipeline.replies >= LOAD_PIPELINE {
                connection.call(&std::mem::take(&mut pipeline))?;
            }
        }
        connection.call(&pipeline)
    }

    /// Sends each list of requests over a connection of its own, one request at a time, all at once; the time it took.
    pub(crate) fn run(&self, lists: &[Vec<Request>]) -> Result<Duration> {
        let mut connections: Vec<Connection> = lists.iter().map(|_| self.connect()).collect::<Result<_>>()?;
        let started = Instant::now();
        std::thread::scope(|scope| {
            let workers: Vec<_> = connections
                .iter_mut()
                .zip(lists)
                .map(|(connection, requests)| scope.spawn(|| requests.iter().try_for_each(|one| connection.call(one))))
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a connection's thread panicked")?)
        })?;
        Ok(started.elapsed())
    }
}

/// Commands that are sent together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    replies: usize,
}

impl Request {
    /// One command of these words.
    pub(crate) fn new<'a>(words: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        Self { bytes, replies: 1 }
    }

    /// Adds the commands of `other`.
    pub(crate) fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.replies += other.replies;
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Connection {
    /// Sends a request and reads all replies to it.
    pub(crate) fn call(&mut self, request: &Request) -> Result<()> {
        self.stream.write_all(&request.bytes)?;
        (0..request.replies).try_for_each(|_| self.reply())
    }

    fn reply(&mut self) -> Result<()> {
        let mut left = 1;
        while left > 0 {
            left -= 1;
            self.line.clear();
            self.replies.read_until(b'\n', &mut self.line)?;
            let text = std::str::from_utf8(&self.line)?.trim_end();
            let (kind, rest) = text.split_at_checked(1).ok_or("redis-server closed the connection")?;
            match kind {
                "*" => left += rest.parse::<usize>()?,
                "$" => self.skip(rest.parse::<usize>().map_err(|_| "a key that should be there is missing")?)?,
                "-" => return Err(format!("redis-server refused: {rest}").into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a value and the end of its line.
    fn skip(&mut self, length: usize) -> Result<()> {
        self.line.resize(length + 2, 0);
        Ok(self.replies.read_exact(&mut self.line)?)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn requests_are_spelled_and_replies_counted() {
        let mut pipeline = Request::new([b"GET".as_slice(), b"k"].into_iter());
        pipeline.append(&Request::new([b"MGET".as_slice(), b"a", b"b"].into_iter()));
        assert_eq!(pipeline.bytes, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n");
        assert_eq!(pipeline.replies, 2);
        let call = |answer: &'static [u8]| -> Result<()> {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            let stream = TcpStream::connect(listener.local_addr()?)?;
            listener.accept()?.0.write_all(answer)?;
            let replies = BufReader::new(stream.try_clone()?);
            Connection { stream, replies, line: Vec::new() }.call(&pipeline)
        };
        assert!(call(b"$3\r\nx\r\n\r\n*2\r\n$1\r\na\r\n$2\r\nbc\r\n").is_ok());
        assert!(call(b"$1\r\nx\r\n*2\r\n$1\r\na\r\n").is_err(), "a reply is cut off");
        assert!(call(b"$1\r\nx\r\n*2\r\n$1\r\na\r\n$-1\r\n").is_err(), "a key is missing");
        assert!(call(b"-ERR no\r\n").is_err(), "a command was refused");
    }
}
