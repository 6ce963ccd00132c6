//! Writes the man pages and the shell completions of `twinhull-updater` into the folder given as argument.
//!
//! `cargo run -p twinhull-updater --example updater-docs -- target/dist/updater`

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use twinhull_updater::cli::Cli;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("usage: docs FOLDER")?.into();
    std::fs::create_dir_all(&folder)?;
    // One page for the program and one for each command, as `twinhull-updater help COMMAND` has them.
    clap_mangen::generate_to(Cli::command(), &folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "twinhull-updater", &folder)?;
    }
    Ok(())
}
