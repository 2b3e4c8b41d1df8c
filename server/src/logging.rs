//! Logs: text or JSON lines on standard error, and panics among them.

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Starts logging for the whole process. A wrong filter is an error; so is a second start.
pub fn start(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.filter)
        .map_err(|error| format!("--log {}: {error}; write for example `info` or `firn_server=debug`", log.filter))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started: Result<(), Box<dyn std::error::Error + Send + Sync>> =
        if log.json { logs.json().try_init() } else { logs.try_init() };
    started.map_err(|error| format!("could not start logging: {error}"))?;
    // A frame made to confuse the decoder panics inside it and is answered with an error; one line is enough.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}
