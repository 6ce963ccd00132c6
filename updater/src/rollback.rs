//! The way back by hand: the other slot boots next.
//!
//! No EFI variable is needed: the running release's entry goes, and a copy of it stays with a used-up boot counter, which the
//! loader sorts after all others.

use jiff::Timestamp;
use twinhull_layout::table::SlotContent;
use twinhull_layout::{BootEntry, RootHash, Version};

use crate::host::Running;
use crate::install::{self, InstallError, Progress, Slots, our_entries};
use crate::io::Io;
use crate::machine::{Failure, Known, Problem, Rollback};

/// Largest kernel image that is looked into, in bytes.
const MAX_KERNEL: u64 = 256 * 1024 * 1024;

/// Why there is no way back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// Disk or boot entries cannot be read or changed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// There is nothing in the other slot.
    #[error("slot {0} holds nothing that may boot")]
    Empty(twinhull_layout::Slot),
    /// It is there, but the loader would not start it.
    #[error("{version} in the other slot has no usable boot entry ({found})")]
    NoEntry {
        /// The release.
        version: Version,
        /// What there is.
        found: String,
    },
    /// It is newer than what runs.
    #[error("{0} in the other slot is newer than what runs: it boots next anyway")]
    Newer(Version),
    /// The entry does not boot what is in the slot.
    #[error("the boot entry {entry} does not belong to what is in the other slot")]
    Mismatch {
        /// The entry.
        entry: BootEntry,
    },
    /// What is in the slot is damaged.
    #[error("the other slot is damaged: {0}")]
    Damaged(#[from] twinhull_verity::VerifyError),
    /// It was asked for already.
    #[error("{0} boots next already; reboot to go back to it")]
    Pending(Version),
}

impl RollbackError {
    /// For machines.
    pub fn problem(&self) -> Problem {
        let code = match self {
            Self::Install(error) => error.code(),
            Self::Damaged(_) => "other-slot-damaged",
            Self::Pending(_) => "rollback-pending",
            _ => "nothing-to-go-back-to",
        };
        Problem::new(code, self)
    }
}

/// What a way back will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What boots next.
    pub to: Version,
    /// The running release's entry as it is.
    entry: BootEntry,
}

/// Makes sure that the other slot can boot, down to its last block. Changes nothing.
///
/// # Errors
/// See [`RollbackError`].
pub fn find(
    io: &dyn Io,
    running: &Running,
    known: &Known,
    watch: &mut dyn FnMut(Progress),
) -> Result<Way, RollbackError> {
    if let Some(pending) = &known.rollback {
        return Err(RollbackError::Pending(pending.to.clone()));
    }
    let slots = Slots::read(io, running)?;
    let SlotContent::Release(version) = slots.inactive_partitions.content() else {
        return Err(RollbackError::Empty(slots.inactive()));
    };
    if version > running.version {
        return Err(RollbackError::Newer(version));
    }
    let entries = our_entries(io, running)?;
    let Some(target) = entries
        .others
        .iter()
        .find(|entry| entry.version == version && !entry.is_bad())
    else {
        let names: Vec<String> = entries.others.iter().map(ToString::to_string).collect();
        return Err(RollbackError::NoEntry {
            version,
            found: if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            },
        });
    };
    let hash = booted_by(io, target)?;
    if !hash.is_some_and(|hash| slots.inactive_partitions.holds(&hash)) {
        return Err(RollbackError::Mismatch { entry: target.clone() });
    }
    if let Some(hash) = hash {
        install::verify_slot(io, &slots.inactive_partitions, &hash, watch)?;
    }
    // With several entries of its own the loader might still start one of them. One that is bad is a copy that an earlier attempt
    // made.
    let usable: Vec<&BootEntry> = entries.running.iter().filter(|entry| !entry.is_bad()).collect();
    let [entry] = usable[..] else {
        return Err(InstallError::no_way_back(&entries.running).into());
    };
    Ok(Way {
        to: version,
        entry: entry.clone(),
    })
}

/// Writes down in `known` what is about to happen; keep it before [`take`].
pub fn remember(way: &Way, running: &Running, known: &mut Known, at: Timestamp) {
    known.attempt = None;
    known.rollback = Some(Rollback {
        from: running.version.clone(),
        to: way.to.clone(),
        since: at,
    });
    known.failed.insert(
        running.version.clone(),
        Failure {
            code: "rolled-back".to_owned(),
            reason: "rolled back by hand".to_owned(),
            since: at,
        },
    );
}

/// Forgets it again: [`take`] failed before anything was changed for good.
pub fn forget(running: &Running, known: &mut Known) {
    known.rollback = None;
    known.failed.remove(&running.version);
}

/// Sets the running release's entry aside: from here on the other slot boots.
///
/// # Errors
/// The EFI system partition.
pub fn take(io: &dyn Io, way: &Way) -> Result<(), RollbackError> {
    Ok(install::set_aside(io, &way.entry)?)
}

/// Whether the running release's entry still boots, as far as can be told.
pub fn still_boots(io: &dyn Io, running: &Running) -> bool {
    our_entries(io, running).is_ok_and(|entries| !entries.set_aside())
}

/// The root hash on the command line within a boot entry.
fn booted_by(io: &dyn Io, entry: &BootEntry) -> Result<Option<RootHash>, InstallError> {
    let name = entry.to_string();
    let failed = |source| InstallError::Esp {
        action: format!("read {name}"),
        source,
    };
    let size = io.entry_size(&name).map_err(failed)?;
    if size > MAX_KERNEL {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    io.read_entry(&name, 0, &mut bytes).map_err(failed)?;
    let command_line = twinhull_uki::section(&bytes, ".cmdline").ok();
    let text = command_line.and_then(|bytes| std::str::from_utf8(bytes).ok());
    Ok(text.and_then(|text| crate::host::parse_command_line(text.trim_end_matches('\0'))))
}
