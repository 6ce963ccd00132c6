//! What a person at the console, or the log of the next boot, gets to read.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread;
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot};

use crate::elsewhere;

/// Time to read the last message before the screen goes.
const READING_TIME: Duration = Duration::from_secs(5);

/// How long an orderly reboot may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where progress goes, and how much of it.
#[derive(Clone, Copy)]
pub(crate) struct Console {
    verbose: bool,
}

impl Console {
    /// Steps to the kernel log only.
    pub(crate) fn quiet() -> Self {
        Self { verbose: false }
    }

    /// Steps and details to the console as well (`twinhull.init.debug`).
    pub(crate) fn verbose() -> Self {
        Self { verbose: true }
    }

    /// One line per step.
    pub(crate) fn step(self, message: &str) {
        log(Level::Info, message);
        if self.verbose {
            print(message);
        }
    }

    /// What helps to find a fault. The kernel log takes ten lines in five seconds from a program, so details
    /// go to the console.
    pub(crate) fn detail(self, message: &str) {
        if self.verbose {
            print(message);
        }
    }
}

/// Something that is not as it should be, and that the boot may survive.
pub(crate) fn warn(message: &str) {
    log(Level::Warning, message);
}

/// Says why the boot ends here, waits until it could be read, and reboots.
pub(crate) fn give_up(message: &str) -> ! {
    let message = format!("{message} ({} in {} s)", next(), READING_TIME.as_secs());
    log(Level::Error, &message);
    print(&message);
    thread::sleep(READING_TIME);
    restart()
}

/// Says why the boot ends here and reboots in the same breath: no sleep, no console, no driver that would have to agree. For
/// a machine that hangs, where the clock may be what is broken: a sleep begun now might never end.
pub(crate) fn give_up_at_once(message: &str) -> ! {
    // The kernel prints it, too. `/dev/console` is left alone: a write to it may wait for good.
    log(Level::Error, &format!("{message} ({})", next()));
    // Restarts without asking any driver. Returns only where there is no such trigger.
    write_to("/proc/sysrq-trigger", "b");
    restart()
}

/// Settles what the next boot starts, and says it.
fn next() -> String {
    elsewhere::lead().map_or_else(
        || "rebooting".to_owned(),
        |entry| format!("rebooting, once into {entry}"),
    )
}

/// Reboots now. Nothing is flushed: what was mounted for writing is a journalled file system that this program has
/// hardly touched, and a flush waits for good when the disk is what hangs.
fn restart() -> ! {
    // An orderly reboot asks every driver to stop first, and may wait for the same disk.
    let _ = thread::Builder::new().spawn(|| {
        thread::sleep(PATIENCE);
        write_to("/proc/sysrq-trigger", "b");
    });
    // Only a kernel without the system call returns. Ending the first process then makes it panic, and reboot
    // by `panic=`.
    let _ = reboot(RebootMode::RB_AUTOBOOT);
    std::process::exit(1)
}

/// Priorities of the kernel log, as in `<N>` before a line written to it.
#[derive(Clone, Copy)]
enum Level {
    Error = 3,
    Warning = 4,
    Info = 6,
}

// A message that cannot be delivered has nowhere else to go: the results of these writes are dropped.
fn log(level: Level, message: &str) {
    write_to("/dev/kmsg", &format!("<{}>twinhull-init: {message}\n", level as u8));
}

fn print(message: &str) {
    write_to("/dev/console", &format!("twinhull-init: {message}\r\n"));
}

fn write_to(path: &str, line: &str) {
    if let Ok(mut file) = OpenOptions::new().write(true).open(path) {
        let _ = file.write_all(line.as_bytes());
    }
}
