//! `cargo xtask bench`: our figures beside those of our peers, from one run on one machine.
//!
//! One file for each subject. A bench builds what it measures, runs peers in turns with ours on the same input, and hands
//! its figures to [`Evidence`](crate::evidence::Evidence).

mod agent;
mod boot;
mod build;
mod layout;
mod lock;
mod measuring_test;
mod mkosi_host;
mod payload;
mod trust;

use std::path::Path;

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::evidence::Publication;
use crate::phase::Phases;

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// The agent: size of its program
    Agent {
        #[command(flatten)]
        publication: Publication,
    },
    /// Boots: computing, time, bytes and memory up to `login:` and to a running container, beside mkosi
    Boot(boot::Boot),
    /// Builds of images: processor time, memory and disk, beside mkosi
    Build(build::Build),
    /// The reboot lock over etcd and over its embedded store: changes a second, latency, memory
    Lock {
        #[command(flatten)]
        publication: Publication,
    },
    /// The update payload: bytes, processor time and memory, beside zstd, xdelta3, casync, zchunk and RAUC
    Payload(payload::Payload),
    /// A look at the repository: bytes, requests, verification; a rollout to a million hosts played through
    Trust {
        #[command(flatten)]
        publication: Publication,
    },
}

impl Bench {
    /// Measures and publishes.
    pub(crate) fn run(self, phases: &mut Phases) -> Result<()> {
        match self {
            Self::Agent { publication } => agent::run(phases, &publication),
            Self::Boot(boot) => boot.run(phases),
            Self::Build(build) => build.run(phases),
            Self::Lock { publication } => lock::run(phases, &publication),
            Self::Payload(payload) => payload.run(phases),
            Self::Trust { publication } => trust::run(&publication),
        }
    }
}

/// Bytes of a file, holes included.
fn size(path: &Path) -> Result<u64> {
    let read = std::fs::metadata(path).with_context(|| format!("there is no {}", path.display()))?;
    Ok(read.len())
}
