//! The evaluation of preconditions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cws::targets::run("conditional", bytes));
