//! The command line.

mod channel;
mod repo;
mod rollout;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use twinhull_layout::{Arch, Version};

pub use channel::{ChannelArgs, ChannelCommand, SetArgs};
pub use repo::{InitArgs, RepoArgs, RepoCommand, RotateArgs};
pub use rollout::{RolloutCommand, SimulateArgs};

use crate::build::indices::Fetch;
use crate::{build, cache, publish};

/// Builds immutable A/B disk images from a short definition, and publishes them as signed releases.
#[derive(Debug, Parser)]
#[command(
    name = "twinhull",
    version,
    max_term_width = 100,
    after_help = "Example:\n  twinhull repo init --repo site --keys keys\n  sudo twinhull build server.toml --version 1.0.0 --trust-root site/metadata/root.json --init init --output out\n  twinhull publish --repo site --keys keys --channel stable out/twinhull-server_1.0.0_x86_64.json"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a disk image from a definition
    Build(BuildArgs),
    /// Check a definition, and whether this host can build it
    Check(CheckArgs),
    /// Write down every package that a build takes, by its hash, to build from exactly those later
    Lock(LockArgs),
    /// Boot an image in a virtual machine, with its console in the terminal
    Vm(VmArgs),
    /// Recompute everything that an image says about itself, and say whether it agrees
    Inspect(InspectArgs),
    /// Show what changed between two builds, and what the update costs
    #[command(
        after_help = "Example:\n  twinhull diff out/twinhull-server_1.0.0_x86_64.json out/twinhull-server_1.1.0_x86_64.json"
    )]
    Diff {
        /// The manifest of the old build
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The manifest of the new build
        #[arg(value_name = "NEW")]
        new: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the keys that images and releases are signed with
    Keys {
        /// What to do with them.
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Publish a build as a signed release and let a channel offer it
    Publish(PublishArgs),
    /// Make or look at a release repository: a plain folder of static files
    Repo {
        /// What to do with it.
        #[command(subcommand)]
        command: RepoCommand,
    },
    /// Say which release a channel offers, to whom and since when; halt and resume it
    Channel {
        /// What to do with it.
        #[command(subcommand)]
        command: ChannelCommand,
    },
    /// Draw a rollout, or play it through
    Rollout {
        /// What to do with it.
        #[command(subcommand)]
        command: RolloutCommand,
    },
}

/// What an image is built from.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  sudo twinhull build server.toml --version 1.0.0 --trust-root site/metadata/root.json --init init --keys keys --lock server.x86_64.lock\n  sudo twinhull build server.toml --version 1.0.0 --trust-root site/metadata/root.json --init init --arch aarch64"
)]
pub struct BuildArgs {
    /// The definition file
    #[arg(value_name = "DEFINITION")]
    pub definition: PathBuf,
    /// The version of the image, as 1.10.0
    #[arg(long)]
    pub version: Version,
    /// The architecture of the image
    #[arg(long, default_value_t = Arch::host())]
    pub arch: Arch,
    /// The metadata that hosts trust from the start (metadata/root.json of the release repository)
    #[arg(long, value_name = "FILE")]
    pub trust_root: PathBuf,
    /// The static init of the image's architecture
    #[arg(long, value_name = "FILE")]
    pub init: PathBuf,
    /// The folder of keys to sign with for Secure Boot (twinhull keys init); without it nothing is signed
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Keys that are not in their folder sign elsewhere: what is to be signed goes here, and signatures are taken from here
    #[arg(long, value_name = "DIR", requires = "keys")]
    pub signatures: Option<PathBuf>,
    /// The folder that gets the artefacts
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub output: PathBuf,
    /// The folder that keeps packages between builds
    #[arg(long, value_name = "DIR", default_value = cache::SHARED)]
    pub cache: PathBuf,
    /// A package file to install as well; may be given several times
    #[arg(long = "deb", value_name = "FILE")]
    pub debs: Vec<PathBuf>,
    /// The lock file to build from (twinhull lock); without it, the newest packages are taken
    #[arg(long, value_name = "FILE", conflicts_with = "refresh")]
    pub lock: Option<PathBuf>,
    /// The log of the tools' output [default: beside the artefacts]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Make everything anew, and fail if the cache would have given something else
    #[arg(long)]
    pub no_cache: bool,
    /// Fetch packages anew although the cache has them
    #[arg(long)]
    pub refresh: bool,
    /// Debian's main archive [default: the one apt of this host uses]
    #[arg(long, value_name = "URI")]
    pub mirror: Option<String>,
    /// Debian's security archive [default: the one apt of this host uses]
    #[arg(long, value_name = "URI")]
    pub security_mirror: Option<String>,
}

