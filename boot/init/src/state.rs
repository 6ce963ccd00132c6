//! The state partition: `/state`, `/var`, and the upper layer of `/etc`.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::mount::MsFlags;
use twinhull_layout::paths;

use crate::disk::Partition;
use crate::error::InitError;
use crate::mounts::{SYSROOT, below_root};
use crate::{console, repair, unfinished};

/// Folders of the state partition, with their modes. They are made when missing: at first boot, all of them.
const FOLDERS: [(&str, u32); 4] = [
    ("var", 0o755),
    ("etc", 0o755),
    ("etc/upper", 0o755),
    ("etc/work", 0o700),
];

const REPAIR: &str =
    "see the messages above, check the partition from a rescue system (e2fsck), or reinstall this host";
const IMAGE: &str = "check that the image has this folder";

/// Mounts the state, and `/var` and `/etc` from it. State that is damaged is repaired. If it does not mount then either, the boot
/// ends: to go on without would start every service of this host from nothing.
pub(crate) fn mount(partition: &Partition) -> Result<(), InitError> {
    let device = Path::new("/dev").join(&partition.name);
    let doing = format!("mounting the state from {}", device.display());
    let mount = || below_root(&device, paths::STATE_MOUNT, Some("ext4"), MsFlags::MS_NOATIME, None);
    let marked = repair::is_wanted(&device);
    if marked {
        repair::run(&device);
    }
    mount()
        .or_else(|error| {
            if marked {
                return Err(error);
            }
            console::warn(&format!("{doing}: {error}"));
            repair::run(&device);
            mount()
        })
        .map_err(InitError::system(doing.clone(), REPAIR))?;

    let state = Path::new(SYSROOT).join(paths::STATE_MOUNT.trim_start_matches('/'));
    prepare(&state).map_err(InitError::system("preparing the folders of the state", REPAIR))?;

    unfinished::count(&state)?;

    below_root(&state.join("var"), "/var", None, MsFlags::MS_BIND, None)
        .map_err(InitError::system("mounting /var", IMAGE))?;
    let options = overlay_options(Path::new(SYSROOT), &state);
    below_root(
        Path::new("overlay"),
        "/etc",
        Some("overlay"),
        MsFlags::empty(),
        Some(&options),
    )
    .map_err(InitError::system(
        "mounting /etc",
        "check that the initramfs has the module overlay",
    ))
}

/// Makes the folders that are missing below `state`.
fn prepare(state: &Path) -> io::Result<()> {
    for (name, mode) in FOLDERS {
        let path = state.join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("{name} is not a folder"),
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new().mode(mode).create(&path)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The options of the overlay. The lower layer changes with every release while the upper stays, which the kernel
/// allows only without these features (`overlayfs.rst`, "Changes to underlying filesystems").
fn overlay_options(sysroot: &Path, state: &Path) -> String {
    format!(
        "lowerdir={},upperdir={},workdir={},index=off,metacopy=off,redirect_dir=off,xino=off",
        sysroot.join("etc").display(),
        state.join("etc/upper").display(),
        state.join("etc/work").display(),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn first_boot_makes_the_folders_and_the_next_keeps_them() {
        let state = tempfile::tempdir().unwrap();
        prepare(state.path()).unwrap();
        for (name, expected) in FOLDERS {
            assert_eq!(mode(&state.path().join(name)), expected, "{name}");
        }
        fs::set_permissions(state.path().join("var"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(state.path().join("etc/upper/hostname"), "x").unwrap();
        prepare(state.path()).unwrap();
        assert_eq!(mode(&state.path().join("var")), 0o700);
        assert!(state.path().join("etc/upper/hostname").exists());
    }

    #[test]
    fn link_in_place_of_a_folder_is_refused() {
        let state = tempfile::tempdir().unwrap();
        symlink("/usr", state.path().join("var")).unwrap();
        assert!(
            prepare(state.path())
                .unwrap_err()
                .to_string()
                .contains("var is not a folder")
        );
    }

    #[test]
    fn layers_of_etc_are_where_they_belong() {
        let options = overlay_options(Path::new("/sysroot"), Path::new("/sysroot/state"));
        assert!(
            options.starts_with(
                "lowerdir=/sysroot/etc,upperdir=/sysroot/state/etc/upper,workdir=/sysroot/state/etc/work,"
            )
        );
    }
}
