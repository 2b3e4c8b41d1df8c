//! A bell that workers wait for.

use parking_lot::{Condvar, Mutex};

/// A bell: any number of workers wait for it, others ring it. Each worker remembers the rings it has heard, so that
/// none takes another's.
#[derive(Debug, Default)]
pub struct Signal {
    rings: Mutex<u64>,
    bell: Condvar,
}

impl Signal {
    /// Rings the bell.
    pub fn ring(&self) {
        *self.rings.lock() += 1;
        self.bell.notify_all();
    }

    /// Waits until the bell has rung more often than `heard`, at most `wait`, and notes the rings.
    pub fn wait(&self, heard: &mut u64, wait: std::time::Duration) {
        let mut rings = self.rings.lock();
        if *rings == *heard {
            let _ = self.bell.wait_for(&mut rings, wait);
        }
        *heard = *rings;
    }
}
