//! Prefetching: asks the processor for bytes that will be read soon.
//!
//! A load that misses the cache holds up all that follows it once the processor's window is full, a prefetch does not:
//! far more misses overlap. It is a hint and changes nothing but time; on other processors it does nothing.

/// What the processor fetches at once.
pub const LINE_BYTES: usize = 64;

/// Asks for every line of `bytes`.
#[inline(always)]
pub fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(LINE_BYTES) {
        prefetch_line(line.as_ptr());
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the intrinsic takes a pointer; here it comes from a reference")]
#[inline(always)]
fn prefetch_line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing and never faults, wherever the pointer points.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn prefetch_line(_: *const u8) {}

#[cfg(test)]
mod tests {
    use super::prefetch;

    #[test]
    fn any_bytes_may_be_asked_for() {
        let bytes = vec![7_u8; 1000];
        for start in [0, 1, 63, 64, 999, 1000] {
            prefetch(&bytes[start..]);
        }
        assert!(bytes.iter().all(|byte| *byte == 7));
    }
}
