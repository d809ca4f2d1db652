#![no_main]

#[allow(dead_code)]
#[path = "../../tests/all/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::proxy_headers(bytes));
