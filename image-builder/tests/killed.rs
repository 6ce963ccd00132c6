//! A build that is killed, by whatever: nothing that it started goes on.

#![allow(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use twinhull::tools::Log;
use twinhull::tools::root::ToolRoot;

/// Has this test program be the build, in that folder.
const BUILD_IN: &str = "TWINHULL_TEST_BUILD_IN";

/// What the tool says when all of its processes are there.
const READY: &str = "all are there";

/// A tool as mmdebstrap is one: it starts programs of its own, and one of them leaves the session. All hold the standard output.
const TOOL: &str = "setsid sleep 1000 & sleep 1000 & echo all are there; sleep 1000; true";

#[test]
fn what_a_killed_build_started_is_gone() {
    if let Some(folder) = env::var_os(BUILD_IN) {
        return build(Path::new(&folder));
    }
    let may_enter = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "true"])
        .output();
    if !nix::unistd::geteuid().is_root() || !may_enter.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a tree of tools needs the rights of root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut build = Command::new(env::current_exe().unwrap())
        .args(["--exact", "what_a_killed_build_started_is_gone", "--nocapture"])
        .env(BUILD_IN, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = BufReader::new(build.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(READY) {
        line.clear();
        assert!(held.read_line(&mut line).unwrap() > 0, "the tool did not start");
    }
    // SIGKILL, which nobody can prepare for.
    build.kill().unwrap();
    build.wait().unwrap();
    // It ends when the last process that holds the other side has ended.
    let mut rest = String::new();
    held.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

/// Runs the tool, as a build does.
fn build(folder: &Path) {
    let tree = folder.join("tree");
    std::fs::create_dir(&tree).unwrap();
    let programs = ["/usr", "/bin", "/lib", "/lib64"].map(PathBuf::from);
    let tools = ToolRoot::new(&tree, programs.into_iter().filter(|folder| folder.exists()).collect());
    let log = Log::create(&folder.join("log")).unwrap();
    let out = File::from(io::stdout().as_fd().try_clone_to_owned().unwrap());
    log.run_into("waiting", tools.command("sh").args(["-c", TOOL]), out)
        .unwrap();
}
