#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    twinhull_trust::parsers::run("release", bytes);
});
