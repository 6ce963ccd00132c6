//! The partitions of this boot, and waiting until they are there.

mod announcements;
mod choice;
mod partitions;
mod tables;

use std::path::Path;
use std::time::{Duration, Instant};

use twinhull_layout::RootHash;
use uuid::Uuid;

pub(crate) use choice::{ChoiceError, Found};
pub(crate) use partitions::Partition;

use crate::console::Console;
use crate::error::InitError;
use crate::modules::Modules;
use announcements::Announcements;

/// How long a disk may take to appear: half of what the whole way may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Without a word from the boot loader, how long to watch for a second disk that fits before the first is taken.
const SETTLING: Duration = Duration::from_secs(3);

/// The kernel announces devices; should an announcement be lost, look anyway.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Waits until the partitions of `root_hash` are on the boot disk, loading drivers as hardware appears.
pub(crate) fn wait(
    modules: &mut Modules,
    boot_partition: Option<Uuid>,
    root_hash: &RootHash,
    console: Console,
) -> Result<Found, InitError> {
    // Subscribed before the first look, so that nothing falls between the two.
    let announcements = Announcements::subscribe().map_err(InitError::system(
        "subscribing to device events",
        "check that the kernel has netlink",
    ))?;
    let start = Instant::now();
    let mut first_found = None;
    let mut told = None;
    loop {
        modules.coldplug();
        let mut partitions = partitions::scan(Path::new("/sys/class/block"));
        tables::identify(&mut partitions, tables::read);
        match choice::choose(&partitions, boot_partition, root_hash) {
            Ok(found) if boot_partition.is_some() => return Ok(found),
            Ok(found) => {
                if first_found.get_or_insert_with(Instant::now).elapsed() >= SETTLING {
                    return Ok(found);
                }
            }
            Err(error) if error.is_final() || start.elapsed() >= PATIENCE => return Err(error.into()),
            Err(error) if told.as_ref() == Some(&error) => {}
            Err(error) => {
                console.detail(&format!("waiting: {error}"));
                told = Some(error);
            }
        }
        announcements.wait(LOOK_AGAIN);
    }
}
