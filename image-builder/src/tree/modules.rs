//! Kernel modules: decompressed, into the tree, indexed.
//!
//! Decompressed, because a compressed module shares nothing with the one of the next kernel: left as `.ko.xz` the modules
//! alone double an update.

use std::path::{Path, PathBuf};

use super::files::list;
use crate::build::Context;
use crate::error::{Doing, Error, Result};
use crate::tools::root::ToolRoot;
use crate::tools::{Log, cp, depmod, xz};

/// What is beside the modules and not for an image: links to sources that are not there, and what the kernel image holds or
/// nobody reads.
const ASIDE: [&str; 5] = ["build", "source", KERNEL, "config", "System.map"];

/// The kernel, where newer packages have it: beside its modules.
const KERNEL: &str = "vmlinuz";

/// The kernel in the unpacked packages `boot`.
pub(crate) fn kernel(boot: &Path) -> Result<PathBuf> {
    let modules = of_the_kernel(boot)?;
    let in_boot = boot.join("boot").join(format!("vmlinuz-{}", release_of(&modules)));
    let beside = modules.join(KERNEL);
    [&in_boot, &beside]
        .into_iter()
        .find(|path| path.is_file())
        .cloned()
        .ok_or_else(|| {
            Error::Content(format!(
                "the kernel package brings modules and no kernel: there is neither {} nor {}",
                in_boot.display(),
                beside.display()
            ))
        })
}

fn release_of(modules: &Path) -> String {
    modules.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The folder of the one kernel's modules in the unpacked packages `boot`.
fn of_the_kernel(boot: &Path) -> Result<PathBuf> {
    let folder = ["usr/lib/modules", "lib/modules"]
        .map(|folder| boot.join(folder))
        .into_iter()
        .find(|folder| folder.is_dir());
    let folder = folder.ok_or_else(|| {
        Error::Content("the kernel package brings no modules; is it one of Debian's linux-image packages?".into())
    })?;
    match list(&folder)?.as_slice() {
        [release] => Ok(release.clone()),
        releases => Err(Error::Content(format!(
            "the kernel package brings {} kernels, and an image has one",
            releases.len()
        ))),
    }
}

/// Puts the modules of the unpacked packages `boot` into the installed packages `root`, where they are the same files.
pub(crate) fn install(log: &Log, boot: &Path, root: &Path) -> Result<()> {
    let release = of_the_kernel(boot)?;
    let modules = root.join("usr/lib/modules");
    super::files::make_folder(&modules)?;
    let target = modules.join(release_of(&release));
    cp::links(log, &release, &target)?;
    for aside in ASIDE {
        super::files::remove(&target.join(aside))?;
    }
    Ok(())
}

/// Makes the index of the modules in `tree`, which are those of the unpacked packages `boot`, and returns the kernel's release.
pub(super) fn run(context: &Context<'_>, boot: &Path, tree: &Path) -> Result<String> {
    let name = release_of(&of_the_kernel(boot)?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn kernel_is_found_in_boot_and_beside_its_modules() {
        let tree = tempfile::tempdir().unwrap();
        let modules = tree.path().join("usr/lib/modules/7.2");
        fs::create_dir_all(&modules).unwrap();
        assert!(kernel(tree.path()).unwrap_err().to_string().contains("no kernel"));
        fs::write(modules.join("vmlinuz"), "").unwrap();
        assert_eq!(kernel(tree.path()).unwrap(), modules.join("vmlinuz"));
        fs::create_dir(tree.path().join("boot")).unwrap();
        let in_boot = tree.path().join("boot/vmlinuz-7.2");
        fs::write(&in_boot, "").unwrap();
        assert_eq!(kernel(tree.path()).unwrap(), in_boot);
    }
}
