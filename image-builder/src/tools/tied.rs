//! Programs that end with this one.
//!
//! A build that is killed must not leave an installation of packages behind that goes on writing into the cache.

#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// Has the system kill the program of `command` when the thread that starts it ends, and with it this process, whatever ends that.
/// Those who start a program here wait for its end, so the thread is there as long as it is wanted.
///
/// This reaches the program itself. What it starts in turn is reached where it runs in a tree ([`super::root`]).
pub(super) fn tie(command: &mut Command) {
    let us = Pid::this();
    let ask = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // Too late when this process was killed before that.
        if getppid() == us {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    };
    // SAFETY: between fork and exec it makes two system calls, and neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(ask);
    }
}
