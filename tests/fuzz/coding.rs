//! The content codings that a client accepts.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cws::targets::run("coding", bytes));
