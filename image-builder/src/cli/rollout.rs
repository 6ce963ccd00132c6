//! `twinhull rollout`

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with a rollout.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Draw how many hosts have a release after each hour
    #[command(after_help = "Example:\n  twinhull rollout plan slow --hosts 5000 --svg slow.svg")]
    Plan {
        /// slow, canary, default, fast, emergency, or a file with waves
        #[arg(value_name = "NAME|FILE", default_value = "default")]
        rollout: String,
        /// How many hosts there are
        #[arg(long, default_value_t = 1000)]
        hosts: u64,
        /// Draw it as a picture, too
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Play it through with the code that hosts run: arrivals, bytes and requests
    Simulate(SimulateArgs),
}

/// What is played through.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  twinhull rollout simulate canary --hosts 20000 --poll 600")]
pub struct SimulateArgs {
    /// slow, canary, default, fast, emergency, or a file with waves
    #[arg(value_name = "NAME|FILE", default_value = "default")]
    pub rollout: String,
    /// How many hosts there are
    #[arg(long, default_value_t = 1_000_000)]
    pub hosts: u32,
    /// Seconds between two looks of a host at the repository
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub poll: u32,
    /// Bytes of one update
    #[arg(long, value_name = "BYTES", default_value_t = 20_000_000)]
    pub update: u64,
    /// Bytes a second that one host takes
    #[arg(long, value_name = "BYTES", default_value_t = 5_000_000)]
    pub rate: u64,
    /// Another number, other hosts
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print JSON: every minute
    #[arg(long)]
    pub json: bool,
}
