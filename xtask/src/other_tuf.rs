//! Other implementations of The Update Framework that judge ours: python-tuf with its tests, and the files of tough's tests.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::phase::Phases;
use crate::workspace;

const TUF: &str = "7.0.1";
const TOUGH: &str = "0.24.0";

/// Beside python-tuf: its signatures, and the clock of its tests.
const WITH_IT: [&str; 2] = ["cryptography==50.0.2", "freezegun==1.5.5"];

/// What is installed, all of it below cargo's output folder but for tough, which is in cargo's own cache.
pub(crate) fn explain() {
    if !installed() {
        println!(
            "  python-tuf {TUF} and the crate tough {TOUGH}: judge our TUF client (from PyPI and crates.io, into {})",
            folder().display()
        );
    }
}

/// Installs what is missing.
pub(crate) fn install(phases: &mut Phases) -> Result<()> {
    if installed() {
        return Ok(());
    }
    let _ = fs::remove_dir_all(folder());
    phases.run(
        "make a Python environment",
        Command::new("python3").args(["-m", "venv"]).arg(folder()),
    )?;
    let tuf = format!("tuf=={TUF}");
    phases.run(
        "install python-tuf",
        pip().args(["install", "--quiet", &tuf]).args(WITH_IT),
    )?;
    // Only the source package has the tests.
    phases.run(
        "fetch the tests of python-tuf",
        pip()
            .args(["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest"])
            .arg(folder())
            .arg(&tuf),
    )?;
    phases.run(
        "unpack the tests of python-tuf",
        Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(folder().join(format!("tuf-{TUF}.tar.gz")))
            .arg("--directory")
            .arg(folder()),
    )?;
    // Downloads and unpacks this one package, and shows what it is.
    phases.run(
        "fetch the tests of tough",
        workspace::cargo().args(["info", "--quiet", &format!("tough@{TOUGH}")]),
    )?;
    if !installed() {
        bail!(
            "the tests of python-tuf or tough are not where they should be: see {}",
            folder().display()
        );
    }
    Ok(())
}

/// Runs our client on the repositories of both, and python-tuf's client on one of ours. The programs must have been built.
pub(crate) fn judge(phases: &mut Phases) -> Result<()> {
    let built = workspace::target().join("debug");
    let (client, builder) = (built.join("examples/tuf-client"), built.join("twinhull"));
    let tough = tough().context("the crate tough is gone from cargo's cache: run `cargo xtask setup`")?;
    let tests = Path::new("lib/trust/tests/interop");
    let mut run = |title: &str, script: &str, arguments: &[&Path]| {
        phases.run(
            title,
            Command::new(folder().join("bin/python"))
                .arg(tests.join(script))
                .arg(&client)
                .args(arguments),
        )
    };
    run("repositories of python-tuf", "judge.py", &[&builder])?;
    run("tests of python-tuf's client", "python_tuf_tests.py", &[&sources()])?;
    run("repositories of tough", "static_repositories.py", &[&tough, &sources()])
}

fn installed() -> bool {
    folder().join("bin/pip").exists() && sources().join("tests").is_dir() && tough().is_some()
}

fn folder() -> PathBuf {
    workspace::target().join("tools/tuf")
}

fn sources() -> PathBuf {
    folder().join(format!("tuf-{TUF}"))
}

/// Where cargo has unpacked the crate.
fn tough() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    let registries = fs::read_dir(home.join("registry/src")).ok()?;
    registries
        .flatten()
        .map(|registry| registry.path().join(format!("tough-{TOUGH}")))
        .find(|path| path.join("tests/data").is_dir())
}

fn pip() -> Command {
    let mut command = Command::new(folder().join("bin/pip"));
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command
}
