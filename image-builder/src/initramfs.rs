//! Step 5: the initramfs: our `init`, the kernel modules it may need, and nothing else.
//!
//! Uncompressed, because that halves what an update of it costs; the firmware reads the few megabytes in no time.

mod cpio;
mod modules;

use std::fs;
use std::path::Path;

use crate::definition::Definition;
use crate::error::{Doing, Result};
use crate::tree::Tree;
use cpio::Archive;
use modules::Index;

/// Folders that `init` mounts on.
const MOUNT_POINTS: [&str; 5] = ["dev", "proc", "run", "sys", "sysroot"];

/// The finished initramfs.
#[derive(Debug)]
pub struct Initramfs {
    /// The cpio archive.
    pub bytes: Vec<u8>,
    /// How many kernel modules are in it.
    pub modules: usize,
}

/// Packs `init` and the modules that `definition` names out of `tree`.
pub fn run(definition: &Definition, tree: &Tree, init: &Path) -> Result<Initramfs> {
    let folder = tree.path.join("usr/lib/modules").join(&tree.kernel);
    let index = Index::read(&folder)?;
    let selection = index.select(&definition.load, &definition.modules, definition.modules_are_explicit)?;
    let mut archive = Archive::new();
    for name in MOUNT_POINTS {
        archive.folder(name);
    }
    archive.file("init", &fs::read(init).doing("read", init)?, 0o755);
    archive.folder("modules");
    for (name, path) in &selection.files {
        let path = folder.join(path);
        archive.file(
            &format!("modules/{name}"),
            &fs::read(&path).doing("read", &path)?,
            0o644,
        );
    }
    archive.file("modules/modules.alias", selection.alias.as_bytes(), 0o644);
    archive.file("modules/modules.dep", selection.dep.as_bytes(), 0o644);
    archive.file("modules/modules.load", selection.load.as_bytes(), 0o644);
    Ok(Initramfs {
        bytes: archive.finish(),
        modules: selection.files.len(),
    })
}
