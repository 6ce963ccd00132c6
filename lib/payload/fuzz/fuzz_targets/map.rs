#![no_main]

#[path = "../harness.rs"]
#[allow(dead_code, reason = "each target calls one")]
mod harness;

libfuzzer_sys::fuzz_target!(|input: &[u8]| harness::map(input));
