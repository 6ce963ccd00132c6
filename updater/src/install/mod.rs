//! The update transaction: a signed release into the inactive slot.
//!
//! Each step is durable before the next begins, and the commit is one sector on the EFI system partition. Cut at any point, the
//! running release still boots, and running the transaction again brings it to its end.
//!
//! 1. [`prepare`]: refuse what does not belong or does not fit; nothing has changed yet;
//! 2. [`slot::invalidate`]: the other slot's boot entry goes, its first sector first, then its place in the partition table;
//! 3. [`root`]: the root file system is streamed into the slot, its hash tree computed on the way;
//! 4. [`read_back`]: all of it is read from the medium and compared with the signed root hash;
//! 5. [`signature`] and [`slot::assign`]: the signed root hash is written, and the partition table names the slot again;
//! 6. [`kernel`]: the unified kernel image goes to the EFI system partition without its first sector, so that it boots nothing,
//!    is flushed and compared, and gets its first sector ([`head`] says why): committed.

mod allowance;
mod aside;
mod entries;
mod error;
mod head;
mod kernel;
mod prepare;
mod read_back;
mod repository;
mod reuse;
mod root;
mod signature;
mod slot;
mod steps;
mod stream;

use twinhull_layout::{BootEntry, Version};
use twinhull_trust::ReleaseDocument;

pub use allowance::MaxFetch;
pub(crate) use aside::set_aside;
pub use entries::{Entries, our_entries};
pub use error::InstallError;
pub(crate) use head::HEAD;
pub(crate) use read_back::verify_slot;
pub use repository::Repository;
pub use slot::{Slots, mend_table, table};
use steps::Timer;
pub use steps::{Progress, Step};

use crate::host::Running;
use crate::io::Io;
use crate::machine::Installed;

/// Installs `release` beside `running`.
///
/// # Errors
/// See [`InstallError`]. Before the slot was touched nothing has changed; afterwards the slot is marked empty and has no boot
/// entry.
pub fn install(
    io: &dyn Io,
    repository: &mut dyn Repository,
    running: &Running,
    release: &ReleaseDocument,
    watch: &mut dyn FnMut(Progress),
) -> Result<Installed, InstallError> {
    let mut timer = Timer::new(watch);
    timer.begin(Step::Prepare, 0);
    let mut plan = prepare::plan(io, repository, running, release)?;
    slot::invalidate(io, running, plan.slot)?;

    timer.begin(Step::Root, release.root.size);
    let mut fetched = root::write(io, repository, &mut plan, release, &mut timer)?;

    timer.begin(Step::ReadBack, release.root.size);
    read_back::compare(io, &plan, release, &mut timer)?;
    signature::write(io, &plan, release)?;
    slot::assign(io, running, plan.slot, release)?;

    timer.begin(Step::Kernel, release.uki.size);
    let entry = BootEntry::fresh(release.product.clone(), release.version.clone());
    fetched += kernel::write(io, repository, &mut plan, release, &entry, &mut timer)?;
    Ok(Installed {
        fetched,
        phases: timer.finish(),
    })
}

/// Takes a release that was installed and not booted yet out of the other slot.
///
/// # Errors
/// The disk or the EFI system partition; or the release is the one that runs.
pub fn discard(io: &dyn Io, running: &Running, version: &Version) -> Result<(), InstallError> {
    if running.version == *version {
        return Err(InstallError::Running {
            version: version.clone(),
        });
    }
    let slot = Slots::read(io, running)?.inactive();
    slot::invalidate(io, running, slot)
}
