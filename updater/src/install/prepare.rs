//! What is refused before anything changes.

use twinhull_layout::Slot;
use twinhull_layout::table::SlotPartitions;
use twinhull_payload::{Header, Reuse, block_map_size};
use twinhull_trust::{Hex32, PayloadRef, ReleaseDocument};
use twinhull_verity::{BLOCK_SIZE, partition_size};

use super::allowance::Allowance;
use super::entries::our_entries;
use super::slot::Slots;
use super::{InstallError, Repository, reuse, stream};
use crate::host::Running;
use crate::io::Io;

/// Room on the EFI system partition that is left alone, in bytes: folders grow, and FAT rounds up.
const ESP_RESERVE: u64 = 1024 * 1024;

/// What goes where, and from what.
pub(super) struct Plan {
    /// The slot that is written.
    pub(super) slot: Slot,
    /// Its partitions.
    pub(super) partitions: SlotPartitions,
    /// The payloads for the root.
    pub(super) root: Payloads,
    /// The payloads for the kernel image.
    pub(super) kernel: Payloads,
    /// What may still be fetched.
    pub(super) allowance: Allowance,
    /// The file name of the running release's boot entry.
    pub(super) running_entry: String,
}

/// The payloads for one image.
pub(super) struct Payloads {
    /// The one that is used.
    pub(super) chosen: Candidate,
    /// The full one, for where the base of the chosen one is damaged. Its header is fetched only then.
    pub(super) full: Option<PayloadRef>,
    /// What need not be fetched of a full one that is used.
    pub(super) reuse: Option<Reuse>,
}

impl Payloads {
    /// Bytes that will be fetched, if nothing goes wrong.
    fn cost(&self) -> u64 {
        let payload = &self.chosen.payload;
        let map = payload.map_sha256.filter(|_| self.reuse.is_some());
        let map = map.map_or(0, |_| block_map_size(self.chosen.header.output_size()));
        let saved = self.reuse.as_ref().map_or(0, Reuse::saved);
        payload.size.saturating_sub(saved) + map
    }
}

/// A payload with its header.
pub(super) struct Candidate {
    /// Where it is.
    pub(super) payload: PayloadRef,
    /// Its header, verified.
    pub(super) header: Header,
}

/// Checks everything that can be checked, fetches the headers of the payloads, and changes nothing.
pub(super) fn plan(
    io: &dyn Io,
    repository: &mut dyn Repository,
    running: &Running,
    release: &ReleaseDocument,
) -> Result<Plan, InstallError> {
    belongs_here(running, release)?;
    let slots = Slots::read(io, running)?;
    let partitions = slots.inactive_partitions.clone();
    fits_slot(release, slots.inactive(), &partitions)?;
    let entries = our_entries(io, running)?;
    let running_entry = entries.way_back()?.to_string();
    fits_esp(io, release, &entries)?;

    let root_base = Hex32::from(*running.root_hash.as_bytes());
    let mut root = payloads(
        repository,
        &release.root.payloads,
        root_base,
        release.root.size,
        "the root",
    )?;
    hashes_for(&root.chosen, release)?;
    root.reuse = reuse::find(io, repository, &root.chosen, slots.active_partitions.root.size);
    let kernel_base = stream::hash(io, &running_entry, &stream::Image::Entry(io, &running_entry))?;
    let kernel = payloads(
        repository,
        &release.uki.payloads,
        kernel_base,
        release.uki.size,
        "the kernel image",
    )?;
    let mut allowance = Allowance::new(repository.max_fetch());
    for payloads in [&root, &kernel] {
        allowance.ask(payloads.cost(), &payloads.chosen.payload.path)?;
    }
    Ok(Plan {
        slot: slots.inactive(),
        partitions,
        root,
        kernel,
        allowance,
        running_entry,
    })
}

