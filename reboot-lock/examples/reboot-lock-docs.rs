//! Writes the man pages and the shell completions of `twinhull-lock` into the folder given as argument.
//!
//! `cargo run -p twinhull-lock --example reboot-lock-docs -- target/dist/lock`

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use twinhull_lock::command::Arguments;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("usage: docs FOLDER")?.into();
    twinhull_manual::write(
        Arguments::command(),
        twinhull_manual::Part::Administration,
        &[],
        &folder,
    )?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Arguments::command(), "twinhull-lock", &folder)?;
    }
    Ok(())
}
