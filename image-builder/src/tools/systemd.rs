//! `systemctl` and `systemd-sysusers` of the image itself, run inside its tree: those of the host may be older than the files
//! they are to read, and would give a result that depends on the host.

use std::path::Path;

use super::{Log, chroot};
use crate::error::Result;

/// Enables and disables every unit of `tree` as its preset files say.
pub fn preset_all(log: &Log, tree: &Path) -> Result<()> {
    log.run(
        "enabling units",
        chroot(tree, "systemctl")?.args(["--preset-mode=full", "preset-all"]),
    )
}

/// Whether `tree` has the unit `unit`: a unit file, or the template of an instance.
pub fn unit_exists(tree: &Path, unit: &str) -> bool {
    let template = unit
        .split_once('@')
        .and_then(|(name, rest)| rest.rsplit_once('.').map(|(_, kind)| format!("{name}@.{kind}")));
    let names = std::iter::once(unit).chain(template.as_deref());
    names
        .flat_map(|name| ["etc", "usr/lib", "lib"].map(|folder| tree.join(folder).join("systemd/system").join(name)))
        .any(|path| path.symlink_metadata().is_ok())
}

/// Creates the system users and groups that packages ask for and that are not there yet.
pub fn sysusers(log: &Log, tree: &Path) -> Result<()> {
    log.run("creating system users", &mut chroot(tree, "systemd-sysusers")?)
}
