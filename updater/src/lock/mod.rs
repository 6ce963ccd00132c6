//! The reboot lock: a client of the `FleetLock` protocol, as any server that speaks it understands.
//!
//! Taking again what one holds and releasing what one does not hold both succeed, so a request whose answer was lost is simply
//! repeated with the same id.

mod answer;
mod report;

use std::time::Duration;

use reqwest::{StatusCode, Url};

use crate::http::{Http, HttpError};
use crate::machine::{Grant, Problem};
use answer::Answer;

pub use report::{Outcome, Report};

/// Below the base: takes the lock.
const TAKE: &str = "v1/pre-reboot";

/// Below the base: releases it.
const RELEASE: &str = "v1/steady-state";

/// Required by the protocol, so that no form on a web page can speak it.
const PROTOCOL: (&str, &str) = ("fleet-lock-protocol", "true");

/// Longest wait for a whole answer. Nothing is lost by giving up: the question is repeated.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most bytes of an answer that are looked at.
const MAX_ANSWER: usize = 64 * 1024;

/// This host at one lock server.
#[derive(Debug, Clone)]
pub struct FleetLock {
    http: Http,
    base: Url,
    group: String,
    id: String,
    patience: Duration,
}

impl FleetLock {
    /// The host `id` of `group` at the server whose base is `base`, which ends in `/`.
    pub fn new(http: Http, base: Url, group: String, id: String) -> Self {
        Self {
            http,
            base,
            group,
            id,
            patience: PATIENCE,
        }
    }

    /// The same with another longest wait.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Asks to be the one that reboots.
    pub fn take(&self, report: &Report<'_>) -> Grant {
        let (status, body) = match self.ask(TAKE, report) {
            Ok(answer) => answer,
            Err(error) => return Grant::Unknown(Problem::new("lock-unknown", error)),
        };
        if status.is_success() {
            return Grant::Granted;
        }
        let answer = Answer::parse(&body);
        // Only a plain no is a no. A server that failed may have failed after it granted.
        if status.is_client_error() {
            let kind = answer.as_ref().map(|answer| answer.kind.as_str());
            let code = match (status, kind) {
                (StatusCode::LOCKED, Some("paused")) => "lock-paused",
                (StatusCode::LOCKED, Some("halted")) => "lock-halted",
                (StatusCode::LOCKED, Some("settling")) => "lock-settling",
                (StatusCode::LOCKED, Some("other_zone")) => "lock-other-zone",
                (StatusCode::LOCKED, Some(_)) => "lock-held",
                _ => "lock-refused",
            };
            Grant::Refused(Problem::new(code, self.said(status, answer)))
        } else {
            Grant::Unknown(Problem::new("lock-unknown", self.said(status, answer)))
        }
    }

    /// Says that this host is up and healthy and needs no lock.
    ///
    /// # Errors
    /// The server does not confirm it; repeat.
    pub fn release(&self, report: &Report<'_>) -> Result<(), Problem> {
        match self.ask(RELEASE, report) {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, body)) => Err(Problem::new(
                "lock-not-released",
                self.said(status, Answer::parse(&body)),
            )),
            Err(error) => Err(Problem::new("lock-not-released", error)),
        }
    }

    fn ask(&self, path: &str, report: &Report<'_>) -> Result<(StatusCode, Vec<u8>), HttpError> {
        let url = self.base.join(path).map_err(|error| HttpError::Network {
            url: self.base.clone(),
            reason: error.to_string(),
        })?;
        let json = serde_json::json!({
            "client_params": {"group": self.group, "id": self.id},
            "twinhull": report,
        });
        self.http
            .post(&url, &[PROTOCOL], json.to_string(), self.patience, MAX_ANSWER)
    }

    fn said(&self, status: StatusCode, answer: Option<Answer>) -> String {
        match answer {
            // An ordinary "not yet", and the sentence says why: held, paused, halted, settling, another zone's turn.
            Some(answer) if status == StatusCode::LOCKED => answer.value,
            Some(Answer { kind, value }) => format!("the lock server {} says {status}: {value} ({kind})", self.base),
            None => format!("the lock server {} says {status} and nothing else", self.base),
        }
    }
}

#[cfg(test)]
mod tests;
