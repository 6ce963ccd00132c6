//! The way up, step by step.

use std::convert::Infallible;
use std::path::Path;

use crate::cmdline::Cmdline;
use crate::console::Console;
use crate::error::InitError;
use crate::modules::Modules;
use crate::{bounded, disk, efi, mounts, root, state};

/// What the steps below need, whatever else `modules.load` asks for. Those that are built into the kernel are
/// no files in the initramfs and are passed over.
const NEEDED: [&str; 6] = ["efivarfs", "dm-mod", "dm-verity", "erofs", "ext4", "overlay"];

/// A kernel command line is at most 2048 bytes on both architectures; 4096 leaves room.
const CMDLINE_LIMIT: u64 = 4096;

/// Goes all the way. Returns only when a step failed.
pub(crate) fn run(console: Console) -> Result<Infallible, InitError> {
    mounts::kernel_file_systems()?;
    let text = bounded::read_text(Path::new("/proc/cmdline"), CMDLINE_LIMIT).map_err(InitError::system(
        "reading /proc/cmdline",
        "check that the kernel has procfs",
    ))?;
    let cmdline = Cmdline::parse(&text)?;
    let console = if cmdline.debug { Console::verbose() } else { console };
    console.step(&format!("root hash {}", cmdline.root_hash));

    let mut modules = Modules::open(Path::new("/modules"), console)?;
    for name in NEEDED {
        modules.load(name);
    }
    modules.load_listed()?;

    let boot_partition = efi::boot_partition(console);
    let found = disk::wait(&mut modules, boot_partition, &cmdline.root_hash, console)?;
    console.step(&format!(
        "root {}, hash tree {}, state {}",
        found.root.name, found.verity.name, found.state.name
    ));

    let device = root::open(&found.root, &found.verity, &cmdline.root_hash)?;
    mounts::root(&device)?;
    state::mount(&found.state)?;
    console.step("handing over to systemd");
    mounts::switch_root()
}
