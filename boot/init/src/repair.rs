//! Repair of the state's file system, by e2fsck of the verified root.
//!
//! A kernel replays the journal by itself, and that is all that a cut of the power asks for. What is repaired here is what a disk
//! did: a superblock that is not one any more (e2fsck finds a copy), and what the kernel marked as damaged while it ran. There is
//! nobody to be asked whether to repair, and a host whose state does not mount does not start; so every question is answered yes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::mount::{MsFlags, umount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, chroot};

use crate::mounts::{SYSROOT, below_root};
use crate::{console, deadline};

const PROGRAM: &str = "/usr/sbin/e2fsck";

/// What it says is kept here, for who asks the running host.
const REPORT: &str = "/run/twinhull/state-repair.log";

/// The most of it that is kept, in bytes.
const REPORT_LIMIT: u64 = 64 << 10;

/// Disks of several TiB are read through in less.
const LIMIT: Duration = Duration::from_hours(2);

/// What it needs to see of the kernel's file systems.
const SEEN: [&str; 2] = ["/dev", "/proc"];

/// Exit statuses from here on say that errors are left (`e2fsck(8)`).
const ERRORS_LEFT: i32 = 4;

/// Where the superblock begins, its magic number, its state, and the bit of errors therein (`ext4/super.rst` of the kernel).
const SUPERBLOCK: u64 = 1024;
const MAGIC_AT: usize = 0x38;
const MAGIC: u16 = 0xef53;
const STATE_AT: usize = 0x3a;
const HAS_ERRORS: u16 = 2;

/// Whether the kernel has noted, in an earlier boot, that the file system on `device` is damaged. What cannot be read or is no
/// superblock is the business of who mounts it.
pub(crate) fn is_wanted(device: &Path) -> bool {
    let mut superblock = [0; 64];
    let read = File::open(device).and_then(|device| device.read_exact_at(&mut superblock, SUPERBLOCK));
    let word = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
    read.is_ok() && word(MAGIC_AT) == MAGIC && word(STATE_AT) & HAS_ERRORS != 0
}

/// Repairs the file system on `device`, and says how it went. The root is mounted already.
pub(crate) fn run(device: &Path) {
    console::warn(&format!("repairing the file system on {}", device.display()));
    deadline::extend(LIMIT);
    let outcome = with_kernel_file_systems(|| e2fsck(device));
    deadline::extend(deadline::DEADLINE);
    let message = match outcome {
        Ok(status) if status.code().is_some_and(|code| code < ERRORS_LEFT) => {
            format!(
                "the file system on {} was repaired; {REPORT} says what was done",
                device.display()
            )
        }
        Ok(status) => format!(
            "{PROGRAM} left errors on {} ({}); {REPORT} has what it said",
            device.display(),
            status.code().map_or_else(
                || format!("signal {}", status.signal().unwrap_or_default()),
                |code| format!("exit status {code}")
            )
        ),
        Err(error) => format!("cannot repair the file system on {}: {error}", device.display()),
    };
    console::warn(&message);
}

/// Does `work` while the root has what [`SEEN`] names.
fn with_kernel_file_systems<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    for path in SEEN {
        below_root(Path::new(path), path, None, MsFlags::MS_BIND, None)?;
    }
    let outcome = work();
    for path in SEEN {
        // They are moved there later: one that stayed would only be covered.
        let _ = umount(format!("{SYSROOT}{path}").as_str());
    }
    outcome
}

/// Its libraries are in the root, so it runs there: in a thread of its own, whose root that is.
fn e2fsck(device: &Path) -> io::Result<ExitStatus> {
    if let Some(folder) = Path::new(REPORT).parent() {
        fs::create_dir_all(folder)?;
    }
    let mut report = File::create(REPORT)?;
    let worker = thread::scope(|scope| {
        scope
            .spawn(|| {
                unshare(CloneFlags::CLONE_FS)?;
                chroot(SYSROOT)?;
                chdir("/")?;
                checked(Command::new(PROGRAM).arg("-y").arg(device), &mut report)
            })
            .join()
    });
    worker.unwrap_or_else(|_| Err(io::Error::other("the thread that runs it ended")))
}

/// Runs `command` to its end; the beginning of what it says goes to `report`.
fn checked(command: &mut Command, report: &mut File) -> io::Result<ExitStatus> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut said) = child.stdout.take() {
        io::copy(&mut said.by_ref().take(REPORT_LIMIT), report)?;
        // A program whose reader has gone ends early.
        io::copy(&mut said, &mut io::sink())?;
    }
    child.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(magic: u16, state: u16) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4096).unwrap();
        file.as_file().write_all_at(&magic.to_le_bytes(), 1024 + 0x38).unwrap();
        file.as_file().write_all_at(&state.to_le_bytes(), 1024 + 0x3a).unwrap();
        file
    }

    #[test]
    fn only_what_is_marked_is_repaired_before_it_is_mounted() {
        for (magic, state, wanted) in [(MAGIC, 1, false), (MAGIC, 3, true), (MAGIC, 2, true), (0, 2, false)] {
            assert_eq!(is_wanted(device(magic, state).path()), wanted, "{magic:x} {state}");
        }
        let short = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_wanted(short.path()) && !is_wanted(Path::new("/nowhere")));
    }

    #[test]
    fn bits_are_where_the_tool_that_makes_it_has_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).arg(file.path()).output().unwrap();
            assert!(
                done.status.success(),
                "{program}: {}",
                String::from_utf8_lossy(&done.stderr)
            );
        };
        run("mkfs.ext4", &["-q", "-F"]);
        assert!(!is_wanted(file.path()));
        // The field by its name, so that the place is not only where this file says it is.
        run("debugfs", &["-w", "-R", "ssv state 2"]);
        assert!(is_wanted(file.path()));
    }

    #[test]
    fn what_is_said_is_kept_as_far_as_there_is_room() {
        let kept = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "yes 12345678 | head -c 1000000; exit 3"]);
        let status = checked(&mut command, &mut kept.reopen().unwrap()).unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(fs::metadata(kept.path()).unwrap().len(), REPORT_LIMIT);
    }
}
