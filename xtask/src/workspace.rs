//! Where things are in a checkout.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The cargo that runs this program, as somebody would call it by hand: what cargo tells of this package is no news of the packages that
/// are built, but build scripts that ask for it (`ring`'s) would run again, and all that depends on them.
pub(crate) fn cargo() -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let of_this_package = |prefix: &&[u8]| name.as_encoded_bytes().starts_with(prefix);
        if [b"CARGO_PKG_".as_slice(), b"CARGO_MANIFEST_"]
            .iter()
            .any(of_this_package)
        {
            command.env_remove(name);
        }
    }
    command
}
