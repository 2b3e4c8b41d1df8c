//! What a commit must have survived before it is acknowledged: the end of the process, or the loss of the disk.

use std::sync::Arc;

use super::answer::Committed;
use crate::config::Level;
use crate::engine::Engine;
use crate::error::Result;
use crate::time::{Micros, Sequence};

/// What the commit `sequence`, which is durable on the local disk and readable, must survive yet.
#[derive(Debug, Clone)]
pub(super) struct Survival {
    engine: Arc<Engine>,
    level: Level,
    sequence: Sequence,
}

impl Survival {
    /// Of a write that is acknowledged for `level`.
    pub(super) fn of_write(engine: &Arc<Engine>, level: Level, sequence: Sequence) -> Self {
        assert!(
            level == Level::Local || engine.home.is_some(),
            "nothing is acknowledged for a bucket that is not there"
        );
        Self { engine: Arc::clone(engine), level, sequence }
    }

    /// Of what a lost disk must never undo: a change of the schema, an erase.
    pub(super) fn of_change(engine: &Arc<Engine>, sequence: Sequence) -> Self {
        let level = if engine.home.is_some() { Level::Object } else { Level::Local };
        Self { engine: Arc::clone(engine), level, sequence }
    }

    /// Calls `then` when it has, with `applied`; perhaps at once, perhaps on another thread.
    pub(super) fn then<T: Send + 'static>(self, applied: Result<T>, then: impl FnOnce(Result<T>) + Send + 'static) {
        match (&self.engine.home, applied) {
            (Some(home), Ok(applied)) if self.level == Level::Object => {
                home.when_durable(self.sequence, move |survived| then(survived.map(|()| applied)));
            }
            (_, applied) => then(applied),
        }
    }

    /// What is answered then.
    pub(super) fn committed(&self, ingest_time: Micros, rows: u64, duplicate: bool) -> Committed {
        let log = &self.engine.log;
        let durable = self.engine.home.as_ref().map(|home| log.position(home.durable().sequence()));
        Committed { position: log.position(self.sequence), ingest_time, rows, duplicate, level: self.level, durable }
    }
}
