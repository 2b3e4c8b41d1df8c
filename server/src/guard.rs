//! Readers of bytes that nobody vouches for, where a panic of a library is an answer: the data contradicts itself.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// What is wrong with data on which its reader panicked.
pub(crate) const CONTRADICTS: &str = "the Arrow data contradicts its own header and cannot be read";

thread_local! {
    /// Whether a panic of this thread is caught by [`caught`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `read`; `None` if it panicked, of which nothing is printed. What `read` changed is not to be used then.
pub(crate) fn caught<T>(read: impl FnOnce() -> T) -> Option<T> {
    keep_quiet();
    let outside = GUARDED.replace(true);
    let read = catch_unwind(AssertUnwindSafe(read)).ok();
    GUARDED.set(outside);
    read
}

/// Keeps expected panics from the log: there they would look like defects, with all their frames.
fn keep_quiet() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = take_hook();
        set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                tell(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_no_answer_and_others_are_told_as_before() {
        assert_eq!(caught(|| 5), Some(5));
        assert_eq!(caught(|| caught(|| panic!("inside")).map(|()| 5)), Some(None));
        assert_eq!(caught(|| -> u8 { panic!("told to nobody") }), None);
        assert!(!GUARDED.get());
    }
}
