//! Writes the man pages and the shell completions of `twinhull` into the folder given as argument, and the page about the
//! definition file into `docs/`.
//!
//! `cargo run -p twinhull --example image-builder-docs -- target/dist/image-builder`

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use twinhull::cli::Cli;
use twinhull::definition::reference;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("usage: docs FOLDER")?.into();
    fs::create_dir_all(&folder)?;
    // One page for the program and one for each command, as `twinhull help COMMAND` has them.
    clap_mangen::generate_to(Cli::command(), &folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "twinhull", &folder)?;
    }
    fs::write(folder.join("twinhull-definition.5"), reference::man())?;
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs");
    fs::write(docs.join("definition.md"), reference::markdown())?;
    Ok(())
}
