//! Mounting, and leaving the initramfs.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use nix::unistd::{chdir, chroot};

use crate::error::InitError;

/// Where the root is put together.
pub(crate) const SYSROOT: &str = "/sysroot";

const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// File system type of an initramfs without tmpfs (`RAMFS_MAGIC` in `linux/magic.h`).
const RAMFS_MAGIC: i64 = 0x8584_58f6;

const KERNEL: &str = "check that the kernel has this file system";
const IMAGE: &str = "check that the image has this folder";

/// The mounts that systemd expects to find, and takes over.
const KERNEL_FILE_SYSTEMS: [(&str, &str, &str, MsFlags); 4] = [
    ("devtmpfs", "/dev", "mode=755", MsFlags::MS_NOSUID),
    ("proc", "/proc", "", HARDENED),
    ("sysfs", "/sys", "", HARDENED),
    ("tmpfs", "/run", "mode=755", MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV)),
];

const HARDENED: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Whether this process lives in an initramfs.
pub(crate) fn on_initramfs() -> bool {
    statfs("/").is_ok_and(|root| [FsType(RAMFS_MAGIC as _), TMPFS_MAGIC].contains(&root.filesystem_type()))
}

/// Mounts `/dev`, `/proc`, `/sys` and `/run`. `/dev` comes first: errors are told through it.
pub(crate) fn kernel_file_systems() -> Result<(), InitError> {
    for (kind, target, options, flags) in KERNEL_FILE_SYSTEMS {
        fs::create_dir_all(target).map_err(InitError::system(format!("creating {target}"), "rebuild the image"))?;
        match mount(Some(kind), target, Some(kind), flags, Some(options)) {
            // A kernel with CONFIG_DEVTMPFS_MOUNT was faster.
            Err(Errno::EBUSY) if kind == "devtmpfs" => {}
            other => other.map_err(InitError::system(format!("mounting {target}"), KERNEL))?,
        }
    }
    Ok(())
}

/// Mounts efivarfs where the kernel offers it.
pub(crate) fn efi_variables() -> io::Result<()> {
    Ok(mount(
        Some("efivarfs"),
        "/sys/firmware/efi/efivars",
        Some("efivarfs"),
        HARDENED,
        None::<&str>,
    )?)
}

/// Mounts the root from `device`.
pub(crate) fn root(device: &Path) -> Result<(), InitError> {
    fs::create_dir_all(SYSROOT).map_err(InitError::system("creating /sysroot", "rebuild the image"))?;
    mount(Some(device), SYSROOT, Some("erofs"), MsFlags::MS_RDONLY, None::<&str>).map_err(InitError::system(
        format!("mounting the root from {}", device.display()),
        "the slot may be damaged: boot the other one or reinstall this one",
    ))
}

/// Mounts `source` of type `kind` at `target` below the root.
pub(crate) fn below_root(
    source: &Path,
    target: &str,
    kind: Option<&str>,
    flags: MsFlags,
    options: Option<&str>,
) -> io::Result<()> {
    Ok(mount(
        Some(source),
        format!("{SYSROOT}{target}").as_str(),
        kind,
        flags,
        options,
    )?)
}

/// Makes the root the only root and becomes systemd.
pub(crate) fn switch_root() -> Result<Infallible, InitError> {
    // The initramfs stays in memory for good, so what is large in it goes now.
    let _ = fs::remove_dir_all("/modules");
    let _ = fs::remove_file("/init");
    for (_, target, _, _) in KERNEL_FILE_SYSTEMS {
        below_root(Path::new(target), target, None, MsFlags::MS_MOVE, None)
            .map_err(InitError::system(format!("moving {target} to the root"), IMAGE))?;
    }
    enter().map_err(InitError::system(
        "changing to the new root",
        "please report this message",
    ))?;
    let error = Command::new(SYSTEMD).exec();
    Err(InitError::System {
        doing: format!("starting {SYSTEMD}"),
        source: error,
        remedy: "check that the image has systemd",
    })
}

/// The initramfs itself cannot be unmounted, so the root is moved over it (`switch_root(8)`).
fn enter() -> nix::Result<()> {
    chdir(SYSROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    chroot(".")?;
    chdir("/")
}
