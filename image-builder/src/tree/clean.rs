//! What must not be in an image: secrets made at build time, traces of the build host, and left-overs of package tools.

use std::path::Path;

use super::files::{empty, list, remove};
use crate::error::Result;

/// Files and folders that go, by their path in the image.
const REMOVED: [&str; 16] = [
    // The mirrors of whoever built it, and the options of that one run.
    "etc/apt",
    "etc/dpkg/dpkg.cfg.d",
    "etc/hostname",
    "etc/.resolv.conf.systemd-resolved.bak",
    // Copies and locks that tools leave beside the account files.
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/.pwd.lock",
    "etc/.updated",
    // The kernel and its start are in the UKI.
    "boot",
    "vmlinuz",
    "initrd.img",
    // Start scripts of the time before systemd; each has its unit.
    "etc/rcS.d",
];

/// Folders that stay and are empty: something is mounted over them, or they are made anew at every boot.
const EMPTIED: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// Removes all of it from `tree`.
pub(super) fn run(tree: &Path) -> Result<()> {
    for path in REMOVED {
        remove(&tree.join(path))?;
    }
    for folder in EMPTIED {
        empty(&tree.join(folder))?;
    }
    for path in list(&tree.join("etc"))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.len() == 5 && name.starts_with("rc") && name.ends_with(".d") {
            remove(&path)?;
        }
    }
    // Every host makes its own; one in the image would be everybody's.
    for path in list(&tree.join("etc/ssh"))? {
        if path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .starts_with("ssh_host_")
        {
            remove(&path)?;
        }
    }
    remove(&tree.join("var/lib/systemd/random-seed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn host_keys_and_mirrors_are_gone_and_settings_stay() {
        let tree = tempfile::tempdir().unwrap();
        for file in [
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/sshd_config",
            "etc/apt/sources.list",
            "etc/rc2.d/S01ssh",
            "etc/rpc",
            "run/x",
        ] {
            let path = tree.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        run(tree.path()).unwrap();
        let there = |file: &str| tree.path().join(file).exists();
        assert!(there("etc/ssh/sshd_config") && there("etc/rpc") && there("run"));
        assert!(!there("etc/ssh/ssh_host_rsa_key") && !there("etc/apt") && !there("etc/rc2.d") && !there("run/x"));
    }
}
