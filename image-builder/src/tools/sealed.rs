//! A program of the host that reads one file of somebody else's and writes below one folder, whatever that file says.
//!
//! An archive can hold links, and files behind links. Names alone do not show where a path ends, so the kernel decides: the program
//! has a root of its own, in which there are the programs of the host (to read), the file and the folder. A path that leads out of
//! the folder finds nothing, or what nobody can write; each of them is a mount of its own, so no hard link reaches from one to another.

use std::path::Path;
use std::process::Command;

use twinhull_chroot::{LAUNCHER, OPTIONS, PROGRAM_FOLLOWS};

use super::command;

/// Where the program finds the file that it reads.
pub(super) const FILE: &str = "/file";

/// Where the program finds the folder that it writes.
pub(super) const FOLDER: &str = "/folder";

/// ROOT FILE FOLDER -- PROGRAM ARGUMENT...; FOLDER may be empty.
///
/// Mounts must not reach the host. A host that is a chroot has no mount at its root that could be made private: there the new root
/// becomes one, and is taken away again.
const ENTER: &str = r#"root=$1 file=$2 folder=$3; shift 4
mount --make-rprivate / 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs "$root"
mount --make-private "$root"
show() { mount --bind "$1" "$root$2"; mount -o remount,bind,ro "$root$2"; }
mkdir "$root/usr" "$root/folder"
show /usr /usr
for name in /bin /sbin /lib /lib32 /lib64; do
    if [ -L "$name" ]; then cp -P "$name" "$root$name"
    elif [ -d "$name" ]; then mkdir "$root$name"; show "$name" "$name"; fi
done
: > "$root/file"
show "$file" /file
if [ -n "$folder" ]; then mount --bind "$folder" "$root/folder"; fi
mount -o remount,ro "$root"
status=0
chroot "$root" "$@" || status=$?
umount --recursive --lazy "$root"
exit "$status""#;

/// `program` with [`FILE`] to read and [`FOLDER`] to write. The folder `root` is hidden to it, and must hold neither of them.
pub(super) fn sealed(program: &str, root: &Path, file: &Path, folder: Option<&Path>) -> Command {
    let mut enter = command(LAUNCHER);
    if !nix::unistd::geteuid().is_root() {
        // Who may not mount may do so as the root of a namespace of users; files then belong to whoever that is.
        enter.args(["--user", "--map-root-user"]);
    }
    enter
        .args(OPTIONS)
        .args(["sh", "-euc", ENTER, "enter"])
        .arg(root)
        .arg(file)
        .arg(folder.unwrap_or(Path::new("")))
        .args([PROGRAM_FOLLOWS, program]);
    enter
}
