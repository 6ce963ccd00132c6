//! Writes the man page and the shell completions of `twinhull-lock` into the folder given as argument.
//!
//! `cargo run -p twinhull-lock --example reboot-lock-docs -- target/dist/lock`

use std::fs::{self, File};
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use twinhull_lock::command::Arguments;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("usage: docs FOLDER")?.into();
    fs::create_dir_all(&folder)?;
    // One page for the program and one for each command, as `twinhull-lock help COMMAND` has them.
    clap_mangen::generate_to(Arguments::command(), &folder)?;
    for (shell, name) in [
        (Shell::Bash, "twinhull-lock.bash"),
        (Shell::Zsh, "_twinhull-lock"),
        (Shell::Fish, "twinhull-lock.fish"),
    ] {
        let mut file = File::create(folder.join(name))?;
        clap_complete::generate(shell, &mut Arguments::command(), "twinhull-lock", &mut file);
    }
    Ok(())
}
