//! Shutting down: nothing new is accepted, what was accepted is finished, then the database is closed.

use std::sync::Arc;

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

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.receiver.borrow()
    }
}

/// Waits for SIGTERM or SIGINT.
pub async fn signal() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
