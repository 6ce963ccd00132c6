//! `twinhull`: builds images and publishes releases.

use std::process::ExitCode;

use clap::Parser;
use twinhull::build;
use twinhull::cli::{Cli, Command, InspectArgs, KeysCommand, VmArgs};
use twinhull::progress::Progress;
use twinhull::sign::Certificate;
use twinhull::{commands, diff, inspect, keys, publish, summary, vm};

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

/// An image could be read and contradicts itself.
const DISAGREES: u8 = 1;
/// An image could not be read.
const UNREADABLE: u8 = 2;

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Build(args) => {
            // Files that the build and its tools make enter the image with the modes they get; the user's umask must not show.
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
            let built = build::run(&args.into(), &Progress::new())?;
            print!("{}", summary::built(&built)?);
        }
        Command::Check(args) => {
            let arch = args.arch;
            let checked = build::check::run(&args.into())?;
            print!("{}", summary::checked(&checked, arch));
        }
        Command::Lock(args) => print!("{}", summary::locked(&build::locking::run(&args.into())?)),
        Command::Vm(VmArgs {
            image,
            memory,
            accelerator,
        }) => match vm::run(&image, memory, accelerator.as_deref())? {},
        Command::Inspect(arguments) => return inspect(&arguments),
        Command::Diff { old, new, json } => {
            let difference = diff::run(&old, &new)?;
            if json {
                println!("{}", serde_json::to_string_pretty(&difference)?);
            } else {
                print!("{}", difference.to_text());
            }
        }
        Command::Keys {
            command: KeysCommand::Init { keys, name },
        } => print!("{}", keys::init(&keys, &name)?.to_text()),
        Command::Keys {
            command: KeysCommand::Sign { keys, program, target },
        } => {
            let signer = keys::sign(&keys, &program, &target)?;
            println!("{} is signed by {signer}", target.display());
        }
        Command::Keys {
            command: KeysCommand::SignPending { keys, signatures },
        } => {
            let (made, left) = keys::sign_pending(&keys, &signatures)?;
            for path in &made {
                println!("made {}", path.display());
            }
            for path in &left {
                println!("{} is for a key that is not in {}", path.display(), keys.display());
            }
            if made.is_empty() && left.is_empty() {
                println!("nothing in {} waits for a signature", signatures.display());
            }
        }
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

fn inspect(arguments: &InspectArgs) -> anyhow::Result<ExitCode> {
    let certificate = arguments.certificate.as_deref().map(Certificate::read).transpose();
    let report = match certificate.and_then(|certificate| inspect::run(&arguments.image, certificate.as_ref())) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("twinhull: {error}");
            return Ok(ExitCode::from(UNREADABLE));
        }
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.to_text());
    }
    Ok(if report.agrees() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DISAGREES)
    })
}
