//! Kernel modules: into the tree, decompressed, indexed.
//!
//! Decompressed, because a compressed module shares nothing with the one of the next kernel: left as `.ko.xz` the modules
//! alone double an update.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::list;
use crate::build::Context;
use crate::error::{Doing, Error, Result};
use crate::tools::root::ToolRoot;
use crate::tools::{Log, cp, depmod, xz};

/// Puts the modules of the unpacked packages `boot` into `tree` and returns the kernel's release.
pub(super) fn run(context: &Context<'_>, boot: &Path, tree: &Path) -> Result<String> {
    let folder = ["usr/lib/modules", "lib/modules"]
        .map(|folder| boot.join(folder))
        .into_iter()
        .find(|folder| folder.is_dir());
    let folder = folder.ok_or_else(|| {
        Error::Content("the kernel package brings no modules; is it one of Debian's linux-image packages?".into())
    })?;
    let releases = list(&folder)?;
    let [release] = releases.as_slice() else {
        return Err(Error::Content(format!(
            "the kernel package brings {} kernels, and an image has one",
            releases.len()
        )));
    };
    let name = release.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let modules = tree.join("usr/lib/modules");
    fs::create_dir_all(&modules).doing("make the folder", &modules)?;
    let target = modules.join(&name);
    cp::tree(&context.log, release, &target)?;
    for link in ["build", "source"] {
        super::files::remove(&target.join(link))?;
    }
    // Before the index is made, so that it knows only modules that are there.
    super::drop::run(&context.definition.drop, tree)?;
    depmod::run(&context.log, tree, &name)?;
    Ok(name)
}

/// Decompresses every module of the unpacked packages `boot`.
pub(crate) fn decompress(log: &Log, tools: &ToolRoot, boot: &Path) -> Result<()> {
    let mut compressed = Vec::new();
    for folder in ["usr/lib/modules", "lib/modules"] {
        let folder = boot.join(folder);
        // In merged trees the second is a link to the first.
        if folder.is_dir() && compressed.is_empty() {
            find_compressed(&folder, &mut compressed)?;
        }
    }
    xz::decompress(log, tools, &compressed)
}

fn find_compressed(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for path in list(folder)? {
        let meta = path.symlink_metadata().doing("look at", &path)?;
        if meta.is_dir() {
            find_compressed(&path, found)?;
        } else if path.to_string_lossy().ends_with(".ko.xz") {
            found.push(path);
        }
    }
    Ok(())
}
