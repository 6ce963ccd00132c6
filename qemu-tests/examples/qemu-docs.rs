//! Writes the man pages and the shell completions of `twinhull-qemu` into the folder given as argument, and the page about scenario
//! files into `docs/`.
//!
//! `cargo run -p twinhull-qemu --example qemu-docs -- target/dist/qemu`

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use twinhull_qemu::cli::Cli;
use twinhull_qemu::scenario::file::reference;

/// What the page of the program has that no option tells.
const SECTIONS: [twinhull_manual::Section; 1] = [(
    "SEE ALSO",
    r"
.BR twinhull (1),
.BR twinhull\-vm (1),
.BR qemu (1)
",
)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("usage: docs FOLDER")?.into();
    twinhull_manual::write(Cli::command(), twinhull_manual::Part::Programs, &SECTIONS, &folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "twinhull-qemu", &folder)?;
    }
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::write(docs.join("scenario-file.md"), reference::markdown())?;
    Ok(())
}
