//! The control socket: a small HTTP interface of the service on a Unix socket.
//!
//! | | |
//! |---|---|
//! | `GET /v1/status` | what `twinhull-updater status --json` prints |
//! | `GET /v1/events` | a line of JSON whenever something has changed, and once a second during an install |
//! | `POST /v1/command` | a [`Command`](crate::command::Command); answers with its [`Outcome`](crate::command::Outcome) when it is done |
//! | `GET /metrics` | for Prometheus; also on a TCP address, if one is configured |
//!
//! Whoever may connect may command: the socket belongs to root and to the group that is configured.

mod client;
mod metrics;
mod routes;
mod socket;

use tokio::sync::{mpsc, oneshot, watch};

pub use client::{Client, ClientError};
pub use metrics::Metrics;
pub use routes::{metrics_only, router};
pub use socket::{SocketError, bind};

use crate::command::{Command, Outcome};
use crate::paths::Paths;
use crate::status::Told;

/// A command on its way to the service.
#[derive(Debug)]
pub struct Asked {
    /// What is asked for.
    pub command: Command,
    /// Where the outcome goes; an `Err` is a fault in words.
    pub reply: oneshot::Sender<Reply>,
}

/// What comes back.
#[derive(Debug)]
pub enum Reply {
    /// It was carried out, or refused.
    Outcome(Outcome),
    /// The service is at work.
    Busy(String),
    /// What must be remembered could not be kept.
    Fault(String),
}

/// What the interface needs of the service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Where everything is.
    pub paths: Paths,
    /// Where commands go.
    pub commands: mpsc::Sender<Asked>,
    /// What the service tells.
    pub told: watch::Receiver<Told>,
    /// What is counted.
    pub metrics: watch::Receiver<Metrics>,
}

#[cfg(test)]
mod tests;
