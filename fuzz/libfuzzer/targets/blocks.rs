//! The target `blocks` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: firn_fuzz::quiet(), |bytes: &[u8]| firn_fuzz::fuzz("blocks", bytes));
