//! The root file system, streamed into the slot, with its hash tree.

use std::io as std_io;

use twinhull_trust::ReleaseDocument;
use twinhull_verity::{BLOCK_SIZE, HashSink, Salt, TreeWriter};

use super::prepare::Plan;
use super::steps::Timer;
use super::stream::{self, Image};
use super::{InstallError, Repository};
use crate::io::Io;
use twinhull_payload::Target;

/// The verity partition of the slot.
struct HashPartition<'a>(Image<'a>);

impl HashSink for HashPartition<'_> {
    fn write_block(&mut self, offset: u64, block: &[u8; BLOCK_SIZE]) -> std_io::Result<()> {
        self.0.write_at(offset, block)
    }
}

/// Writes root and hash tree, compares the root hash with the signed one, and flushes. Gives the bytes that were fetched.
pub(super) fn write(
    io: &dyn Io,
    repository: &mut dyn Repository,
    plan: &mut Plan,
    release: &ReleaseDocument,
    timer: &mut Timer<'_>,
) -> Result<u64, InstallError> {
    let root = &plan.partitions.root;
    let verity = &plan.partitions.verity;
    let salt = Salt::from(*release.root.salt.as_bytes());

    let sink = HashPartition(Image::Disk(io, verity.start, verity.size));
    let mut tree = TreeWriter::new(release.root.size / BLOCK_SIZE as u64, salt, sink)?;
    let fetched = stream::apply(
        repository,
        &mut plan.root,
        &mut plan.allowance,
        Image::Root(io),
        &Image::Disk(io, root.start, root.size),
        &mut |part| {
            let mut leaves = part.leaves.iter();
            leaves
                .try_for_each(|leaf| tree.push_leaf(*leaf))
                .map_err(std_io::Error::other)?;
            timer.at(part.end());
            Ok(())
        },
    )?;
    let (found, _) = tree.finish()?;

    let expected = release.root.root_hash;
    if found != expected {
        return Err(InstallError::RootHash { expected, found });
    }
    io.flush_disk().map_err(InstallError::disk("flush the other slot"))?;
    Ok(fetched)
}
