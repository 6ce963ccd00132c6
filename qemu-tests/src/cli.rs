//! The command line.

use std::num::NonZeroU8;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use twinhull_layout::Arch;

use crate::accelerator::Choice;
use crate::error::{Error, Result};
use crate::scenario;

/// Boots disk images in QEMU, breaks them on purpose and reports.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  twinhull-qemu test my-server.raw boots.toml updates.toml --html report.html
  twinhull-qemu prove update refused --work target/twinhull --jobs 1 --keep
  twinhull-qemu run my-server.raw

Exit status: 0 all passed, 1 a scenario failed, 2 wrong usage or a scenario file that makes no sense, 3 a tool, artefact or \
right is missing and nothing was tried, 130 interrupted."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play scenario files with an image
    Test(TestArguments),
    /// Only say whether scenario files make sense
    Check {
        /// Scenario files (docs/scenario-file.md)
        #[arg(required = true)]
        scenarios: Vec<PathBuf>,
    },
    /// Run the scenarios that prove Twinhull; those of every run when none is named
    Prove(ProveArguments),
    /// Show one whole update from the first boot to the blessed new release
    Demo(DemoArguments),
    /// Boot a private copy of an image with its console on this terminal
    Run(RunArguments),
    /// Boot images in turns and say what each needs from the firmware's hand-over to a text on its console
    BootTime(BootTimeArguments),
    /// List the scenarios of `prove`
    List,
    /// List the network interfaces that guests can reach: only loopback
    Network,
}

/// What `test` plays.
#[derive(Debug, Args)]
pub struct TestArguments {
    /// A raw disk image, which is copied and not changed, then scenario files (docs/scenario-file.md)
    #[arg(required = true, value_name = "IMAGE|SCENARIO.toml")]
    pub files: Vec<PathBuf>,
    /// Folder for logs and, while they are needed, disks; it may hold images by version, keys and a repository as for `prove`
    #[arg(long, value_name = "DIR", default_value = "qemu-work")]
    pub work: PathBuf,
    /// How they are run.
    #[command(flatten)]
    pub how: How,
}

impl TestArguments {
    /// The image, if there is one, and the scenario files.
    ///
    /// # Errors
    /// [`Error::Usage`] when no file is a scenario, or another than the first is none.
    pub fn sorted(&self) -> Result<(Option<&PathBuf>, &[PathBuf])> {
        let is_scenario = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "toml");
        let (image, scenarios) = match self.files.split_first() {
            Some((first, rest)) if !is_scenario(first) => (Some(first), rest),
            _ => (None, &self.files[..]),
        };
        if let Some(other) = scenarios.iter().find(|path| !is_scenario(path)) {
            return Err(Error::Usage(format!(
                "{} is no scenario file (.toml); an image comes first, and there is one at most",
                other.display()
            )));
        }
        if scenarios.is_empty() {
            return Err(Error::Usage("no scenario file (.toml) is named".to_owned()));
        }
        Ok((image, scenarios))
    }
}

/// What `prove` runs.
#[derive(Debug, Args)]
pub struct ProveArguments {
    /// Scenarios to run
    pub scenarios: Vec<String>,
    /// All scenarios, also those that otherwise run only when named
    #[arg(long, conflicts_with = "scenarios")]
    pub all: bool,
    /// Folder of images, programs, keys and repository (docs/qemu-tests.md)
    #[arg(long, value_name = "DIR")]
    pub work: PathBuf,
    /// How many states that a power cut can leave are booted, beside all those that are only looked at
    #[arg(long, value_name = "N", default_value = "10")]
    pub power_cuts: u16,
    /// How they are run.
    #[command(flatten)]
    pub how: How,
}

/// What is the same for all scenarios.
#[derive(Debug, Args)]
pub struct How {
    /// The architecture of the images
    #[arg(long, default_value_t = Arch::X86_64)]
    pub arch: Arch,
    /// Machines side by side, as far as memory allows; a scenario that has more runs alone [default: one for each core]
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroU8>,
    /// auto (kvm if it proves itself by booting the firmware), kvm or tcg
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub accelerator: Choice,
    /// Write the evidence here
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a `JUnit` report here
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a page with steps, consoles and pictures here
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Leave the machines' disks for a look
    #[arg(long)]
    pub keep: bool,
}

/// What `demo` shows.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Folder of images, programs, keys and repository (docs/qemu-tests.md)
    #[arg(long, value_name = "DIR")]
    pub work: PathBuf,
    /// auto (kvm if it proves itself by booting the firmware), kvm or tcg
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub accelerator: Choice,
    /// Leave the machine's disk for a look
    #[arg(long)]
    pub keep: bool,
}

/// What `run` boots.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// A raw disk image; it is copied, not changed
    pub image: PathBuf,
    /// auto (kvm if it proves itself by booting the firmware), kvm or tcg
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub accelerator: Choice,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value = "1536")]
    pub memory: u32,
}

/// What a boot costs.
#[derive(Debug, Args)]
pub struct BootTimeArguments {
    /// Raw disk images of one architecture; they are copied, not changed
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// A text on the console; may be given several times, in any order
    #[arg(long = "until", value_name = "TEXT", default_value = "login:")]
    pub texts: Vec<String>,
    /// How often each image is booted
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// auto (kvm if it proves itself by booting the firmware), kvm or tcg
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub accelerator: Choice,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value = "1536")]
    pub memory: u32,
    /// Print a JSON object a line instead of a table
    #[arg(long)]
    pub json: bool,
}

/// The scenarios, one a line.
pub fn list() -> String {
    let width = scenario::ALL
        .iter()
        .map(|scenario| scenario.name.len())
        .max()
        .unwrap_or_default();
    let lines = scenario::ALL.iter().map(|scenario| {
        let when = if scenario.on_request { " (on request)" } else { "" };
        format!("{:width$}  {}{when}", scenario.name, scenario.about)
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_image_comes_first_or_not_at_all() {
        let sorted = |words: &str| {
            let cli = Cli::parse_from(["twinhull-qemu", "test"].into_iter().chain(words.split(' ')));
            let Command::Test(arguments) = cli.command else {
                return Err("another command".to_owned());
            };
            let (image, scenarios) = arguments.sorted().map_err(|error| error.to_string())?;
            Ok((image.cloned(), scenarios.len()))
        };
        assert_eq!(sorted("x.raw a.toml b.toml"), Ok((Some("x.raw".into()), 2)));
        assert_eq!(sorted("a.toml"), Ok((None, 1)));
        assert!(
            sorted("a.toml x.raw")
                .unwrap_err()
                .contains("x.raw is no scenario file")
        );
        assert!(sorted("x.raw").unwrap_err().contains("no scenario file"));
    }
}
