//! The unified kernel image on the EFI system partition; and the commit.

use twinhull_layout::BootEntry;
use twinhull_trust::ReleaseDocument;

use super::entries::UNFINISHED;
use super::prepare::Plan;
use super::steps::Timer;
use super::stream::{self, Image};
use super::{InstallError, Repository};
use crate::io::Io;

/// Writes the kernel image under a name that boots nothing, flushes it, and compares what is there. Gives the bytes fetched.
pub(super) fn write(
    io: &dyn Io,
    repository: &mut dyn Repository,
    plan: &Plan,
    release: &ReleaseDocument,
    timer: &mut Timer<'_>,
) -> Result<u64, InstallError> {
    let headers: u64 = plan.kernel.iter().map(|candidate| candidate.payload.header_size).sum();
    let target = Image::Entry(io, UNFINISHED);
    let fetched = stream::first_that_works(&plan.kernel, |candidate| {
        io.create_entry(UNFINISHED)
            .map_err(InstallError::esp("make a file for the kernel image"))?;
        let base = Image::Entry(io, &plan.running_entry);
        stream::apply(repository, candidate, base, target, &mut |offset, bytes| {
            timer.at(offset + bytes.len() as u64);
            Ok(())
        })
    })?;
    io.flush_entry(UNFINISHED)
        .map_err(InstallError::esp("flush the kernel image"))?;
    let found = stream::hash(io, UNFINISHED)?;
    if found == release.uki.sha256 {
        Ok(headers + fetched)
    } else {
        Err(InstallError::KernelHash {
            expected: release.uki.sha256.to_string(),
            found: found.to_string(),
        })
    }
}

/// The commit: from the rename on, the next boot tries the new release. The flush makes it so after a power cut too.
pub(super) fn commit(io: &dyn Io, entry: &BootEntry) -> Result<(), InstallError> {
    let name = entry.to_string();
    io.rename_entry(UNFINISHED, &name)
        .map_err(InstallError::esp(format!("name the kernel image {name}")))?;
    io.flush_entries()
        .map_err(InstallError::esp(format!("flush the new boot entry {name}")))
}
