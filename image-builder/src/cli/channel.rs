//! `twinhull channel`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use twinhull_layout::{Arch, Product, Version};

/// What to do with a channel.
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Offer a release from now on
    Set(SetArgs),
    /// Stop everybody where they are
    #[command(
        after_help = "Example:\n  twinhull channel halt --repo site --keys keys --product twinhull-server stable --reason INC-4711"
    )]
    Halt {
        /// The channel
        #[command(flatten)]
        at: ChannelArgs,
        /// The folder with the keys
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// Why, for whoever asks a host
        #[arg(long)]
        reason: Option<String>,
    },
    /// Go on where it was halted
    #[command(
        after_help = "Example:\n  twinhull channel resume --repo site --keys keys --product twinhull-server stable"
    )]
    Resume {
        /// The channel
        #[command(flatten)]
        at: ChannelArgs,
        /// The folder with the keys
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
    },
    /// Show what it offers
    #[command(after_help = "Example:\n  twinhull channel show --repo site --product twinhull-server stable")]
    Show {
        /// The channel
        #[command(flatten)]
        at: ChannelArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// A channel of a repository.
#[derive(Debug, Args)]
pub struct ChannelArgs {
    /// The release repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The product
    #[arg(long)]
    pub product: Product,
    /// The channel
    pub channel: String,
}

/// What is offered.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  twinhull channel set --repo site --keys keys --product twinhull-server stable 1.2.0 --rollout default"
)]
pub struct SetArgs {
    /// The channel
    #[command(flatten)]
    pub at: ChannelArgs,
    /// The release
    pub version: Version,
    /// The folder with the keys of channels, snapshot and timestamp
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// The architecture; all that it was published for if not given
    #[arg(long)]
    pub arch: Vec<Arch>,
    /// slow, canary, default, fast, emergency, or a file with waves; without it everybody gets it at once
    #[arg(long, value_name = "NAME|FILE")]
    pub rollout: Option<String>,
    /// A version that may not be skipped on the way
    #[arg(long, value_name = "VERSION")]
    pub stone: Vec<Version>,
}
