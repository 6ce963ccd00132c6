//! `twinhull repo`

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with a release repository.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {
    /// Make a repository and its keys
    Init(InitArgs),
    /// Show what a repository offers and when its metadata expires
    #[command(after_help = "Example:\n  twinhull repo status --repo site")]
    Status {
        /// The release repository
        #[arg(long, value_name = "DIR")]
        repo: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a key for a role, or describe one on a PKCS #11 token; `rotate --add` puts it to use
    #[command(after_help = "Example:\n  twinhull repo new-key --keys keys releases")]
    NewKey {
        /// The folder for the key's file, which must be there
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// root, targets, releases, channels, snapshot or timestamp
        role: String,
        /// A key on a token: pkcs11:token=TOKEN;object=LABEL?module-path=/M.so&pin-source=file:/PIN
        #[arg(long, value_name = "URI")]
        token: Option<String>,
    },
    /// Give a role other keys: replace, add or revoke
    Rotate(RotateArgs),
    /// Add signatures to what waits for them; works on copies of the files, without a repository
    #[command(after_help = "Example:\n  twinhull repo sign --keys offline releases.json")]
    Sign {
        /// The folder with the keys to sign with
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// The repository whose pending files are signed
        #[arg(
            long,
            value_name = "DIR",
            required_unless_present = "files",
            conflicts_with = "files"
        )]
        repo: Option<PathBuf>,
        /// Pending files: root.json, targets.json, releases.json
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Verify every signature, and say how many are missing from what waits; exit status 1 if any is
    #[command(after_help = "Example:\n  twinhull repo verify --repo site")]
    Verify {
        /// The release repository
        #[arg(long, value_name = "DIR")]
        repo: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Sign the online roles anew and publish what has all its signatures: for cron; needs no offline key
    #[command(after_help = "Example:\n  twinhull repo refresh --repo site --keys online")]
    Refresh(RepoArgs),
}

/// A repository with its keys.
#[derive(Debug, Args)]
pub struct RepoArgs {
    /// The release repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The folder for its keys
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
}

/// A new repository.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  twinhull repo init --repo site --keys keys --root 2/3")]
pub struct InitArgs {
    /// The repository and its keys
    #[command(flatten)]
    pub at: RepoArgs,
    /// How many keys of root must sign, of how many
    #[arg(long, value_name = "M/N", default_value = "1/1", value_parser = threshold)]
    pub root: (u32, u32),
    /// The same for targets, which names the keys of releases and channels
    #[arg(long, value_name = "M/N", default_value = "1/1", value_parser = threshold)]
    pub targets: (u32, u32),
    /// The same for releases
    #[arg(long, value_name = "M/N", default_value = "1/1", value_parser = threshold)]
    pub releases: (u32, u32),
}

/// Other keys for a role.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  twinhull repo rotate --repo site --keys keys releases --add new.json --remove 5e8f…"
)]
pub struct RotateArgs {
    /// The repository and its keys
    #[command(flatten)]
    pub at: RepoArgs,
    /// The role: root, targets, releases, channels, snapshot, timestamp
    pub role: String,
    /// A key file whose key speaks for it from now on; a public half is enough
    #[arg(long, value_name = "FILE")]
    pub add: Vec<PathBuf>,
    /// The id of a key that no longer does
    #[arg(long, value_name = "KEYID")]
    pub remove: Vec<String>,
    /// How many of its keys must sign
    #[arg(long)]
    pub threshold: Option<u32>,
}

fn threshold(text: &str) -> Result<(u32, u32), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(m, n)| Some((m.parse().ok()?, n.parse().ok()?)));
    parsed.ok_or_else(|| "write it as 2/3: two of three keys".to_owned())
}
