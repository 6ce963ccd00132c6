//! What a person asks for: carried out by the service, or without one by the program at the keyboard.

mod check;
mod hold;
mod outcome;
mod rollback;
mod update;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use outcome::Outcome;

use crate::agent::{Agent, Engine, Watcher};
use crate::machine::StoreError;

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// What the channel offers, without changing anything.
    Check {},
    /// Install now what the channel offers.
    Update {
        /// Also if it failed here before.
        #[serde(default)]
        retry: bool,
    },
    /// The other slot boots next.
    Rollback {
        /// Reboot at once.
        #[serde(default)]
        reboot: bool,
    },
    /// Neither install nor reboot for now.
    Hold {
        /// When that ends by itself.
        #[serde(default)]
        until: Option<Timestamp>,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// No longer hold.
    Unhold {},
}

/// A command that could not even be refused: what must be remembered of it could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The state cannot be kept.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The boot disk cannot be opened.
    #[error(transparent)]
    Disk(#[from] crate::io::OpenError),
    /// The way back could not be taken.
    #[error(transparent)]
    Rollback(#[from] crate::rollback::RollbackError),
}

/// Does what was asked for. Whatever is to follow, above all the reboot, is left to the service and its rules.
///
/// # Errors
/// See [`CommandError`].
pub fn obey(
    command: &Command,
    agent: &mut Agent,
    engine: &mut Engine,
    watcher: &mut Watcher<'_>,
) -> Result<Outcome, CommandError> {
    let own = engine.rules().clone();
    engine.set_rules(own.clone().by_hand());
    let outcome = match command {
        Command::Check {} => Ok(check::check(agent, engine)),
        Command::Update { retry } => update::update(agent, engine, *retry, watcher),
        Command::Rollback { reboot } => rollback::roll_back(agent, engine, *reboot, watcher),
        Command::Hold { until, reason } => hold::hold(engine, *until, reason),
        Command::Unhold {} => hold::unhold(engine),
    };
    engine.set_rules(own);
    outcome
}
