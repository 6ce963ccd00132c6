//! The unified kernel image on the EFI system partition; and the commit.

use twinhull_layout::BootEntry;
use twinhull_trust::ReleaseDocument;

use super::head::{self, Headless};
use super::prepare::Plan;
use super::steps::Timer;
use super::stream::{self, Image};
use super::{InstallError, Repository};
use crate::io::Io;

/// Writes the kernel image as `entry`, all but its first sector, flushes it, compares what is there, and commits. Gives the bytes
/// fetched. What fails before the commit leaves no file.
pub(super) fn write(
    io: &dyn Io,
    repository: &mut dyn Repository,
    plan: &mut Plan,
    release: &ReleaseDocument,
    entry: &BootEntry,
    timer: &mut Timer<'_>,
) -> Result<u64, InstallError> {
    let name = entry.to_string();
    let target = Headless::new(io, &name);
    let fetched = content(io, repository, plan, release, &target, &name, timer).inspect_err(|_| {
        // It boots nothing, and the next attempt removes it: this is only tidy.
        let _ = io.remove_entry(&name);
    })?;
    // The commit: from here on the next boot tries the new release.
    head::put(io, &name, &target.head(release.uki.size))?;
    Ok(fetched)
}

fn content(
    io: &dyn Io,
    repository: &mut dyn Repository,
    plan: &mut Plan,
    release: &ReleaseDocument,
    target: &Headless<'_>,
    name: &str,
    timer: &mut Timer<'_>,
) -> Result<u64, InstallError> {
    io.create_entry(name)
        .map_err(InstallError::esp(format!("make the file {name}")))?;
    // A long name is several records of a folder: all of them are there before there is any content.
    io.flush_entries()
        .map_err(InstallError::esp(format!("flush the name {name}")))?;
    let fetched = stream::apply(
        repository,
        &mut plan.kernel,
        &mut plan.allowance,
        Image::Entry(io, &plan.running_entry),
        target,
        &mut |part| {
            timer.at(part.end());
            Ok(())
        },
    )
    .map_err(InstallError::on_esp)?;
    io.flush_entry(name)
        .map_err(InstallError::esp("flush the kernel image"))?;
    let found = stream::hash(io, name, target)?;
    if found == release.uki.sha256 {
        Ok(fetched)
    } else {
        Err(InstallError::KernelHash {
            expected: release.uki.sha256.to_string(),
            found: found.to_string(),
        })
    }
}
