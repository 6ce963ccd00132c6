//! `twinhull`: builds images and publishes releases.

use std::process::ExitCode;

use clap::Parser;
use twinhull::build;
use twinhull::cli::{Cli, Command, RepoArgs, RepoCommand, VmArgs};
use twinhull::progress::Progress;
use twinhull::{publish, repository, summary, vm};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Each message carries its cause already.
            eprintln!("twinhull: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
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
        Command::Repo {
            command: RepoCommand::Init(RepoArgs { repo, keys }),
        } => {
            let root = repository::init(&repo, &keys)?;
            println!(
                "hosts are to trust {}: build images with --trust-root {}",
                root.display(),
                root.display()
            );
            println!(
                "keep root, targets and releases of {} offline once you publish for others",
                keys.display()
            );
        }
        Command::Repo {
            command: RepoCommand::Status { repo, json },
        } => {
            let status = repository::status(&repo)?;
            if json {
                println!("{}", serde_json::to_string_pretty(&status)?);
            } else {
                print!("{}", status.to_text(jiff::Timestamp::now()));
            }
        }
    }
    Ok(())
}
