//! The launcher of measured programs: its figures are the program's, and not those of whoever measures.

// A measurement that cannot be had is to fail loudly, like any test.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde::Deserialize;

const MEBIBYTE: u64 = 1 << 20;

#[derive(Deserialize)]
struct Report {
    status: i32,
    usage: Usage,
}

#[derive(Deserialize)]
struct Usage {
    cpu: std::time::Duration,
    peak_memory: u64,
}

/// Has `xtask` run `words` as a program to be measured.
fn measure(words: &[&str]) -> Report {
    let report = tempfile::NamedTempFile::new().unwrap();
    let launched = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("measured")
        .args(words)
        .env("TWINHULL_MEASURED", report.path())
        .status()
        .unwrap();
    assert!(launched.success(), "{launched}");
    serde_json::from_slice(&std::fs::read(report.path()).unwrap()).unwrap()
}

#[test]
fn memory_of_whoever_measures_does_not_count() {
    // Held while the program is started, every page of it touched.
    let held = vec![1_u8; 256 << 20];
    let small = measure(&["true"]);
    assert_eq!(held.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 256 << 20);
    assert!(small.usage.peak_memory < 32 * MEBIBYTE, "{}", small.usage.peak_memory);
}

#[test]
fn work_and_memory_of_the_program_do() {
    // 64 MiB held at once, and read through: both must show.
    let script = "x=$(head -c 67108864 /dev/zero | tr '\\0' a); : ${#x}";
    let large = measure(&["sh", "-c", script]);
    assert_eq!(large.status, 0);
    assert!(large.usage.peak_memory >= 64 * MEBIBYTE, "{}", large.usage.peak_memory);
    assert!(!large.usage.cpu.is_zero());
}

#[test]
fn a_program_that_fails_is_told_from_one_that_was_not_there() {
    assert_ne!(measure(&["false"]).status, 0);
    let absent = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["measured", "/nonexistent/program"])
        .env("TWINHULL_MEASURED", "/nonexistent/report")
        .output()
        .unwrap();
    assert!(!absent.status.success());
    assert!(String::from_utf8_lossy(&absent.stderr).contains("cannot start /nonexistent/program"));
}
