//! The signals that stop a server. What then happens is in `lib.rs`: nothing new is accepted, what was accepted is
//! finished, and the database is closed.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that stop a server. From [`Signals::listen`] on they no longer end the process by themselves.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens for SIGTERM and SIGINT. Must be called inside a Tokio runtime, and before a server is started: one that
    /// serves can be told to stop.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the first of them.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
