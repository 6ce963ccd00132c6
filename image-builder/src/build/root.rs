//! Steps 3 and 4: the root file system and its tree of hashes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use twinhull_verity::{BLOCK_SIZE, HASH_SIZE, Salt, Tree, TreeBuilder, leaf_hash};

use super::{Context, fits, processors};
use crate::error::{Doing, Error, Result};
use crate::tools::mkfs_erofs;
use crate::tools::root::ToolRoot;

/// How much is read at once, in bytes: whole blocks.
const PIECE: u64 = 1 << 20;

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

/// The hashes of the blocks of `file`, of which there are `size` bytes: all of the work of a tree, so every processor takes a stretch.
fn leaves(file: &File, size: u64, salt: &Salt) -> io::Result<Vec<[u8; HASH_SIZE]>> {
    let workers = u64::from(processors());
    let stretch = size.div_ceil(workers).next_multiple_of(PIECE);
    let hash = &|start: u64| -> io::Result<Vec<[u8; HASH_SIZE]>> {
        let (mut leaves, mut piece) = (Vec::new(), vec![0; usize::try_from(PIECE).unwrap_or(0)]);
        let mut at = start;
        let end = size.min(start + stretch);
        while at < end {
            let wanted = usize::try_from(PIECE.min(end - at)).unwrap_or(0);
            file.read_exact_at(&mut piece[..wanted], at)?;
            leaves.extend(
                piece[..wanted]
                    .chunks_exact(BLOCK_SIZE)
                    .map(|block| leaf_hash(salt, block)),
            );
            at += wanted as u64;
        }
        Ok(leaves)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|worker| worker * stretch)
            .filter(|start| *start < size)
            .map(|start| scope.spawn(move || hash(start)))
            .collect();
        let mut leaves = Vec::new();
        for thread in running {
            leaves.extend(thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?);
        }
        Ok(leaves)
    })
}

/// Computes the tree of hashes of `root`.
pub(super) fn verity(context: &Context<'_>, root: &Root) -> Result<Tree> {
    let failed =
        |error: twinhull_verity::BuildError| Error::Content(format!("cannot compute the tree of hashes: {error}"));
    let mut builder = TreeBuilder::new(root.size / BLOCK_SIZE as u64, root.salt).map_err(failed)?;
    let file = File::open(&root.path).doing("read", &root.path)?;
    let leaves = leaves(&file, root.size, &root.salt).doing("read", &root.path)?;
    for (index, leaf) in (0..).zip(leaves) {
        builder.set_leaf(index, leaf).map_err(failed)?;
    }
    let tree = builder.finish().map_err(failed)?;
    fits(
        "the tree of hashes",
        tree.as_bytes().len() as u64,
        context.definition.disk.verity,
        "this is a mistake in the layout",
    )?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn stretches_of_many_processors_make_the_tree_that_one_makes() {
        let salt = Salt::from([7; 32]);
        for blocks in [1, 2, 255, 256, 257, 1000] {
            let size = blocks * BLOCK_SIZE;
            let data: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&data).unwrap();
            let wanted: Vec<_> = data
                .chunks_exact(BLOCK_SIZE)
                .map(|block| leaf_hash(&salt, block))
                .collect();
            assert!(leaves(&file, size as u64, &salt).unwrap() == wanted, "{blocks}");
        }
    }
}
