//! What a request asks for, and whom.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cws::targets::run("target", bytes));
