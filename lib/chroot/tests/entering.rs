//! A tree is entered for real: what is inside, what is not, and what is left of it.

#![allow(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use twinhull_chroot::{Chroot, LAUNCHER};

/// Runs `script` in `tree`, which gets the programs of this host and `folder`; none without the rights for it.
fn inside(tree: &Path, folder: &Path, script: &str) -> Option<Output> {
    let may_mount = Command::new(LAUNCHER).args(["--mount", "true"]).output();
    if !nix::unistd::geteuid().is_root() || !may_mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: mounts need the rights of root");
        return None;
    }
    let programs = ["/usr", "/bin", "/lib", "/lib64"].map(PathBuf::from);
    let mut folders: Vec<PathBuf> = programs.into_iter().filter(|folder| folder.exists()).collect();
    folders.push(folder.to_owned());
    let mut command = Command::new(LAUNCHER);
    command
        .args(Chroot::new(tree, folders).arguments())
        .args(["sh", "-c", script]);
    Some(command.output().unwrap())
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
