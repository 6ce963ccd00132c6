//! The programs of others that a build runs: one file for each, so that a command line is written once.
//!
//! Everything they print goes to one log file. When one fails, the error shows its last lines and names the log.

pub mod apt;
pub mod binfmt;
mod confined;
pub mod cp;
pub mod depmod;
pub mod dpkg;
pub mod dpkg_deb;
pub mod gzip;
pub mod mkfs_erofs;
pub mod mkfs_ext4;
pub mod mmdebstrap;
pub mod openssl;
pub mod qemu_img;
pub mod root;
mod sealed;
pub mod skopeo;
pub mod systemd;
pub mod tar;
mod tied;
pub mod xz;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use twinhull_chroot::{LAUNCHER, PROGRAM_FOLLOWS};

use crate::error::{Doing, Error, Result};

/// How many of a failed program's last lines an error shows.
const TAIL_LINES: usize = 8;

/// How much of the end of the log is read to find those lines, in bytes.
const TAIL_BYTES: u64 = 8 * 1024;

/// The log that collects the output of every program.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Begins a log, replacing an earlier one of the same name.
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .read(true)
            .open(path)
            .doing("begin the log", path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Where the log is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line of the build's own.
    pub fn note(&self, text: &str) -> Result<()> {
        writeln!(self.end()?, "\n# {text}").doing("write", &self.path)
    }

    /// Runs a program with its output in the log. `doing` completes "… failed", as "installing packages".
    pub fn run(&self, doing: &str, command: &mut Command) -> Result<()> {
        let out = self.end()?;
        self.run_into(doing, command, out)
    }

    /// Runs a program whose output is the content of the file `out`; its complaints go to the log.
    pub fn run_into(&self, doing: &str, command: &mut Command, out: File) -> Result<()> {
        let err = self.end()?;
        let start = self.announce(doing, command)?;
        let ending = command.stdin(Stdio::null()).stdout(out).stderr(err).status();
        self.check(
            doing,
            command,
            start,
            ending.map(|status| (status.success(), status.to_string())),
        )
    }

    /// Runs a program and returns what it printed; its complaints go to the log.
    pub fn capture(&self, doing: &str, command: &mut Command) -> Result<String> {
        let err = self.end()?;
        let start = self.announce(doing, command)?;
        let ended = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(err).output();
        let (ending, text) = match ended {
            Ok(output) => (Ok((output.status.success(), output.status.to_string())), output.stdout),
            Err(error) => (Err(error), Vec::new()),
        };
        self.check(doing, command, start, ending)?;
        String::from_utf8(text)
            .map_err(|_| Error::Content(format!("{doing}: {} printed what is not text", program(command))))
    }

    /// A handle that appends at the end of the log.
    fn end(&self) -> Result<File> {
        OpenOptions::new()
            .append(true)
            .open(&self.path)
            .doing("append to the log", &self.path)
    }

    /// Writes the command line into the log and returns where its output begins.
    fn announce(&self, doing: &str, command: &Command) -> Result<u64> {
        let mut end = self.end()?;
        writeln!(end, "\n# {doing}\n$ {command:?}").doing("write", &self.path)?;
        end.seek(SeekFrom::End(0)).doing("read", &self.path)
    }

    fn check(&self, doing: &str, command: &Command, start: u64, ending: std::io::Result<(bool, String)>) -> Result<()> {
        let ending = match ending {
            Ok((true, _)) => return Ok(()),
            Ok((false, status)) => format!("ended with {status}"),
            Err(error) => format!("cannot be started ({error})"),
        };
        Err(Error::Tool {
            doing: doing.to_owned(),
            program: program(command),
            ending,
            tail: self.tail(start),
            log: self.path.clone(),
        })
    }

    /// The last lines written since `start`, each indented on a line of its own.
    fn tail(&self, start: u64) -> String {
        let mut text = Vec::new();
        let mut file = &self.file;
        let read = file.seek(SeekFrom::End(0)).and_then(|end| {
            file.seek(SeekFrom::Start(start.max(end.saturating_sub(TAIL_BYTES))))?;
            file.take(TAIL_BYTES).read_to_end(&mut text)
        });
        if read.is_err() {
            return String::new();
        }
        let mut tail = String::new();
        for line in cause(&String::from_utf8_lossy(&text)) {
            tail.push_str("\n    ");
            tail.push_str(line.trim_end());
        }
        tail
    }
}

