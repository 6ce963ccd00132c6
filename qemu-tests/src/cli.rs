//! The command line.

use std::num::NonZeroU8;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use twinhull_layout::Arch;
use twinhull_qemu::accelerator::Choice;
use twinhull_qemu::scenario;

/// Boots disk images in QEMU, breaks them on purpose and reports.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  twinhull-qemu test --work target/twinhull
  twinhull-qemu test update refused --work target/twinhull --jobs 1 --keep
  twinhull-qemu run target/twinhull/images/1.0.0/twinhull-server_1.0.0_x86_64.raw

Exit status: 0 all passed, 1 a scenario failed, 2 wrong usage, 3 a tool, artefact or right is missing, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run scenarios; those of every run when none is named
    Test(TestArguments),
    /// Show one whole update from the first boot to the blessed new release
    Demo(DemoArguments),
    /// Boot a private copy of an image with its console on this terminal
    Run(RunArguments),
    /// List the scenarios
    List,
    /// List the network interfaces that guests can reach: only loopback
    Network,
}

#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// Scenarios to run
    pub(crate) scenarios: Vec<String>,
    /// All scenarios, also those that otherwise run only when named
    #[arg(long, conflicts_with = "scenarios")]
    pub(crate) all: bool,
    /// Folder of images, programs, keys and repository (docs/qemu-tests.md)
    #[arg(long, value_name = "DIR")]
    pub(crate) work: PathBuf,
    /// The architecture of the images
    #[arg(long, default_value_t = Arch::X86_64)]
    pub(crate) arch: Arch,
    /// Scenarios side by side; each needs two cores and 2 GiB
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) jobs: NonZeroU8,
    /// auto (kvm if it proves itself by booting the firmware), kvm or tcg
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub(crate) accelerator: Choice,
    /// How many states that a power cut can leave are booted, beside all those that are only looked at
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) power_cuts: u16,
    /// Write the evidence here
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a `JUnit` report here
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Leave the machines' disks for a look
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Folder of images, programs, keys and repository (docs/qemu-tests.md)
    #[arg(long, value_name = "DIR")]
    pub(crate) work: PathBuf,
    /// auto (kvm if it proves itself by booting the firmware), kvm or tcg
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub(crate) accelerator: Choice,
    /// Leave the machine's disk for a look
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// A raw disk image; it is copied, not changed
    pub(crate) image: PathBuf,
    /// The architecture of the image
    #[arg(long, default_value_t = Arch::X86_64)]
    pub(crate) arch: Arch,
    /// auto (kvm if it proves itself by booting the firmware), kvm or tcg
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub(crate) accelerator: Choice,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value = "1536")]
    pub(crate) memory: u32,
}

/// The scenarios, one a line.
pub(crate) fn list() -> String {
    let width = scenario::ALL
        .iter()
        .map(|scenario| scenario.name.len())
        .max()
        .unwrap_or_default();
    let lines = scenario::ALL
        .iter()
        .map(|scenario| format!("{:width$}  {}", scenario.name, scenario.about));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
