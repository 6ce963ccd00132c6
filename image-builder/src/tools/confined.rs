//! A program of the image's own tree, run by root and yet with nothing but that tree.
//!
//! The tree may begin with somebody else's image, so what runs in it may be made to leave it: a root directory alone does not hold
//! root, who could make another below it and climb out, or a device node of the host's disk.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{chdir, chroot};

use super::fixed;

/// What the program keeps of root's rights, by the numbers of capabilities(7): `chown`, `dac_override`, `fowner` and `fsetid`. They are
/// about files, and it sees only those of the tree.
const KEPT: [libc::c_ulong; 4] = [0, 1, 3, 4];

/// The most rights that a kernel can know of.
const MAX: libc::c_ulong = 63;

/// `program` of `tree`, run inside it, with no network and none of root's rights but those over files.
///
/// # Errors
/// The path of the tree has a zero in it.
pub(super) fn confined(tree: &Path, program: &str) -> io::Result<Command> {
    let tree = CString::new(tree.as_os_str().as_bytes())?;
    // Not looked up on the host: its name is found in the tree, by this PATH.
    let mut command = fixed(Path::new(program));
    command.env("PATH", "/usr/sbin:/usr/bin").current_dir("/");
    let enter = move || {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC)?;
        chroot(tree.as_c_str())?;
        chdir(c"/")?;
        for right in (0..=MAX).filter(|right| !KEPT.contains(right)) {
            // SAFETY: it takes two numbers and no memory.
            match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, right, 0, 0, 0) }) {
                // The kernel does not know this one.
                Ok(_) | Err(Errno::EINVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // No file of the tree gives more than that.
        Ok(prctl::set_no_new_privs()?)
    };
    // SAFETY: between fork and exec it makes system calls alone, and none of them allocates or takes a lock.
    unsafe {
        command.pre_exec(enter);
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `script` prints inside a tree that has the programs of this host; nothing without the rights of root.
    fn inside(script: &str) -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: entering a tree needs the rights of root");
            return None;
        }
        let mut sh = confined(Path::new("/"), "sh").unwrap();
        let output = sh.args(["-c", script]).output().unwrap();
        Some(String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn program_of_the_tree_has_rights_over_files_and_no_others() {
        let Some(said) = inside("grep -E 'CapEff|CapPrm|CapBnd' /proc/self/status") else {
            return;
        };
        let rights: Vec<&str> = said.split_whitespace().skip(1).step_by(2).collect();
        assert_eq!(rights, ["000000000000001b"; 3], "{said}");
    }

    #[test]
    fn program_of_the_tree_leaves_it_on_no_known_way() {
        let script = "chroot / true 2>/dev/null && echo root
            mknod $(mktemp -u) b 7 0 2>/dev/null && echo device
            mount -t tmpfs tmpfs /mnt 2>/dev/null && echo mount
            grep -v -e lo: -e '|' /proc/self/net/dev; true";
        assert_eq!(inside(script).unwrap_or_default(), "");
    }
}
