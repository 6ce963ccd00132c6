//! `twinhull`: builds images and publishes releases.

use std::process::ExitCode;

use clap::Parser;
use twinhull::build;
use twinhull::cli::{Cli, Command, VmArgs};
use twinhull::progress::Progress;
use twinhull::{commands, publish, summary, vm};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Each message carries its cause already.
            eprintln!("twinhull: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Build(args) => {
            let built = build::run(&args.into(), &Progress::new())?;
            print!("{}", summary::built(&built)?);
        }
        Command::Check(args) => {
            let arch = args.arch;
            let checked = build::check::run(&args.into())?;
            print!("{}", summary::checked(&checked, arch));
        }
        Command::Vm(VmArgs {
            image,
            memory,
            accelerator,
        }) => match vm::run(&image, memory, accelerator.as_deref())? {},
        Command::Publish(args) => {
            let published = publish::run(&args.into(), &Progress::new())?;
            print!("{}", summary::published(&published));
        }
        Command::Repo { command } => return Ok(commands::repo(command)?),
        Command::Channel { command } => commands::channel(command)?,
        Command::Rollout { command } => commands::rollout(command)?,
    }
    Ok(ExitCode::SUCCESS)
}
