//! However a run is ended, no process and no file of it is left but its logs. A real machine runs, from an empty disk.
#![allow(clippy::unwrap_used)] // Everything here is a test.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Far more than it takes on the slowest machine.
const LIMIT: Duration = Duration::from_mins(5);

const SCENARIO: &str = "about = \"never ends\"\n[machine.host]\nmemory = 256\n[[step]]\ndo = \"boot\"\n\
                        [[step]]\nabout = \"waiting in vain\"\ndo = \"wait-for-text\"\ntext = \"never\"\nwithin = 3000\n";

struct Run {
    child: Child,
    /// Of which its machine's disk is.
    work: tempfile::TempDir,
    /// Its folder for temporary files.
    temporary: tempfile::TempDir,
}

impl Run {
    /// Starts one and waits until its machine runs.
    fn begin() -> Self {
        let (work, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (image, scenario) = (
            temporary.path().join("empty.raw"),
            temporary.path().join("endless.toml"),
        );
        fs::write(&image, vec![0; 1 << 20]).unwrap();
        fs::write(&scenario, SCENARIO).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_twinhull-qemu"))
            .arg("test")
            .args([&image, &scenario])
            .args(["--accelerator", "tcg", "--work"])
            .arg(work.path())
            .env("TMPDIR", temporary.path())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let told: Vec<_> = lines
            .by_ref()
            .take_while(|line| !line.contains("waiting in vain"))
            .collect();
        // Nobody reads what comes after; the pipe stays open until the process is gone.
        thread::spawn(move || lines.count());
        let run = Self { child, work, temporary };
        assert!(!run.processes().is_empty(), "no machine runs: {told:#?}");
        run
    }

    /// Processes that were told a path of this run.
    fn processes(&self) -> Vec<u32> {
        let of_ours = |path: &Path| {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            let mentions = |folder: &Path| {
                let folder = folder.as_os_str().as_bytes();
                line.windows(folder.len()).any(|window| window == folder)
            };
            mentions(self.work.path()) || mentions(self.temporary.path())
        };
        let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let ids = entries.filter(|entry| of_ours(&entry.path()));
        ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|id| *id != self.child.id())
            .collect()
    }

    /// Ends it by `signal`; its exit status, once nothing of it is left.
    fn end(mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        let status = self.child.wait().unwrap();
        let begun = Instant::now();
        let left = |folder: &Path| {
            let entries = fs::read_dir(folder).unwrap().filter_map(Result::ok);
            let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        loop {
            let processes = self.processes();
            let files = (left(self.work.path()), left(self.temporary.path()));
            if processes.is_empty() && files.0 == ["logs"] && files.1 == ["empty.raw", "endless.toml"] {
                return status.code();
            }
            assert!(
                begun.elapsed() < LIMIT,
                "left after {signal}: processes {processes:?}, files {files:?}"
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn nothing_is_left_after_ctrl_c() {
    assert_eq!(Run::begin().end(Signal::SIGINT), Some(130));
}

#[test]
fn nothing_is_left_after_a_request_to_end() {
    assert_eq!(Run::begin().end(Signal::SIGTERM), Some(130));
}

#[test]
fn nothing_is_left_after_the_process_was_killed() {
    assert_eq!(Run::begin().end(Signal::SIGKILL), None);
}
