//! `skopeo`: fetches an image from a registry.

use std::path::Path;

use twinhull_layout::Arch;

use super::{Log, command};
use crate::error::Result;

/// Fetches `reference`, which names a digest, as it is for `arch` into the OCI layout `to`.
pub fn fetch(log: &Log, reference: &str, arch: Arch, to: &Path) -> Result<()> {
    let mut skopeo = command("skopeo");
    skopeo
        .args([
            "--override-os",
            "linux",
            "--override-arch",
            arch.debian(),
            "copy",
            "--format",
            "oci",
        ])
        .arg(format!("docker://{reference}"))
        .arg(format!("oci:{}:base", to.display()));
    log.run("fetching the base image", &mut skopeo)
}