/// What is checked.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  twinhull check server.toml\n  twinhull check server.toml --lock server.x86_64.lock --keys keys --trust-root site/metadata/root.json --init init"
)]
pub struct CheckArgs {
    /// The definition file
    #[arg(value_name = "DEFINITION")]
    pub definition: PathBuf,
    /// The architecture of the image
    #[arg(long, default_value_t = Arch::host())]
    pub arch: Arch,
    /// A package file that will be installed as well; may be given several times
    #[arg(long = "deb", value_name = "FILE")]
    pub debs: Vec<PathBuf>,
    /// The lock file that will be built from
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
    /// The static init that will be packed
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// The metadata that hosts will trust from the start
    #[arg(long, value_name = "FILE")]
    pub trust_root: Option<PathBuf>,
    /// The folder of keys that will sign: each must be there and belong to its certificate
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Keys that are not in their folder will sign elsewhere: their certificates must be there
    #[arg(long, value_name = "DIR", requires = "keys")]
    pub signatures: Option<PathBuf>,
    /// The folder that keeps the indices of the archives [default: /var/cache/twinhull, or ~/.cache/twinhull for those who may not write there]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Fetch the indices anew although the cache has them
    #[arg(long, conflicts_with = "offline")]
    pub refresh: bool,
    /// Fetch nothing: look names of packages up only when the cache has the indices
    #[arg(long)]
    pub offline: bool,
    /// Debian's main archive [default: the one apt of this host uses]
    #[arg(long, value_name = "URI")]
    pub mirror: Option<String>,
    /// Debian's security archive [default: the one apt of this host uses]
    #[arg(long, value_name = "URI")]
    pub security_mirror: Option<String>,
}

/// What is locked.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  twinhull lock server.toml\n  twinhull lock server.toml --arch aarch64")]
pub struct LockArgs {
    /// The definition file
    #[arg(value_name = "DEFINITION")]
    pub definition: PathBuf,
    /// The architecture of the image
    #[arg(long, default_value_t = Arch::host())]
    pub arch: Arch,
    /// The lock file [default: DEFINITION with .ARCH.lock instead of .toml]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The folder that keeps the indices of the archives [default: /var/cache/twinhull, or ~/.cache/twinhull for those who may not write there]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Debian's main archive [default: the one apt of this host uses]
    #[arg(long, value_name = "URI")]
    pub mirror: Option<String>,
    /// Debian's security archive [default: the one apt of this host uses]
    #[arg(long, value_name = "URI")]
    pub security_mirror: Option<String>,
}

/// What is booted.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  twinhull vm out/twinhull-server_1.0.0_x86_64.raw\n  twinhull vm out/twinhull-server_1.0.0_x86_64.json --memory 4096"
)]
pub struct VmArgs {
    /// The disk image, or the manifest of its build; a copy is booted
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,
    /// Memory of the machine, in MiB
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u32>,
    /// kvm, tcg or auto
    #[arg(long, value_name = "WHICH")]
    pub accelerator: Option<String>,
}

/// What is inspected.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  twinhull inspect out/twinhull-server_1.0.0_x86_64.raw --certificate keys/verity.crt\n\nExit status: 0 everything agrees, 1 something does not, 2 it could not be read."
)]
pub struct InspectArgs {
    /// A raw disk image, or the manifest of a build (NAME.json with NAME.raw beside it)
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,
    /// The certificate that root hashes must be signed by (verity.crt of the folder of keys)
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make what is missing: PK, KEK, db and their enrolment files, the verity key, the release keys
    #[command(after_help = "Example:\n  twinhull keys init --keys keys --name Example")]
    Init {
        /// The folder for the keys
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// Who the certificates name
        #[arg(long, default_value = "Twinhull")]
        name: String,
    },
    /// Sign one EFI program with the key db
    #[command(after_help = "Example:\n  twinhull keys sign --keys keys shellx64.efi shellx64.signed.efi")]
    Sign {
        /// The folder of keys
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// The program
        program: PathBuf,
        /// Where the signed program goes
        target: PathBuf,
    },
    /// Sign what `twinhull build --signatures DIR` left to be signed
    #[command(after_help = "Example:\n  twinhull keys sign-pending --keys keys signatures")]
    SignPending {
        /// The folder of keys; those that are not in it sign elsewhere
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// The folder that `--signatures` named
        signatures: PathBuf,
    },
}

