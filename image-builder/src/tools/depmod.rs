//! `depmod` of the image: writes the index of kernel modules, in the form that its own tools read.

use std::path::Path;

use super::{Log, chroot};
use crate::error::Result;

/// Writes `modules.dep` and its companions for the kernel `release` of the tree.
pub fn run(log: &Log, tree: &Path, release: &str) -> Result<()> {
    log.run("indexing kernel modules", chroot(tree, "depmod")?.arg(release))
}