/// The signed document is for this host. That it is for this product, architecture and version was compared when it was read;
/// what is installed is decided here once more, by the last hand before the disk.
fn belongs_here(running: &Running, release: &ReleaseDocument) -> Result<(), InstallError> {
    let name = release.target();
    if release.product != running.product {
        return Err(twinhull_trust::TrustError::WrongProduct {
            name,
            expected: running.product.clone(),
            found: release.product.clone(),
        }
        .into());
    }
    if release.arch != running.arch {
        return Err(twinhull_trust::TrustError::WrongArchitecture {
            name,
            expected: running.arch,
            found: release.arch,
        }
        .into());
    }
    if release.version == running.version {
        return Err(InstallError::Running {
            version: release.version.clone(),
        });
    }
    if let Some(minimum) = release
        .minimum_from
        .as_ref()
        .filter(|minimum| running.version < **minimum)
    {
        return Err(InstallError::TooFar {
            version: release.version.clone(),
            minimum: minimum.clone(),
            running: running.version.clone(),
        });
    }
    if release.root.root_hash == running.root_hash {
        return Err(InstallError::SameContent {
            version: release.version.clone(),
        });
    }
    Ok(())
}

/// The hashes that `root` is checked with become the leaves of the tree.
fn hashes_for(root: &Candidate, release: &ReleaseDocument) -> Result<(), InstallError> {
    if root.header.salt().as_bytes() == release.root.salt.as_bytes() {
        Ok(())
    } else {
        Err(InstallError::Inconsistent(format!(
            "{} has another salt than the release says",
            root.payload.path
        )))
    }
}

fn fits_slot(release: &ReleaseDocument, slot: Slot, partitions: &SlotPartitions) -> Result<(), InstallError> {
    let root = &release.root;
    if !root.size.is_multiple_of(BLOCK_SIZE as u64) || partition_size(root.size / BLOCK_SIZE as u64) != root.verity_size
    {
        return Err(InstallError::Inconsistent(format!(
            "a root of {} bytes has no hash tree of {} bytes",
            root.size, root.verity_size
        )));
    }
    let sizes = [
        ("the root", root.size, partitions.root.size),
        ("the hash tree", root.verity_size, partitions.verity.size),
        (
            "the signed root hash",
            root.signature.as_ref().map_or(0, |text| text.len() as u64),
            partitions.signature.size,
        ),
    ];
    for (what, needed, available) in sizes {
        if needed > available {
            return Err(InstallError::TooLarge {
                what,
                place: format!("slot {slot}"),
                needed,
                available,
            });
        }
    }
    Ok(())
}

fn fits_esp(io: &dyn Io, release: &ReleaseDocument, entries: &super::Entries) -> Result<(), InstallError> {
    let mut available = io
        .free_for_entries()
        .map_err(InstallError::esp("measure the free space"))?;
    // What will be removed to make room.
    for name in entries
        .others
        .iter()
        .map(ToString::to_string)
        .chain(entries.unfinished.iter().cloned())
    {
        available += io
            .entry_size(&name)
            .map_err(InstallError::esp(format!("measure {name}")))?;
    }
    let needed = release.uki.size.saturating_add(ESP_RESERVE);
    if needed > available {
        return Err(InstallError::TooLarge {
            what: "the kernel image",
            place: "the EFI system partition".to_owned(),
            needed,
            available,
        });
    }
    Ok(())
}

/// The smallest payload that this host can use, and the full one beside it.
fn payloads(
    repository: &mut dyn Repository,
    payloads: &[PayloadRef],
    base: Hex32,
    size: u64,
    what: &'static str,
) -> Result<Payloads, InstallError> {
    let usable = |payload: &&PayloadRef| payload.base.is_none_or(|needed| needed == base);
    let chosen = payloads
        .iter()
        .filter(usable)
        .min_by_key(|payload| payload.size)
        .ok_or(InstallError::NoPayload { what })?;
    let full = payloads.iter().find(|payload| payload.base.is_none());
    Ok(Payloads {
        chosen: candidate(repository, chosen, size)?,
        full: full.filter(|_| chosen.base.is_some()).cloned(),
        reuse: None,
    })
}

/// Fetches the header of `payload`, which must be for an image of `size` bytes.
pub(super) fn candidate(
    repository: &mut dyn Repository,
    payload: &PayloadRef,
    size: u64,
) -> Result<Candidate, InstallError> {
    let header = stream::header(repository, payload)?;
    let promised = (payload.size, size, payload.base.is_some());
    let found = (header.payload_size(), header.output_size(), header.base_size() > 0);
    if promised == found {
        Ok(Candidate {
            payload: payload.clone(),
            header,
        })
    } else {
        Err(InstallError::Inconsistent(format!(
            "{} has other sizes than the release says",
            payload.path
        )))
    }
}
