//! The ranges that a `Range` field selects.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cws::targets::run("range", bytes));
