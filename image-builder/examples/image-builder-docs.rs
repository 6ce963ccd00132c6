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

/// What the page of the program has that no option tells.
const SECTIONS: [twinhull_manual::Section; 2] = [
    (
        "FILES",
        r"
.TP
.I /var/cache/twinhull
Package files, installed packages, tools and indices, by their hashes. It may be removed while no build runs.
.TP
.I ~/.cache/twinhull
The same for
.B check
and
.B lock
in the hands of those who may not write there (or below
.BR $XDG_CACHE_HOME ).
.TP
.I NAME_VERSION_ARCH.log
Beside the artefacts of a build: what the programs said that it ran.
",
    ),
    (
        "SEE ALSO",
        r"
.BR twinhull\-definition (5),
.BR twinhull\-updater (1),
.BR twinhull\-lock (8),
.BR systemd\-dissect (1)
",
    ),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("usage: docs FOLDER")?.into();
    twinhull_manual::write(Cli::command(), twinhull_manual::Part::Programs, &SECTIONS, &folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "twinhull", &folder)?;
    }
    fs::write(folder.join("twinhull-definition.5"), reference::man())?;
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs");
    fs::write(docs.join("definition.md"), reference::markdown())?;
    Ok(())
}
