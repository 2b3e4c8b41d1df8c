//! Shutting down: nothing new is accepted, what was accepted is finished, then the database is closed.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The end that decides.
#[derive(Debug, Clone)]
pub struct Shutdown {
    sender: Arc<watch::Sender<bool>>,
}

/// The end that is told: streams stop reading requests when it rings.
#[derive(Debug, Clone)]
pub struct Told {
    receiver: watch::Receiver<bool>,
}

impl Shutdown {
    /// Both ends.
    pub fn new() -> (Self, Told) {
        let (sender, receiver) = watch::channel(false);
        (Self { sender: Arc::new(sender) }, Told { receiver })
    }

    /// Begins the shutdown.
    pub fn begin(&self) {
        self.sender.send_replace(true);
    }
}

impl Told {
    /// Waits until the shutdown begins.
    pub async fn wait(&mut self) {
        // A dropped sender means the same: nobody serves any more.
        let _ = self.receiver.wait_for(|begun| *begun).await;
    }

    /// Whether it has begun, or nobody serves any more.
    pub fn has_begun(&self) -> bool {
        *self.receiver.borrow() || self.receiver.has_changed().is_err()
    }
}

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
