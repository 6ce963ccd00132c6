//! A tree is entered for real: what is inside, what is not, and what is left of it.

#![allow(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use twinhull_chroot::{Chroot, LAUNCHER};

/// Runs `script` in `tree`, which gets the programs of this host and `folder`; none without the rights for it.
fn inside(tree: &Path, folder: &Path, script: &str) -> Option<Output> {
    entering(tree, folder, script).map(|mut command| command.output().unwrap())
}

/// What [`inside`] runs.
fn entering(tree: &Path, folder: &Path, script: &str) -> Option<Command> {
    let may_mount = Command::new(LAUNCHER)
        .args(["--mount", "--pid", "--fork", "true"])
        .output();
    if !nix::unistd::geteuid().is_root() || !may_mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: mounts and namespaces need the rights of root");
        return None;
    }
    let programs = ["/usr", "/bin", "/lib", "/lib64"].map(PathBuf::from);
    let mut folders: Vec<PathBuf> = programs.into_iter().filter(|folder| folder.exists()).collect();
    folders.push(folder.to_owned());
    let mut command = Command::new(LAUNCHER);
    command
        .args(Chroot::new(tree, folders).arguments())
        .args(["sh", "-c", script]);
    Some(command)
}

#[test]
fn a_program_sees_its_folders_the_kernel_and_nothing_else() {
    let (tree, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("given"), "text").unwrap();
    let script = format!(
        "cat {0}/given; test -d /proc/self; test ! -e /etc || echo etc; echo > {0}/made",
        folder.path().display()
    );
    let Some(output) = inside(tree.path(), folder.path(), &script) else {
        return;
    };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"text");
    assert!(folder.path().join("made").exists());
}

#[test]
fn its_status_is_the_programs_and_no_mount_is_left() {
    let (tree, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(output) = inside(tree.path(), folder.path(), "exit 7") else {
        return;
    };
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&*tree.path().to_string_lossy()), "{mounts}");
    // An empty folder, where the programs of this host had been.
    assert_eq!(fs::read_dir(tree.path().join("usr")).unwrap().count(), 0);
}

#[test]
fn processes_of_a_tree_end_with_the_program_that_they_are_of() {
    let (tree, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The output of a program ends when nobody holds it any more: this waits for the one that stays behind.
    let script = "setsid sleep 1000 & echo started";
    let Some(output) = inside(tree.path(), folder.path(), script) else {
        return;
    };
    assert_eq!(output.stdout, b"started\n", "{output:?}");
}

#[test]
fn processes_of_a_tree_are_killed_with_the_one_that_entered_it() {
    let (tree, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let script = "setsid sleep 1000 & echo started; sleep 1000; true";
    let Some(mut command) = entering(tree.path(), folder.path(), script) else {
        return;
    };
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut held = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    held.read_line(&mut text).unwrap();
    assert_eq!(text, "started\n");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(held.read_to_string(&mut text).unwrap(), 0);
}
