//! What a person types: `serve`, and what asks a server.

mod activation;
mod client;
mod history;
mod holders;
mod import_airlock;
mod intervene;
mod operator;
mod output;
mod policy;
mod release;
mod serve;
mod status;
mod table;

use std::io::IsTerminal;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::airlock::AirlockError;
use crate::config::ConfigError;
use crate::groups::GroupsError;
use crate::server::token::TokenError;
use crate::server::{BindError, TlsError};
use crate::store::{EtcdError, OpenError};

const ABOUT: &str = "The cluster-wide reboot lock: how many hosts may be down at the same time, and which.

Speaks FleetLock. One server with one file serves a fleet, or several over etcd; hosts ask
before they reboot.";

const AFTER: &str = "\
Examples:
  twinhull-lock serve --config /etc/twinhull-lock/lock.toml
  twinhull-lock serve --plain-http --listen 127.0.0.1:8480 --store ./lock.redb --group default=1
  twinhull-lock status
  twinhull-lock release --group default --id 3f2a… --reason 'mainboard died, replaced'

Exit codes:
  0  done
  1  failed: the server, the store or the network
  2  wrong usage
  3  refused by the server: no such holder, no such group, wrong credential";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "twinhull-lock", version, about = ABOUT, after_help = AFTER)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM; SIGHUP reads groups, access and certificates anew
    Serve(serve::Serve),
    /// Show who holds which slot, and what happened lately
    Status(status::StatusCommand),
    /// Show who holds which slot since when, and nothing else
    Holders(holders::Holders),
    /// Show what was granted, released and changed: when, by whom, and why
    History(history::History),
    /// Free the slot of a host that will not do so itself; goes into the history
    Release(release::Release),
    /// Grant nothing in a group until it is resumed
    Pause(intervene::Intervene),
    /// End a pause or an automatic halt of a group
    Resume(intervene::Intervene),
    /// Show the rules of the groups, or set those of one
    Policy(policy::PolicyCommand),
    /// Take over the groups and holders of airlock, another FleetLock server
    ImportAirlock(import_airlock::ImportAirlock),
}

/// Why a command failed. The variants of [`Refused`](Self::Refused) are the user's or the fleet's matter, the others are
/// failures.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The server understood and said no.
    #[error("{0}")]
    Refused(String),
    /// The server could not be asked, or answered something else than expected.
    #[error("{0}")]
    Server(String),
    /// The configuration.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The store.
    #[error("{0}")]
    Store(#[from] OpenError),
    /// etcd.
    #[error("{0}")]
    Etcd(#[from] EtcdError),
    /// What airlock keeps.
    #[error("{0}")]
    Airlock(#[from] AirlockError),
    /// The groups at the start.
    #[error("{0}")]
    Groups(#[from] GroupsError),
    /// A listener.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// Certificates.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// A token.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// A passed TCP socket for administration, and nothing to protect it with.
    #[error("the service manager passed a TCP socket for administration; it needs a token: set admin.token_file")]
    NoToken,
    /// Something that the operating system would not do.
    #[error("cannot {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// The reason.
        source: std::io::Error,
    },
}

impl CommandError {
    fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

impl Arguments {
    /// Does what the command line says.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn run(self) -> Result<(), CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CommandError::system("start the runtime"))?;
        match self.command {
            Command::Serve(serve) => {
                log_to_stderr();
                runtime.block_on(serve.run())
            }
            Command::Status(status) => runtime.block_on(status.run()),
            Command::Holders(holders) => runtime.block_on(holders.run()),
            Command::History(history) => runtime.block_on(history.run()),
            Command::Release(release) => runtime.block_on(release.run()),
            Command::Pause(pause) => runtime.block_on(pause.run("pause")),
            Command::Resume(resume) => runtime.block_on(resume.run("resume")),
            Command::Policy(policy) => runtime.block_on(policy.run()),
            Command::ImportAirlock(import) => runtime.block_on(import.run()),
        }
    }
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TWINHULL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false);
    // The journal has its own times.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
