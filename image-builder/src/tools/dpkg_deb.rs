//! `dpkg-deb`: what a package file says about itself, and what is in it.

use std::path::Path;
use std::process::Stdio;

use super::{Log, command};

/// Name and architecture of a package file, as `("podman", "amd64")`. The error says why it is none.
pub fn identity(file: &Path) -> Result<(String, String), String> {
    let mut dpkg = command("dpkg-deb");
    dpkg.args(["--show", "--showformat=${Package} ${Architecture}"])
        .arg(file);
    let output =
        (dpkg.stdin(Stdio::null()).output()).map_err(|error| format!("dpkg-deb cannot be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match said.split_once(' ') {
        Some((name, arch)) if output.status.success() => Ok((name.to_owned(), arch.trim().to_owned())),
        _ => Err(format!("{} is no package of Debian", file.display())),
    }
}

/// The paragraph of control information of a package file, as an index of packages has it.
pub fn control(log: &Log, file: &Path) -> crate::error::Result<String> {
    log.capture("reading a package", command("dpkg-deb").arg("--field").arg(file))
}

/// Unpacks the files of a package over what is in the folder `to`.
pub fn extract(log: &Log, file: &Path, to: &Path) -> crate::error::Result<()> {
    log.run(
        "unpacking a package",
        command("dpkg-deb").arg("--extract").arg(file).arg(to),
    )
}
