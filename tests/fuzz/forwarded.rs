//! The fields in which proxies name their clients.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cws::targets::run("forwarded", bytes));
