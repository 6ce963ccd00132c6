//! The targets of the static programs.
//!
//! `rust-toolchain.toml` names them, but rustup only acts on that by itself when it installs the whole toolchain, not when the
//! toolchain is there without them or its automatic installation is off.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::phase::Phases;

const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];

/// The targets whose standard library the compiler does not have.
pub(crate) fn missing() -> Result<Vec<&'static str>> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .context("cannot start rustc to see which targets it has")?;
    if !output.status.success() {
        bail!(
            "cannot see which targets rustc has: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let has = |target: &&str| {
        Path::new(&sysroot)
            .join("lib/rustlib")
            .join(target)
            .join("lib")
            .is_dir()
    };
    Ok(TARGETS.into_iter().filter(|target| !has(target)).collect())
}

/// Adds what is missing to the toolchain in use.
pub(crate) fn install(phases: &mut Phases) -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    if Command::new("rustup").arg("--version").output().is_err() {
        bail!(
            "this Rust toolchain lacks the targets {} and there is no rustup to add them; install its standard library for \
             them as you installed Rust",
            missing.join(", ")
        );
    }
    phases.run(
        "add Rust targets for static programs",
        Command::new("rustup").args(["target", "add"]).args(missing),
    )?;
    let missing = self::missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "rustup says that the targets {} are installed, and the compiler does not have them: the toolchain is damaged; \
         reinstall it with `rustup toolchain uninstall` and `rustup toolchain install`",
        missing.join(", ")
    )
}
