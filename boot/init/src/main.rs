//! The first process: from the start of the kernel to systemd on the verified root.
//!
//! It is the only program in the initramfs. Whatever goes wrong, it says so on the console and reboots; boot
//! counting then brings the other slot back, or it does so itself ([`elsewhere`]). It never offers a shell: a console is no authentication.
//!
//! The steps, in [`ascent::run`]: kernel file systems, modules, the boot disk, dm-verity, root, state, `/etc`,
//! systemd.

mod ascent;
mod bounded;
mod cmdline;
mod console;
mod deadline;
mod disk;
mod efi;
mod elsewhere;
mod error;
mod modules;
mod mounts;
mod repair;
mod root;
mod state;
mod unfinished;

use std::process::ExitCode;

use crate::console::Console;

fn main() -> ExitCode {
    // On a running system this program could only do harm, so look before the first step.
    if std::process::id() != 1 || !mounts::on_initramfs() {
        eprintln!("twinhull-init: runs only as the first process of an initramfs; there is nothing to do here");
        return ExitCode::from(2);
    }
    std::panic::set_hook(Box::new(|what| {
        let cause = what.to_string().replace('\n', " ");
        console::give_up(&format!("internal error: {cause}; please report this message"));
    }));
    deadline::arm();
    match ascent::run(Console::quiet()) {
        Ok(never) => match never {},
        Err(error) => console::give_up(&error.to_string()),
    }
}
