//! Step 2: from installed packages to the tree of an immutable image.
//!
//! The order of the parts matters: packages first, then what the definition lays over them, then what follows from the
//! layout (system users, state), last what must not be there.

mod clean;
mod containers;
mod drop;
mod files;
mod identity;
pub(crate) mod modules;
mod overlay;
mod owners;
pub(crate) mod signatures;
mod state;
mod tmpfiles;
mod units;
mod users;

use std::fs;
use std::path::{Path, PathBuf};

use crate::build::Context;
use crate::build::containers::Image;
use crate::build::packages::Packages;
use crate::error::{Doing, Result};
use crate::tools::dpkg;

pub use identity::os_release;
pub(crate) use state::{PACKAGES, installed, packages};

/// The finished tree.
#[derive(Debug)]
pub struct Tree {
    /// Its root directory.
    pub path: PathBuf,
    /// The release of its kernel, as `uname -r` says it.
    pub kernel: String,
    /// The text of its os-release file.
    pub os_release: String,
    /// Its packages: name and version, sorted.
    pub packages: Vec<(String, String)>,
}

/// Makes the installed packages the tree of the image, with the container images that the definition names.
pub(crate) fn run(context: &Context<'_>, packages: &Packages, containers: &[Image]) -> Result<Tree> {
    let tree = packages.view.tree().to_owned();
    let definition = context.definition;
    let mut files = Vec::new();
    for (index, file) in definition.package_files.iter().chain(&context.options.debs).enumerate() {
        // Into the folder that the tools see.
        let copy = context.work.join(format!("{index}.deb"));
        fs::copy(file, &copy).doing("copy", file)?;
        files.push(copy);
    }
    if !files.is_empty() {
        dpkg::install(&context.log, &packages.tools_of_tree(), &tree, &files)?;
    }
    let mut listed = state::packages(&tree)?;
    listed.extend(packages.boot_packages.iter().cloned());
    listed.sort_unstable();
    listed.dedup();
    let kernel = modules::run(context, &packages.boot, &tree)?;
    clean::run(&tree)?;
    signatures::run(&definition.signatures, &tree)?;
    for overlay in &definition.overlays {
        overlay::run(overlay, &tree)?;
    }
    containers::run(context, containers, &tree)?;
    overlay::modes(&definition.modes, &tree)?;
    let os_release = identity::run(context, &tree)?;
    units::run(context, &tree)?;
    users::run(context, &tree)?;
    identity::lock_accounts(&tree, packages.time)?;
    owners::run(&definition.owners, &tree)?;
    state::run(&tree)?;
    Ok(Tree {
        path: tree,
        kernel,
        os_release,
        packages: listed,
    })
}

/// The image's path of a file in the tree: absolute, for messages and for files that name it.
fn in_image(tree: &Path, path: &Path) -> String {
    format!("/{}", path.strip_prefix(tree).unwrap_or(path).display())
}
