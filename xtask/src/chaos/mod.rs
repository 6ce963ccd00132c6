//! `cargo xtask chaos`: long runs with faults, and a verdict.

mod lock;

use anyhow::Result;
use clap::Subcommand;

use crate::evidence::Publication;
use crate::phase::Phases;

/// What is put under stress.
#[derive(Subcommand)]
pub(crate) enum Chaos {
    /// The reboot lock: three etcd members, two servers, fifty hosts, every fault; the short form is in `cargo xtask test`
    Lock {
        /// How many different runs
        #[arg(long, default_value_t = 10, value_name = "N")]
        seeds: u64,
        /// How long the faults last, all runs together
        #[arg(long, default_value_t = 20, value_name = "M")]
        minutes: u64,
        #[command(flatten)]
        publication: Publication,
    },
}

impl Chaos {
    /// Runs and publishes.
    pub(crate) fn run(self, phases: &mut Phases) -> Result<()> {
        match self {
            Self::Lock {
                seeds,
                minutes,
                publication,
            } => lock::run(phases, seeds, minutes, &publication),
        }
    }
}
