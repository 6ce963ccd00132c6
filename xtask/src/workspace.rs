//! Where things are in a checkout.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Makes the root of the checkout the current directory, so that every path below is relative to it.
pub(crate) fn enter_root() -> Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().context("the workspace has a root above xtask")?;
    env::set_current_dir(root).with_context(|| format!("cannot enter the checkout at {}", root.display()))
}

/// The folder for everything that is built beside cargo's own output.
pub(crate) fn work() -> PathBuf {
    target().join("twinhull")
}

/// Cargo's output folder.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}
