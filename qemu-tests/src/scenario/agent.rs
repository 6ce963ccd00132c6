//! The agent in the guest, as a person sees it: `twinhull-updater status --json` and `update --json`.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use twinhull_layout::Version;

use crate::error::{Error, Result, expect};
use crate::machine::Machine;

/// What `status --json` says. Fields are looked up where they are needed, so that new ones do no harm.
#[derive(Debug, Clone)]
pub struct Status(Value);

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Problem {
    /// For machines: a kebab-case word.
    pub(crate) code: String,
    /// For people.
    pub(crate) text: String,
}

/// How far an install is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Progress {
    /// What is being done.
    pub(crate) step: String,
    /// Bytes of it that are done.
    pub(crate) done: u64,
    /// Bytes of it in all.
    pub(crate) total: u64,
}

impl Status {
    /// The release that runs.
    pub fn running(&self) -> Option<Version> {
        self.text("/running/version")?.parse().ok()
    }

    /// What the agent is doing: `idle`, `trial`, `installing`, `staged`, `rebooting`, `rollback-pending`.
    pub fn phase(&self) -> &str {
        self.text("/state/phase").unwrap_or("unknown")
    }

    /// Whether the service has looked at the host in this boot, and the running release's boot entry has no counter.
    pub fn is_proven(&self) -> bool {
        let service = self.0.pointer("/service").and_then(Value::as_bool) == Some(true);
        let entries = self.0.pointer("/running/entries").and_then(Value::as_array);
        let counted = |entry: &Value| entry.as_str().is_none_or(|name| name.contains('+'));
        let blessed = entries.is_some_and(|entries| !entries.is_empty() && !entries.iter().any(counted));
        service && blessed && self.phase() == "idle"
    }

    /// Why nothing more is done, for machines and for people.
    pub fn waiting(&self) -> Option<(&str, &str)> {
        Some((self.text("/state/code")?, self.text("/state/reason")?))
    }

    /// How far an install is.
    pub(crate) fn progress(&self) -> Option<Progress> {
        serde_json::from_value(self.0.pointer("/progress")?.clone()).ok()
    }

    /// Whether this release failed here.
    pub fn has_failed(&self, version: &Version) -> bool {
        self.0
            .pointer("/failed")
            .and_then(|failed| failed.get(version.to_string()))
            .is_some()
    }

    /// When the repository was last looked at.
    pub fn last_check(&self) -> Option<jiff::Timestamp> {
        self.text("/last_check/at")?.parse().ok()
    }

    /// The code of what was wrong at the last look at the repository.
    pub fn last_problem(&self) -> Option<&str> {
        self.text("/last_check/problem/code")
    }

    /// All of it in one line, for messages.
    pub fn in_words(&self) -> String {
        let running = self
            .running()
            .map_or_else(|| "unknown".to_owned(), |version| version.to_string());
        let waiting = self
            .waiting()
            .map(|(code, reason)| format!(", {code}: {reason}"))
            .unwrap_or_default();
        format!("{running} runs, {}{waiting}", self.phase())
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer)?.as_str()
    }
}

/// Asks the agent how things are. A guest in which it does not answer yet counts as not reachable yet.
pub(crate) async fn status(machine: &Machine) -> Result<Status> {
    let output = machine.try_run("twinhull-updater status --json").await?;
    match serde_json::from_str(&output.stdout) {
        Ok(value) if output.status == 0 => Ok(Status(value)),
        _ => Err(Error::Unreachable(format!(
            "status ended with {}: {}{}",
            output.status, output.stderr, output.stdout
        ))),
    }
}

/// Waits until the machine has been reset more than `before` times, and tells what the agent said meanwhile if it is not.
pub(crate) async fn reboots(machine: &Machine, before: usize, limit: Duration) -> Result<()> {
    machine
        .until("reboot", limit, async || {
            if machine.resets() > before {
                return Ok(Ok(()));
            }
            Ok(Err(status(machine).await?.in_words()))
        })
        .await
}

/// Waits until `version` runs and has proved itself.
pub(crate) async fn runs_proven(machine: &Machine, version: &Version, limit: Duration) -> Result<()> {
    machine
        .until(&format!("healthy {version}"), limit, async || {
            let status = status(machine).await?;
            let proven = status.running().as_ref() == Some(version) && status.is_proven();
            Ok(if proven { Ok(()) } else { Err(status.in_words()) })
        })
        .await
}

/// Waits until a healthy host of `version` runs, or one of another release that is putting `version` into its other slot: what was in
/// there has been taken away, and the rest is an update as any other.
pub(crate) async fn runs_or_installs(machine: &Machine, version: &Version, limit: Duration) -> Result<()> {
    machine
        .until(&format!("healthy {version}, or its install"), limit, async || {
            let status = status(machine).await?;
            let is_new = status.running().as_ref() == Some(version);
            let writes = status
                .progress()
                .is_some_and(|progress| ["root", "read-back", "kernel"].contains(&progress.step.as_str()));
            let installs = writes || ["staged", "rebooting"].contains(&status.phase());
            let well = if is_new { status.is_proven() } else { installs };
            Ok(if well { Ok(()) } else { Err(status.in_words()) })
        })
        .await
}

