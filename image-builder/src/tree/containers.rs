//! Container images in the image: for podman in a read-only store, for containerd in archives that are imported at boot.

mod containerd;
mod overlay;
mod podman;
mod xattr;

use std::path::{Path, PathBuf};

use super::files::{locate, write};
use crate::build::Context;
use crate::build::containers::Image;
use crate::error::{Doing, Error, Result};

/// Where quadlet looks for units of the vendor.
const QUADLETS: &str = "/usr/share/containers/systemd";

/// Puts `images` into `tree`, in the form of each runtime that is there, with their quadlets. After the overlays, which may
/// bring configuration of a runtime; before units are enabled.
pub(super) fn run(context: &Context<'_>, images: &[Image], tree: &Path) -> Result<()> {
    let definition = context.definition;
    let (podman, containerd) = (has(tree, "podman")?, has(tree, "containerd")?);
    if containerd && !definition.signatures.is_empty() {
        containerd::pull_nothing(tree)?;
    }
    if images.is_empty() {
        return Ok(());
    }
    let wrong = |problem: &str| Error::Definition {
        path: definition.path.clone(),
        problem: problem.to_owned(),
    };
    if !(podman || containerd) {
        return Err(wrong(
            "[[container]] names images, and neither podman nor containerd is in the image to run them",
        ));
    }
    let quadlets: Vec<&PathBuf> = (definition.containers.iter())
        .flat_map(|container| &container.quadlets)
        .collect();
    if !(podman || quadlets.is_empty()) {
        return Err(wrong(
            "[[container]] has quadlets, and podman, which reads them, is not in the image",
        ));
    }
    let work = context.work.join("containers");
    std::fs::create_dir(&work).doing("make the folder", &work)?;
    if podman {
        podman::store(&context.log, images, &work, tree)?;
    }
    if containerd {
        containerd::archives(context, images, &work, tree)?;
    }
    for quadlet in quadlets {
        let name = quadlet.file_name().unwrap_or_default().to_string_lossy();
        let text = std::fs::read(quadlet).doing("read the quadlet", quadlet)?;
        write(tree, &format!("{QUADLETS}/{name}"), text, 0o644)?;
    }
    std::fs::remove_dir_all(&work).doing("remove", &work)
}

/// Whether `program` is in the tree.
fn has(tree: &Path, program: &str) -> Result<bool> {
    Ok(locate(tree, &format!("/usr/bin/{program}"))?.is_file())
}
