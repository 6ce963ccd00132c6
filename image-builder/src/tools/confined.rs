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
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, chdir, chroot, fork};

use super::fixed;

/// What the program keeps of root's rights, by the numbers of capabilities(7): `chown`, `dac_override`, `fowner` and `fsetid`. They are
/// about files, and it sees only those of the tree.
const KEPT: [libc::c_ulong; 4] = [0, 1, 3, 4];

/// The most rights that a kernel can know of.
const MAX: libc::c_ulong = 63;

/// `program` of `tree`, run inside it, with no network, no process but its own, and none of root's rights but those over files.
///
/// # Errors
/// The path of the tree has a zero in it.
pub(super) fn confined(tree: &Path, program: &str) -> io::Result<Command> {
    let tree = CString::new(tree.as_os_str().as_bytes())?;
    // Not looked up on the host: its name is found in the tree, by this PATH.
    let mut command = fixed(Path::new(program));
    command.env("PATH", "/usr/sbin:/usr/bin").current_dir("/");
    let enter = move || {
        unshare(
            CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWPID,
        )?;
        go_on_as_first_process()?;
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
    // SAFETY: between fork and exec there are system calls alone, and none of them allocates or takes a lock.
    unsafe {
        command.pre_exec(enter);
    }
    Ok(command)
}

/// A namespace of processes begins with the next one that is started: this goes on as that one. The process that was here waits, and
/// ends as it ends.
fn go_on_as_first_process() -> io::Result<()> {
    // SAFETY: this process is itself a copy with one thread, and both go on with system calls alone.
    let child = match unsafe { fork() }? {
        // The kernel ends everything in the namespace with it.
        ForkResult::Child => return Ok(prctl::set_pdeathsig(Signal::SIGKILL)?),
        ForkResult::Parent { child } => child,
    };
    // Whoever reads what the program prints, or waits for its start, would wait for this process too.
    // SAFETY: nothing here uses a file any more.
    unsafe {
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
    }
    let status = loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, status)) => break status,
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                let _ = kill(Pid::this(), signal);
                break 128 + signal as libc::c_int;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => break libc::EXIT_FAILURE,
        }
    };
    // SAFETY: it ends the process without running anything of it.
    unsafe { libc::_exit(status) }
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
    fn program_of_the_tree_sees_no_process_but_its_own_and_ends_as_it_ends() {
        let script = format!(
            "kill -0 {} 2>/dev/null && echo seen; echo $$; exit 3",
            std::process::id()
        );
        let Some(said) = inside(&script) else {
            return;
        };
        assert_eq!(said, "1\n");
        let ended = |script: &str| {
            let mut sh = confined(Path::new("/"), "sh").unwrap();
            sh.args(["-c", script]).status().unwrap()
        };
        assert_eq!(ended("exit 3").code(), Some(3));
        // The first process of a namespace is deaf to signals of its own processes, so another one is asked.
        assert_eq!(ended("sh -c 'kill -9 $$'; exit $?").code(), Some(137));
        let missing = confined(Path::new("/"), "no-such-program")
            .unwrap()
            .status()
            .unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
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
