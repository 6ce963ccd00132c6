//! What a user meets at the command line.

#![allow(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn twinhull(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twinhull"))
        .args(args)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The definition that is shipped.
fn server() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/server.toml")
}

#[test]
fn shipped_definition_is_read() {
    let definition = twinhull::definition::Definition::read(&server()).unwrap();
    assert_eq!(definition.product.as_str(), "twinhull-server");
    assert!(definition.kernel_package(twinhull_layout::Arch::Aarch64).is_ok());
}

#[test]
fn help_fits_a_screen_and_shows_an_example() {
    for args in [&["--help"][..], &["build", "--help"], &["publish", "--help"]] {
        let output = twinhull(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && text.lines().count() <= 40,
            "{args:?}: {text}"
        );
    }
    assert!(String::from_utf8_lossy(&twinhull(&["--help"]).stdout).contains("Example:\n"));
}

#[test]
fn unknown_key_stops_a_build_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let definition = folder.path().join("my.toml");
    std::fs::write(&definition, "product = \"mine\"\n[disc]\n").unwrap();
    let output = folder.path().join("out");
    let build = twinhull(&[
        "build",
        definition.to_str().unwrap(),
        "--version",
        "1.0.0",
        "--trust-root",
        "/nowhere",
        "--init",
        "/nowhere",
        "--output",
        output.to_str().unwrap(),
    ]);
    assert!(!build.status.success());
    let said = said(&build);
    assert!(
        said.contains("my.toml:2: unknown key `disc`; did you mean `disk`?"),
        "{said}"
    );
    assert!(!output.exists());
}

#[test]
fn publishing_without_a_repository_says_what_is_missing_once() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("x.json");
    let output = twinhull(&[
        "publish",
        manifest.to_str().unwrap(),
        "--repo",
        "/nowhere",
        "--keys",
        "/nowhere",
    ]);
    let said = said(&output);
    assert!(!output.status.success());
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
    assert!(said.contains("x.json"), "{said}");
}
