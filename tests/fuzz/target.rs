//! The parsing of a request target and its authority.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cws::targets::run("target", bytes));