/// Waits until `old` runs again and `status` says that `bad` failed.
pub(crate) async fn fell_back(machine: &Machine, old: &Version, bad: &Version, limit: Duration) -> Result<()> {
    machine
        .until(&format!("fall back from {bad} to {old}"), limit, async || {
            let status = status(machine).await?;
            let back = status.running().as_ref() == Some(old) && status.has_failed(bad) && status.is_proven();
            Ok(if back { Ok(()) } else { Err(status.in_words()) })
        })
        .await
}

/// Waits until the agent has looked at the repository once more and left `bad` alone.
pub(crate) async fn declines(machine: &Machine, bad: &Version, limit: Duration) -> Result<()> {
    let first = status(machine).await?.last_check();
    machine
        .until(
            &format!("look at the repository that leaves {bad} alone"),
            limit,
            async || {
                let status = status(machine).await?;
                let looked = status.last_check().is_some() && status.last_check() > first;
                let declined = status.last_problem() == Some("failed-here") && status.phase() == "idle";
                Ok(if looked && declined {
                    Ok(())
                } else {
                    Err(status.in_words())
                })
            },
        )
        .await
}

/// Waits until `version` is in the other slot and the agent waits for the lock; what it says about that.
pub(crate) async fn waits_for_lock(machine: &Machine, version: &Version, limit: Duration) -> Result<String> {
    machine
        .until(
            &format!("host waiting for the lock with {version} staged"),
            limit,
            async || {
                let status = status(machine).await?;
                Ok(match (status.phase(), status.waiting()) {
                    ("staged", Some(("lock-held", reason))) => Ok(reason.to_owned()),
                    _ => Err(status.in_words()),
                })
            },
        )
        .await
}

/// What `update --json` says.
#[derive(Debug, Deserialize)]
struct Outcome {
    /// `staged`, `current`, `refused` or `failed`.
    outcome: String,
    problem: Option<Problem>,
}

async fn update(machine: &Machine, limit: Duration) -> Result<Outcome> {
    let command = "twinhull-updater update --json";
    let output = machine.try_run_within(command, limit).await?;
    serde_json::from_str(&output.stdout).map_err(|error| Error::Guest {
        command: command.to_owned(),
        status: format!("status {} and without an outcome ({error})", output.status),
        output: format!("{}{}", output.stdout, output.stderr),
    })
}

/// Runs `update` by hand; why it was refused.
pub(crate) async fn refuses(machine: &Machine, limit: Duration) -> Result<Problem> {
    let said = update(machine, limit).await?;
    match said.problem {
        Some(problem) if said.outcome == "refused" => Ok(problem),
        _ => Err(Error::Expectation(format!("the update was not refused but {said:?}"))),
    }
}

/// Runs `update` by hand, which must go well.
pub(crate) async fn installs(machine: &Machine, limit: Duration) -> Result<()> {
    let said = update(machine, limit).await?;
    expect(said.outcome == "staged", || {
        format!("the update was not installed but {said:?}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(entry: &str, service: bool, phase: &str) -> Status {
        Status(json!({
            "running": { "version": "1.1.0", "entries": [entry] }, "service": service,
            "state": { "phase": phase, "code": "lock-held", "reason": "held by X" },
            "failed": { "1.2.0": { "code": "not-healthy" } },
            "last_check": { "at": "2026-01-01T00:00:00Z", "problem": { "code": "failed-here" } },
        }))
    }

    #[test]
    fn a_counted_entry_a_silent_service_or_a_trial_is_not_proven() {
        assert!(status("twinhull-server_1.1.0.efi", true, "idle").is_proven());
        assert!(!status("twinhull-server_1.1.0+2-1.efi", true, "idle").is_proven());
        assert!(!status("twinhull-server_1.1.0.efi", false, "idle").is_proven());
        assert!(!status("twinhull-server_1.1.0.efi", true, "trial").is_proven());
        assert!(!Status(json!({ "service": true, "state": { "phase": "idle" } })).is_proven());
    }

    #[test]
    fn what_scenarios_look_at_is_found() {
        let status = status("twinhull-server_1.1.0.efi", true, "staged");
        assert_eq!(status.running(), Some("1.1.0".parse().unwrap()));
        assert_eq!(status.waiting(), Some(("lock-held", "held by X")));
        assert!(status.has_failed(&"1.2.0".parse().unwrap()) && !status.has_failed(&"1.1.0".parse().unwrap()));
        assert_eq!(status.last_problem(), Some("failed-here"));
        assert_eq!(status.in_words(), "1.1.0 runs, staged, lock-held: held by X");
    }
}
