//! What *landed* is compared with what was signed, not what was sent.

use std::io::{self, Read};

use twinhull_layout::RootHash;
use twinhull_layout::table::SlotPartitions;
use twinhull_trust::ReleaseDocument;
use twinhull_verity::{BLOCK_SIZE, Superblock, VerifyError};

use super::prepare::Plan;
use super::steps::Timer;
use super::stream::{FromStart, Image};
use super::{InstallError, Progress, Step};
use crate::io::Io;

/// Reads root and hash tree from the medium and compares every block, down from the signed root hash.
pub(super) fn compare(
    io: &dyn Io,
    plan: &Plan,
    release: &ReleaseDocument,
    timer: &mut Timer<'_>,
) -> Result<(), InstallError> {
    let (root, verity) = (&plan.partitions.root, &plan.partitions.verity);
    for (partition, size) in [(root, release.root.size), (verity, release.root.verity_size)] {
        io.forget_disk(partition.start, size)
            .map_err(InstallError::disk("drop the cached content of the other slot"))?;
    }
    let sizes = (release.root.size, release.root.verity_size);
    let superblock = verify(io, &plan.partitions, sizes, &release.root.root_hash, &mut |done| {
        timer.at(done);
    })
    .map_err(|source| InstallError::ReadBack {
        slot: plan.slot,
        source,
    })?;
    // The superblock is not covered by the root hash.
    if superblock.data_blocks == release.root.size / BLOCK_SIZE as u64 {
        Ok(())
    } else {
        Err(InstallError::Inconsistent(format!(
            "the hash tree covers {} blocks of a root of {} bytes",
            superblock.data_blocks, release.root.size
        )))
    }
}

/// Compares a slot, as large as its hash tree says, with a root hash.
pub(crate) fn verify_slot(
    io: &dyn Io,
    partitions: &SlotPartitions,
    hash: &RootHash,
    watch: &mut dyn FnMut(Progress),
) -> Result<(), VerifyError> {
    let sizes = (partitions.root.size, partitions.verity.size);
    let watch = &mut |done| {
        watch(Progress {
            step: Step::ReadBack,
            done,
            total: partitions.root.size,
        });
    };
    verify(io, partitions, sizes, hash, watch).map(drop)
}

fn verify(
    io: &dyn Io,
    partitions: &SlotPartitions,
    (root_size, verity_size): (u64, u64),
    hash: &RootHash,
    watch: &mut dyn FnMut(u64),
) -> Result<Superblock, VerifyError> {
    let root = Image::Disk(io, partitions.root.start, root_size);
    let verity = Image::Disk(io, partitions.verity.start, verity_size);
    let mut watched = Watched {
        inner: FromStart::new(&root, root_size),
        watch,
    };
    twinhull_verity::verify(&mut watched, &mut FromStart::new(&verity, verity_size), hash)
}

struct Watched<'a, 'w> {
    inner: FromStart<'a>,
    watch: &'w mut dyn FnMut(u64),
}

impl Read for Watched<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let before = self.inner.position();
        let count = self.inner.read(buffer)?;
        let after = self.inner.position();
        if after > before {
            (self.watch)(after);
        }
        Ok(count)
    }
}
