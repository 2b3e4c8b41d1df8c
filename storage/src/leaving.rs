//! What the database has let go and readers may still hold: runs, packs, tables.
//!
//! Whoever lets go of one last unmaps its files, and of a removed file the kernel then frees every page: for a hundred
//! MiB that takes tens of milliseconds. So that no read and no write is the one who pays, the last hold is here until all
//! others are gone, and background work lets go of it.

use std::any::Any;
use std::sync::Arc;

use parking_lot::Mutex;

/// Anything that is shared.
type Shared = Arc<dyn Any + Send + Sync>;

/// What is on its way out.
#[derive(Debug, Default)]
pub struct Leaving {
    held: Mutex<Vec<Shared>>,
}

impl Leaving {
    /// Holds `gone`, which nobody can newly come to hold, until nobody else does.
    pub(crate) fn keep<T: Any + Send + Sync>(&self, gone: impl IntoIterator<Item = Arc<T>>) {
        self.held.lock().extend(gone.into_iter().map(|gone| gone as Shared));
    }

    /// Lets go of what nobody else holds.
    pub(crate) fn sweep(&self) {
        let alone = |held: &mut Shared| Arc::strong_count(held) == 1;
        let gone: Vec<Shared> = self.held.lock().extract_if(.., alone).collect();
        // Here, where no lock is held.
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_holds_is_let_go_of_after_the_reader() {
        let (leaving, read, unread) = (Leaving::default(), Arc::new(1), Arc::new(2));
        let (read_left, unread_left) = (Arc::downgrade(&read), Arc::downgrade(&unread));
        leaving.keep([Arc::clone(&read), unread]);
        leaving.sweep();
        assert_eq!((read_left.strong_count(), unread_left.strong_count()), (2, 0));
        drop(read);
        assert_eq!(read_left.strong_count(), 1, "the reader was not the last");
        leaving.sweep();
        assert_eq!(read_left.strong_count(), 0);
    }
}
