//! `skopeo`: fetches images from a registry.

use std::path::Path;

use twinhull_layout::Arch;

use super::root::ToolRoot;
use super::{Log, command};
use crate::error::Result;

/// Fetches `reference`, which names a digest, as it is for `arch` into the OCI layout `to`.
pub fn fetch(log: &Log, reference: &str, arch: Arch, to: &Path) -> Result<()> {
    let mut skopeo = command("skopeo");
    skopeo
        .args(["--override-os", "linux", "--override-arch", arch.debian()])
        .args(["copy", "--format", "oci"])
        .arg(format!("docker://{reference}"))
        .arg(format!("oci:{}:base", to.display()));
    log.run("fetching the base image", &mut skopeo)
}

/// What may be fetched, and how it is found out.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// containers-policy.json(5).
    pub policy: &'a Path,
    /// The folder of containers-registries.d(5) that says where signatures are.
    pub registries: &'a Path,
}

/// Fetches `reference`, which names a digest, as it is for `arch` into the folder `to`: `manifest.json` and the blobs under their
/// hashes, each byte as the registry has it. What `terms` do not allow is not fetched.
pub fn fetch_allowed(
    log: &Log,
    tools: &ToolRoot,
    reference: &str,
    arch: Arch,
    terms: Terms<'_>,
    to: &Path,
) -> Result<()> {
    let mut skopeo = tools.on_host("skopeo")?;
    skopeo
        .args(["--override-os", "linux", "--override-arch", arch.debian()])
        .arg("--policy")
        .arg(terms.policy)
        .arg("--registries.d")
        .arg(terms.registries)
        // They were verified, and the form of the folder has no place for all kinds of them.
        .args(["copy", "--preserve-digests", "--remove-signatures"])
        .arg(format!("docker://{reference}"))
        .arg(format!("dir:{}", to.display()));
    log.run(&format!("fetching the container image {reference}"), &mut skopeo)
}

/// What the registry has under `reference`, which names a digest, to the byte: a manifest, or an index of manifests.
pub fn raw(log: &Log, tools: &ToolRoot, reference: &str) -> Result<String> {
    let mut skopeo = tools.on_host("skopeo")?;
    skopeo.args(["inspect", "--raw"]).arg(format!("docker://{reference}"));
    log.capture(&format!("asking for the index of {reference}"), &mut skopeo)
}
