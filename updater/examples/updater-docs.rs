//! Writes the man pages and the shell completions of `twinhull-updater` into the folder given as argument.
//!
//! `cargo run -p twinhull-updater --example updater-docs -- target/dist/updater`

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use twinhull_updater::cli::Cli;

/// What the page of the program has that no option tells.
const SECTIONS: [twinhull_manual::Section; 3] = [
    (
        "ENVIRONMENT",
        r"
.TP
.B TWINHULL_LOG
What is logged: error, warn, info or debug. The default is info for what the units call, else warn.
",
    ),
    (
        "FILES",
        r"
.TP
.I /usr/lib/twinhull\-updater/config.d/*.toml
The configuration. A file in /etc/twinhull\-updater/config.d replaces the one of the same name here, and one in
/run/twinhull\-updater/config.d both; a link to /dev/null masks it.
.TP
.I /etc/twinhull\-updater/no\-reboot
While this file is there, or the same in /run/twinhull\-updater, the host is not rebooted. First line until when, the rest why.
.TP
.I /usr/lib/twinhull/gates.d
Scripts that may refuse a reboot. Beside it lie hooks.d (called before and after a reboot), health.d (must succeed on a healthy
host) and health\-reported.d (only reported). Each has its counterpart in /etc/twinhull.
.TP
.I /run/twinhull\-updater/control.sock
Where the service takes commands, for root and the group control.group.
.TP
.I /var/lib/twinhull\-updater
What the agent remembers. None of it needs a backup, and none of it is to be edited.
",
    ),
    (
        "SEE ALSO",
        r"
.BR bootctl (1),
.BR systemd\-inhibit (1),
.BR systemd\-bless\-boot.service (8),
.BR os\-release (5)
",
    ),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("usage: docs FOLDER")?.into();
    twinhull_manual::write(Cli::command(), twinhull_manual::Part::Programs, &SECTIONS, &folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "twinhull-updater", &folder)?;
    }
    Ok(())
}