/// The lines that say why a program failed: those it marks as errors, or else its last ones.
fn cause(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let marked: Vec<&str> = (lines.iter().copied())
        .filter(|line| {
            let small = line.to_lowercase();
            // apt and mmdebstrap write E:, erofs-utils <E>; what mmdebstrap says of apt's failure is only a command line.
            let is_error = line.starts_with("E: ") || line.starts_with("<E>") || small.contains("error:");
            is_error && !line.contains("failed: E:") && !small.contains("failed to run") && !line.contains(" apt-get ")
        })
        .collect();
    let chosen = if marked.is_empty() { lines } else { marked };
    let skipped = chosen.len().saturating_sub(TAIL_LINES);
    chosen.into_iter().skip(skipped).collect()
}

fn program(command: &Command) -> String {
    // Of a command that only enters a tree, the program that it is about.
    let enters = command.get_program().to_string_lossy().ends_with(LAUNCHER);
    let mut arguments = command.get_args().skip_while(|argument| *argument != PROGRAM_FOLLOWS);
    let name = enters.then(|| arguments.nth(1)).flatten();
    Path::new(name.unwrap_or_else(|| command.get_program()))
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A program by its name, found in the system's folders even where they are not in `PATH`, and otherwise as [`fixed`] says.
fn command(program: &str) -> Command {
    fixed(&find(program).unwrap_or_else(|| PathBuf::from(program)))
}

/// A program run with fixed language and time zone, so that its output and its results do not depend on the user's. It does not
/// outlive this process.
fn fixed(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env_remove("LANGUAGE");
    tied::tie(&mut command);
    command
}

/// A program of the tree, run inside it, where nothing but the tree can be reached.
fn chroot(tree: &Path, program: &str) -> Result<Command> {
    let mut command = confined::confined(tree, program).doing("enter", tree)?;
    command.env("SYSTEMD_OFFLINE", "1");
    Ok(command)
}

/// Where a program is: in `PATH` or one of the folders for system programs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_shows_last_lines_and_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(&folder.path().join("build.log")).unwrap();
        log.run("saying hello", command("sh").args(["-c", "echo earlier"]))
            .unwrap();
        let script = "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; done; exit 3";
        let error = log
            .run("counting", command("sh").args(["-c", script]))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("counting failed: sh ended with exit status: 3\n    line 3\n"),
            "{error}"
        );
        assert!(error.contains("    line 10\n"), "{error}");
        assert!(error.ends_with("build.log"), "{error}");
        assert!(!error.contains("earlier"), "{error}");
    }

    #[test]
    fn marked_errors_are_the_cause_and_not_the_noise_around_them() {
        let text = "Reading package lists...\nE: Unable to locate package podmann\nI: removing tempdir\nE: run_chroot failed to run apt-get -oDir=x\n";
        assert_eq!(cause(text), ["E: Unable to locate package podmann"]);
        assert_eq!(cause("a\nb\n"), ["a", "b"]);
    }

    #[test]
    fn program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(&folder.path().join("build.log")).unwrap();
        let error = log
            .run("wishing", &mut command("no-such-program"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no-such-program cannot be started"), "{error}");
    }

    #[test]
    fn captured_output_is_not_mixed_with_complaints() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(&folder.path().join("build.log")).unwrap();
        let text = log
            .capture("asking", command("sh").args(["-c", "echo yes; echo no >&2"]))
            .unwrap();
        assert_eq!(text, "yes\n");
    }
}
