//! Steps 3 and 4: the root file system and its tree of hashes.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use twinhull_verity::{BLOCK_SIZE, Salt, Tree, TreeBuilder};

use super::{Context, fits};
use crate::error::{Doing, Error, Result};
use crate::tools::mkfs_erofs;
use crate::tools::root::ToolRoot;

/// A root file system.
#[derive(Debug)]
pub(super) struct Root {
    /// The image file.
    pub(super) path: PathBuf,
    /// Its size in bytes, whole blocks.
    pub(super) size: u64,
    /// The salt of its tree of hashes.
    pub(super) salt: Salt,
}

/// Writes `tree` as an erofs image; `time` is in seconds since 1970.
pub(super) fn file_system(context: &Context<'_>, tools: &ToolRoot, tree: &Path, time: u64) -> Result<Root> {
    let path = context.file("root");
    let id = context.identifier("root file system");
    mkfs_erofs::run(&context.log, tools, tree, &path, id, time)?;
    let size = path.metadata().doing("look at", &path)?.len();
    if size == 0 || size % BLOCK_SIZE as u64 != 0 {
        return Err(Error::Content(format!(
            "mkfs.erofs wrote {size} bytes, which are not whole blocks; its version may be too old"
        )));
    }
    let hint = "drop packages or files from the definition, or change [budget] root. A larger [disk] root only helps new disks: slots never grow";
    fits("the root file system", size, context.definition.root_budget, hint)?;
    Ok(Root {
        path,
        size,
        salt: Salt::from(context.digest("twinhull-verity-salt")),
    })
}

/// Computes the tree of hashes of `root`.
pub(super) fn verity(context: &Context<'_>, root: &Root) -> Result<Tree> {
    let failed =
        |error: twinhull_verity::BuildError| Error::Content(format!("cannot compute the tree of hashes: {error}"));
    let mut builder = TreeBuilder::new(root.size / BLOCK_SIZE as u64, root.salt).map_err(failed)?;
    let file = File::open(&root.path).doing("read", &root.path)?;
    io::copy(&mut BufReader::with_capacity(1 << 20, file), &mut builder).doing("read", &root.path)?;
    let tree = builder.finish().map_err(failed)?;
    fits(
        "the tree of hashes",
        tree.as_bytes().len() as u64,
        context.definition.disk.verity,
        "this is a mistake in the layout",
    )?;
    Ok(tree)
}
