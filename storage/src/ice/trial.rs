//! What a trial of encodings found for one file of ice, and for how many more it goes: those of a table hold rows of one kind, and
//! a trial costs several times what writing does.

use std::sync::Arc;

use firn_ice::{Encodings, GROUP_ROWS_MAX};

/// Files that go by one trial.
const FILES: u32 = 16;

/// The last trial of a table.
#[derive(Debug)]
pub(crate) struct Trial {
    encodings: Arc<Encodings>,
    /// Files that went by it.
    files: u32,
}

impl Trial {
    /// One that a file was just written by.
    pub(crate) fn new(encodings: Arc<Encodings>) -> Self {
        Self { encodings, files: 1 }
    }

    /// The encodings for one more file, of `rows` rows, unless it is to be tried itself: after so many files, and if more of its
    /// rows would be tried.
    pub(crate) fn once_more(&mut self, rows: u64) -> Option<Arc<Encodings>> {
        let tried = self.encodings.rows() as u64;
        if self.files >= FILES || tried < rows.min(GROUP_ROWS_MAX as u64) {
            return None;
        }
        self.files += 1;
        Some(Arc::clone(&self.encodings))
    }
}
