//! The parsing of a request head.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cws::targets::run("request", bytes));