/// What is published where.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  twinhull publish --repo site --keys keys --channel stable --builds out out/twinhull-server_1.1.0_x86_64.json"
)]
pub struct PublishArgs {
    /// The manifest of the build: NAME.json, with NAME.raw and NAME.efi beside it
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// The release repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The folder with its keys
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// The channel that offers the release from now on; without it, none does yet
    #[arg(long)]
    pub channel: Option<String>,
    /// The oldest version that may update to this one directly; a host on an older one is refused
    #[arg(long, value_name = "VERSION")]
    pub minimum_from: Option<Version>,
    /// The manifest of an earlier build to make a delta from; may be given several times
    #[arg(long = "base", value_name = "MANIFEST")]
    pub bases: Vec<PathBuf>,
    /// A folder of earlier builds: deltas from the last ones, and quick ones from all that a channel still offers
    #[arg(long, value_name = "DIR")]
    pub builds: Option<PathBuf>,
    /// How many of the last of those builds get the best delta
    #[arg(long, value_name = "N", default_value_t = 2, requires = "builds")]
    pub best: usize,
    /// How hard to compress, from 1 (fast) to 19 (small)
    #[arg(long, default_value_t = 19, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub level: i32,
}

impl From<BuildArgs> for build::Options {
    fn from(args: BuildArgs) -> Self {
        let BuildArgs {
            definition,
            version,
            arch,
            trust_root,
            init,
            keys,
            signatures,
            output,
            cache,
            debs,
            lock,
            log,
            no_cache,
            refresh,
            mirror,
            security_mirror,
        } = args;
        Self {
            definition,
            version,
            arch,
            trust_root,
            output,
            cache,
            debs,
            init,
            keys,
            signatures,
            lock,
            log,
            no_cache,
            refresh,
            mirror,
            security_mirror,
        }
    }
}

impl From<CheckArgs> for build::check::Request {
    fn from(args: CheckArgs) -> Self {
        let fetch = match (args.offline, args.refresh) {
            (true, _) => Fetch::Never,
            (false, true) => Fetch::Always,
            (false, false) => Fetch::IfMissing,
        };
        Self {
            definition: args.definition,
            arch: args.arch,
            cache: cache::folder(args.cache),
            debs: args.debs,
            lock: args.lock,
            mirror: args.mirror,
            security_mirror: args.security_mirror,
            fetch,
            init: args.init,
            trust_root: args.trust_root,
            keys: args.keys,
            signatures: args.signatures,
        }
    }
}

impl From<LockArgs> for build::locking::Request {
    fn from(args: LockArgs) -> Self {
        Self {
            definition: args.definition,
            arch: args.arch,
            cache: cache::folder(args.cache),
            output: args.output,
            mirror: args.mirror,
            security_mirror: args.security_mirror,
        }
    }
}

impl From<PublishArgs> for publish::Options {
    fn from(args: PublishArgs) -> Self {
        let PublishArgs {
            manifest,
            repo,
            keys,
            channel,
            minimum_from,
            bases,
            builds,
            best,
            level,
        } = args;
        Self {
            manifest,
            repository: repo,
            keys,
            channel,
            minimum_from,
            bases,
            builds,
            best,
            level,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Cli;

    /// Every command below `command` that has none below itself.
    fn leaves(command: &clap::Command) -> Vec<&clap::Command> {
        if command.has_subcommands() {
            command.get_subcommands().flat_map(leaves).collect()
        } else {
            vec![command]
        }
    }

    #[test]
    fn each_command_has_an_example_that_it_takes() {
        let cli = Cli::command();
        let commands = leaves(&cli);
        assert!(commands.len() > 20, "{} commands", commands.len());
        for command in commands {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let mut examples = help.lines().filter_map(|line| line.strip_prefix("  ")).peekable();
            assert!(examples.peek().is_some(), "{} has no example", command.get_name());
            for example in examples {
                let words = example.split(' ').skip_while(|word| *word == "sudo");
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("{example}: {error}");
                }
            }
        }
    }
}
