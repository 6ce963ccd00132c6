//! The signed root hash, beside the root it speaks of.
//!
//! Our way up does not need it: the kernel image, itself signed, names the root hash. It is there for tools that verify a disk
//! from outside, and for a kernel that wants each root hash signed.

use twinhull_trust::{MAX_SIGNATURE_BYTES, ReleaseDocument};

use super::InstallError;
use super::prepare::Plan;
use crate::io::Io;

/// Writes the signature of `release` and flushes it: the partition table names it afterwards. A release without one leaves the
/// partition as it is, which was marked empty before and stays so.
pub(super) fn write(io: &dyn Io, plan: &Plan, release: &ReleaseDocument) -> Result<(), InstallError> {
    let Some(text) = release.root.signature.as_deref() else {
        return Ok(());
    };
    let partition = &plan.partitions.signature;
    // As long as any before it can have been, so that nothing of that is left behind.
    let room = usize::try_from(partition.size)
        .unwrap_or(usize::MAX)
        .min(MAX_SIGNATURE_BYTES);
    let mut content = vec![0; room.max(text.len())];
    content[..text.len()].copy_from_slice(text.as_bytes());
    io.write_disk(partition.start, &content)
        .and_then(|()| io.flush_disk())
        .map_err(InstallError::disk("write the signed root hash"))
}
