//! The boot entries on the EFI system partition.

use twinhull_layout::BootEntry;

use super::{InstallError, head};
use crate::host::Running;
use crate::io::Io;

/// Name under which earlier agents wrote a kernel image.
const UNFINISHED: &str = "twinhull.new";

/// Our boot entries, those of the running release apart from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// Of the running release: one, unless somebody changed something.
    pub running: Vec<BootEntry>,
    /// Of everything else.
    pub others: Vec<BootEntry>,
    /// Files that were left unfinished, and boot nothing.
    pub unfinished: Vec<String>,
}

/// Reads them. Files with other names are not ours and are not mentioned.
///
/// # Errors
/// The EFI system partition cannot be read.
pub fn our_entries(io: &dyn Io, running: &Running) -> Result<Entries, InstallError> {
    let names = io.entries().map_err(InstallError::esp("list the boot entries"))?;
    let is_entry = |name: &String| name.parse::<BootEntry>().is_err() || head::is_there(io, name);
    let (whole, headless): (Vec<String>, Vec<String>) = names.into_iter().partition(is_entry);
    let mut entries = Entries::of(&whole, running);
    entries.unfinished.extend(headless);
    Ok(entries)
}

impl Entries {
    /// Those among the files `names`.
    pub fn of(names: &[String], running: &Running) -> Self {
        let entries = names.iter().filter_map(|name| name.parse::<BootEntry>().ok());
        let (running, others) =
            entries.partition(|entry| entry.product == running.product && entry.version == running.version);
        Self {
            running,
            others,
            unfinished: names.iter().filter(|name| *name == UNFINISHED).cloned().collect(),
        }
    }

    /// Whether what runs has a boot counter and no entry without one.
    pub fn on_trial(&self) -> bool {
        !self.running.is_empty() && self.way_back().is_err()
    }

    /// Whether the loader would start none of them: what runs was set aside.
    pub fn set_aside(&self) -> bool {
        self.running.iter().all(BootEntry::is_bad)
    }

    /// The running release's entry without a counter: what the loader falls back to.
    ///
    /// # Errors
    /// [`InstallError::NoWayBack`].
    pub fn way_back(&self) -> Result<&BootEntry, InstallError> {
        self.running
            .iter()
            .find(|entry| entry.tries.is_none())
            .ok_or_else(|| InstallError::no_way_back(&self.running))
    }
}
