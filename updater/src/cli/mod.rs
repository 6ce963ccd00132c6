//! What a person types.

mod by_hand;
mod command;
mod config;
mod exit;
mod health;
mod output;
mod progress;
mod recover;
mod run;
mod status;
mod switch_channel;
mod why;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;

pub use exit::Exit;

use crate::command::Command as Asked;
use crate::gates::parse_until;
use crate::paths::Paths;

/// Keeps this host up to date: finds, verifies and installs the next release into the inactive slot
#[derive(Debug, Parser)]
#[command(name = "twinhull-updater", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Take this folder for the root of the file system
    #[arg(long, global = true, hide = true, default_value = "/")]
    root: PathBuf,
}

const AFTER_HELP: &str = "\
Example:
  twinhull-updater status                what runs, what is in the other slot, why it waits
  twinhull-updater update                install now what the channel offers; the service reboots
  twinhull-updater rollback --reboot     go back to the other slot
  twinhull-updater hold --until 2026-12-24 --reason audit

Exit codes:
  0  done, or nothing to do      3  refused; the reason is printed
  1  failed                      4  another agent is at work
  2  wrong usage                10  check: a release is available
                                78  the configuration cannot be used";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what runs, what is in the other slot, and what is being waited for
    Status(Output),
    /// Say in one sentence why this host is or is not updating now
    Why(Output),
    /// Ask the repository what the channel offers, and change nothing
    Check(Output),
    /// Install now what the channel offers; the reboot is left to the service
    Update(UpdateArgs),
    /// Make the other slot boot next
    Rollback(RollbackArgs),
    /// Neither install nor reboot, until `unhold` or a given time
    Hold(HoldArgs),
    /// End a hold
    Unhold(Output),
    /// Follow another channel from now on
    SwitchChannel(SwitchArgs),
    /// Run as the update service
    Run,
    /// Check that this host is healthy; on trial, reboot if it is not
    Health,
    /// Show the configuration as it is after all files were merged
    Config(ConfigArgs),
    /// Give up what was remembered of the repository, after the memory of it was damaged
    Recover(Output),
}

#[derive(Debug, Args)]
struct Output {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct UpdateArgs {
    /// Try a release again that failed on this host before
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct RollbackArgs {
    /// Reboot at once
    #[arg(long)]
    reboot: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct HoldArgs {
    /// End by itself at this time, as in `2026-11-30T06:00Z`, or after this day (UTC)
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<Timestamp>,
    /// Why, for whoever looks at the status
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    output: Output,
}

fn until(text: &str) -> Result<Timestamp, String> {
    parse_until(text).ok_or_else(|| "write a time as in 2026-11-30T06:00:00Z, or a day as in 2026-11-30".to_owned())
}

#[derive(Debug, Args)]
struct SwitchArgs {
    /// The channel
    channel: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Say for each value which file set it
    #[arg(long)]
    show_origin: bool,
    #[command(flatten)]
    output: Output,
}

impl Cli {
    /// Whether it runs as a unit, whose journal wants fields and not only text.
    pub fn is_service(&self) -> bool {
        matches!(self.command, Command::Run | Command::Health)
    }

    /// What is logged if `TWINHULL_LOG` does not say: all that happens for the journal, only what is wrong for a person.
    pub fn log_level(&self) -> tracing::Level {
        match self.command {
            Command::Run | Command::Health => tracing::Level::INFO,
            _ => tracing::Level::WARN,
        }
    }

    /// Does what was asked for.
    ///
    /// # Errors
    /// Anything that has no exit code of its own: what was being done, and why it failed.
    pub fn run(self) -> anyhow::Result<Exit> {
        let paths = Paths::below(self.root);
        match self.command {
            Command::Status(output) => status::run(&paths, &output),
            Command::Why(output) => why::run(&paths, &output),
            Command::Check(output) => command::run(paths, Asked::Check {}, output),
            Command::Update(args) => command::run(paths, Asked::Update { retry: args.retry }, args.output),
            Command::Rollback(args) => command::run(paths, Asked::Rollback { reboot: args.reboot }, args.output),
            Command::Hold(args) => {
                let (until, reason) = (args.until, args.reason.unwrap_or_default());
                command::run(paths, Asked::Hold { until, reason }, args.output)
            }
            Command::Unhold(output) => command::run(paths, Asked::Unhold {}, output),
            Command::SwitchChannel(args) => switch_channel::run(&paths, &args),
            Command::Run => run::run(&paths),
            Command::Health => Ok(health::run(&paths)),
            Command::Config(args) => config::run(&paths, &args),
            Command::Recover(output) => recover::run(&paths, &output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_well_formed_and_its_help_fits_a_screen() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        let help = command.render_help().to_string();
        assert!(help.lines().count() <= 40, "{} lines", help.lines().count());
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}
