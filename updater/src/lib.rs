//! The agent of a Twinhull host: finds, verifies and writes the next release into the inactive slot, waits for its turn,
//! reboots, proves the release healthy or falls back.
//!
//! - [`machine`]: the decisions, pure;
//! - [`agent`]: carries them out; [`daemon`]: for ever;
//! - [`install`]: the update transaction, through [`io`]; [`rollback`]: the way back by hand;
//! - [`scrub`]: the files that start the host, looked at now and then;
//! - [`gates`], [`hooks`], [`lock`]: what must agree before a reboot, and what is done around it;
//! - [`http`], [`health`]: the repository, and being healthy;
//! - [`config`], [`paths`], [`host`]: what the agent is told and where it is; [`status`]: what it tells;
//! - [`command`]: what a person asks for; [`control`]: the service's socket for it; [`cli`]: what a person types.

pub mod agent;
pub mod cli;
pub mod command;
pub mod config;
pub mod control;
pub mod daemon;
mod drop_ins;
pub mod gates;
pub mod health;
pub mod hooks;
pub mod host;
pub mod http;
pub mod install;
pub mod io;
pub mod lock;
pub mod machine;
pub mod paths;
pub mod rollback;
pub mod runtime;
#[cfg(test)]
#[path = "../tests/transaction/script.rs"]
mod script;
pub mod scrub;
pub mod status;
