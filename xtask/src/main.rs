//! `cargo xtask`: what the two commands of the README call.
//!
//! It installs what is needed, builds what is to be shown or tested, and runs it; it has no knowledge of images or
//! updates of its own.

mod apps;
mod arch;
mod archives;
mod artefacts;
mod bench;
mod chaos;
mod checks;
mod crash;
mod distribution;
mod evidence;
mod measure;
mod other_tuf;
mod phase;
mod privilege;
mod reproduce;
mod rusage;
mod rust_targets;
mod setup;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use arch::Arch;
use artefacts::{Artefacts, Scenarios};
use bench::Bench;
use chaos::Chaos;
use crash::Crash;
use phase::Phases;
use reproduce::Reproduce;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Set up, show and test Twinhull",
    after_help = "Example:\n  cargo xtask demo     one update of a virtual machine, from beginning to end\n\n\
                  Exit status: 0 all went well, 1 a phase failed (its log is named), 2 wrong usage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the packages and tools that the other commands need; says which and why first
    Setup {
        /// Only say what is missing
        #[arg(long)]
        dry_run: bool,
        /// The architecture of the images that will be built
        #[arg(long, value_enum, default_value_t = Arch::X86_64)]
        arch: Arch,
    },
    /// Build 1.0.0, publish 1.1.0, boot 1.0.0 in a virtual machine and watch it update itself
    Demo,
    /// Formatting, lints, unit and integration tests, then the scenarios in virtual machines
    Test {
        /// Leave the virtual machines out
        #[arg(long)]
        no_qemu: bool,
        #[command(flatten)]
        scenarios: Scenarios,
    },
    /// The scenarios in virtual machines, and no other tests
    Qemu {
        /// All scenarios, with 300 power cuts: the time that it takes
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        scenarios: Scenarios,
    },
    /// Build the images that the demo and the scenarios boot, and no more
    Images {
        /// Their architecture
        #[arg(long, value_enum, default_value_t = Arch::X86_64)]
        arch: Arch,
    },
    /// Measure, beside peers in the same run: a table, and JSON with `--json FILE`
    #[command(subcommand)]
    Bench(Bench),
    /// Cut the power at every write of an update, and judge what is left: counts, and JSON with `--json FILE`
    Crash(Crash),
    /// Long runs with faults, and a verdict
    #[command(subcommand)]
    Chaos(Chaos),
    /// Build one image three times, as different users on different hosts, and compare every byte
    Reproduce(Reproduce),
}

fn main() -> ExitCode {
    // Before anything else: a launcher is to stay small.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == measure::LAUNCHER) {
        return measure::launch(words);
    }
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    workspace::enter_root()?;
    let mut phases = Phases::new(workspace::work().join("logs"))?;
    match command {
        Command::Setup { dry_run: true, arch } => setup::explain(arch),
        Command::Setup { dry_run: false, arch } => {
            setup::run(&mut phases, arch)?;
            other_tuf::install(&mut phases)
        }
        Command::Demo => {
            setup::run(&mut phases, Arch::X86_64)?;
            let artefacts = Artefacts::build(&mut phases, Arch::X86_64, artefacts::DEMO)?;
            artefacts.demo(&mut phases)
        }
        Command::Crash(crash) => crash.run(&mut phases),
        Command::Reproduce(reproduce) => {
            setup::run(&mut phases, Arch::X86_64)?;
            reproduce.run(&mut phases)
        }
        Command::Images { arch } => {
            setup::run(&mut phases, arch)?;
            let artefacts = Artefacts::build(&mut phases, arch, artefacts::ALL)?;
            artefacts.build_rest(&mut phases, |_| true)
        }
        Command::Bench(bench) => {
            setup::run(&mut phases, Arch::X86_64)?;
            bench.run(&mut phases)
        }
        Command::Qemu { all, scenarios } => {
            setup::run(&mut phases, scenarios.arch)?;
            let artefacts = Artefacts::build(&mut phases, scenarios.arch, artefacts::ALL)?;
            let scenarios = if all { scenarios.thorough() } else { scenarios };
            artefacts.build_rest(&mut phases, |some| scenarios.have(some))?;
            artefacts.scenarios(&mut phases, &scenarios)
        }
        Command::Chaos(chaos) => {
            setup::run(&mut phases, Arch::X86_64)?;
            chaos.run(&mut phases)
        }
        Command::Test { no_qemu, scenarios } => {
            setup::run(&mut phases, scenarios.arch)?;
            other_tuf::install(&mut phases)?;
            checks::run(&mut phases)?;
            if no_qemu {
                return Ok(());
            }
            let artefacts = Artefacts::build(&mut phases, scenarios.arch, artefacts::ALL)?;
            artefacts.read_by_others(&mut phases)?;
            artefacts.build_rest(&mut phases, |some| scenarios.have(some))?;
            artefacts.scenarios(&mut phases, &scenarios)
        }
    }
}
