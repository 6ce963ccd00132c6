//! Writes the man page and the shell completions of `twinhull-updater` into the folder given as argument.
//!
//! `cargo run -p twinhull-updater --example updater-docs -- target/dist/updater`

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use twinhull_updater::cli::Cli;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("usage: docs FOLDER")?.into();
    fs::create_dir_all(&folder)?;
    let mut command = Cli::command();
    command.build();

    let mut page = File::create(folder.join("twinhull-updater.1"))?;
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        writeln!(page, ".SH {}", sub.get_name().to_uppercase())?;
        writeln!(
            page,
            "{}.",
            sub.get_about().map(ToString::to_string).unwrap_or_default()
        )?;
        for argument in sub.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let (Some(long), Some(help)) = (argument.get_long(), argument.get_help()) else {
                continue;
            };
            writeln!(page, ".TP\n\\fB\\-\\-{long}\\fR\n{help}")?;
        }
    }
    man.render_extra_section(&mut page)?;

    for (shell, name) in [
        (Shell::Bash, "twinhull-updater.bash"),
        (Shell::Zsh, "_twinhull-updater"),
        (Shell::Fish, "twinhull-updater.fish"),
    ] {
        clap_complete::generate(
            shell,
            &mut Cli::command(),
            "twinhull-updater",
            &mut File::create(folder.join(name))?,
        );
    }
    Ok(())
}
