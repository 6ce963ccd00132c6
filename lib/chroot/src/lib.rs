//! A program run in another tree: its root is that tree, in which it finds the kernel's own file systems and chosen folders of this
//! host at their usual paths.
//!
//! The mounts are in a namespace of the program's own and gone with it, and so are the processes that it starts: none is left when it
//! ends or is killed. Both need the rights of root. How to get those, and what becomes of the output, is for the caller to say: here
//! are the words of a command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The program that enters a tree. When it is killed, everything that was started in the tree is killed with it.
pub const LAUNCHER: &str = "unshare";

/// Stands in the arguments of [`LAUNCHER`] before the program of the tree.
pub const PROGRAM_FOLLOWS: &str = "--";

/// What [`LAUNCHER`] is told first: namespaces of mounts and of processes; the first process of the latter dies with [`LAUNCHER`], and all others die with the first.
pub const OPTIONS: [&str; 6] = [
    "--mount",
    "--propagation",
    "unchanged",
    "--pid",
    "--fork",
    "--kill-child=KILL",
];

/// Mounts folders into the tree and starts a program there: TREE COUNT FOLDER... -- PROGRAM ARGUMENT...
///
/// Mounts must not reach the host. A host that is a chroot has no mount at its root that could be made private: there the tree
/// becomes one, private from then on, and that one mount is taken away again.
const ENTER: &str = r#"tree=$1 count=$2; shift 2
mount --make-rprivate / 2>/dev/null || true
mount --bind "$tree" "$tree"
mount --make-private "$tree"
# The kernel's view of the processes that are in here.
mkdir -p "$tree/proc"
mount -t proc proc "$tree/proc"
for folder in /dev /sys; do
    mkdir -p "$tree$folder"
    mount --rbind "$folder" "$tree$folder"
    mount --make-rslave "$tree$folder"
done
while [ "$count" -gt 0 ]; do mkdir -p "$tree$1"; mount --bind "$1" "$tree$1"; shift; count=$((count - 1)); done
shift
status=0
chroot "$tree" "$@" || status=$?
umount --recursive --lazy "$tree"
exit "$status""#;

/// A tree that programs run in.
#[derive(Debug, Clone)]
pub struct Chroot {
    tree: PathBuf,
    folders: Vec<PathBuf>,
}

impl Chroot {
    /// The tree at `tree`, in which programs see `folders` (absolute paths) and nothing else of this host's files.
    pub fn new(tree: &Path, folders: Vec<PathBuf>) -> Self {
        Self {
            tree: tree.to_owned(),
            folders,
        }
    }

    /// The same, with one more folder (absolute): a mount below another is not seen through that.
    #[must_use]
    pub fn showing(&self, folder: &Path) -> Self {
        let mut with = self.clone();
        with.folders.push(folder.to_owned());
        with
    }

    /// The tree.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// What [`LAUNCHER`] gets before the name of a program of the tree and its arguments. It ends as that program does.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = OPTIONS.map(OsString::from).into();
        arguments.extend(["sh", "-euc", ENTER, "enter"].map(OsString::from));
        arguments.push(self.tree.clone().into());
        arguments.push(self.folders.len().to_string().into());
        arguments.extend(self.folders.iter().map(OsString::from));
        arguments.push(PROGRAM_FOLLOWS.into());
        arguments
    }
}
