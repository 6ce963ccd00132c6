//! Everything a person or a machine may want to know of this host's updates.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use twinhull_layout::table::SlotContent;
use twinhull_layout::{Arch, Product, RootHash, Slot, Version};

use super::{Speed, Told};
use crate::health::{self, Latest};
use crate::host::{BootDisk, Running, RunningError};
use crate::install::{InstallError, Progress, Slots, our_entries};
use crate::io::{HostIo, Io};
use crate::machine::{self, Belief, Check, Failure, Hold, Known, Live, Phase, Record, Situation};
use crate::paths::Paths;

/// The release that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningSlot {
    /// What it is.
    pub product: Product,
    /// Which release.
    pub version: Version,
    /// For which architecture.
    pub arch: Arch,
    /// The content of `/`.
    pub root_hash: RootHash,
    /// Its slot; `None` if the disk could not be read.
    pub slot: Option<Slot>,
    /// The file names of its boot entries; one, unless somebody changed something.
    pub entries: Vec<String>,
}

/// The slot that does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSlot {
    /// Which.
    pub slot: Slot,
    /// The release in it; `None` if it holds nothing that may boot.
    pub version: Option<Version>,
    /// The file names of all boot entries that are not the running release's.
    pub entries: Vec<String>,
}

/// The answer to `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What runs.
    pub running: RunningSlot,
    /// The other slot; `None` if the disk could not be read.
    pub other: Option<OtherSlot>,
    /// Why the disk or the boot entries could not be read, if they could not.
    pub disk_problem: Option<String>,
    /// Whether the service has told anything in this boot.
    pub service: bool,
    /// What is going on.
    pub state: Situation,
    /// How far an install is.
    pub progress: Option<Progress>,
    /// How fast it goes.
    pub speed: Option<Speed>,
    /// What the last health check of this boot found.
    pub health: Option<Latest>,
    /// Whether updates are held by hand.
    pub hold: Option<Hold>,
    /// Whether this host may hold the reboot lock.
    pub lock: Belief,
    /// The newest release that was healthy here: nothing older is installed.
    pub floor: Option<Version>,
    /// The last look at the repository.
    pub last_check: Option<Check>,
    /// Releases that failed here.
    pub failed: BTreeMap<Version, Failure>,
    /// What happened, oldest first.
    pub history: Vec<Record>,
}

impl Report {
    /// Puts it together from what runs, what is kept, what the service told, and the disk if it can be read.
    pub fn new(running: &Running, known: Known, told: Option<Told>, disk: Result<&dyn Io, String>) -> Self {
        let state = match &told {
            Some(told) => told.situation.clone(),
            None => Situation::of(&known, &Live::default()),
        };
        let mut report = Self {
            running: RunningSlot {
                product: running.product.clone(),
                version: running.version.clone(),
                arch: running.arch,
                root_hash: running.root_hash,
                slot: None,
                entries: Vec::new(),
            },
            other: None,
            disk_problem: None,
            service: told.is_some(),
            state,
            progress: told.as_ref().and_then(|told| told.progress),
            speed: told.and_then(|told| told.speed),
            health: None,
            hold: known.hold,
            lock: known.lock,
            floor: known.floor,
            last_check: known.last_check,
            failed: known.failed,
            history: known.history,
        };
        let read = disk.and_then(|io| report.read_disk(io, running).map_err(|error| error.to_string()));
        report.disk_problem = read.err();
        report
    }

    /// Reads everything but what the service told.
    ///
    /// # Errors
    /// The host does not say what it runs, or the agent's state cannot be read.
    pub fn read(paths: &Paths, told: Option<Told>) -> Result<Self, ReadError> {
        let running = Running::read(paths)?;
        let known = machine::load(&paths.state_file())?;
        let disk = BootDisk::find(paths)
            .map_err(|error| error.to_string())
            .and_then(|disk| HostIo::open_to_read(&disk, paths).map_err(|error| error.to_string()));
        let io = disk.as_ref().map(|io| io as &dyn Io).map_err(Clone::clone);
        let mut report = Self::new(&running, known, told, io);
        report.health = health::read_report(&paths.health_status());
        Ok(report)
    }

    fn read_disk(&mut self, io: &dyn Io, running: &Running) -> Result<(), InstallError> {
        let slots = Slots::read(io, running)?;
        self.running.slot = Some(slots.active);
        let entries = our_entries(io, running)?;
        self.running.entries = entries.running.iter().map(ToString::to_string).collect();
        self.other = Some(OtherSlot {
            slot: slots.inactive(),
            version: match slots.inactive_partitions.content() {
                SlotContent::Release(version) => Some(version),
                SlotContent::Empty => None,
            },
            entries: entries.others.iter().map(ToString::to_string).collect(),
        });
        Ok(())
    }
}

/// The status cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The host does not say what it runs.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// The agent's state cannot be read.
    #[error(transparent)]
    State(#[from] machine::StoreError),
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = &self.running;
        write!(out, "{} {} ({})", running.product, running.version, running.arch)?;
        if let Some(slot) = running.slot {
            write!(out, ", running from slot {slot}")?;
        }
        writeln!(out)?;
        row(out, "state", self.state_text())?;
        if let Some(progress) = &self.progress {
            let percent = (progress.done * 100).checked_div(progress.total).unwrap_or(0);
            let speed = self.speed.map_or_else(String::new, |speed| format!(", {speed}"));
            row(out, "progress", format_args!("{}: {percent} %{speed}", progress.step))?;
        }
        if let (Some(reason), Some(since)) = (&self.state.reason, self.state.reason_since) {
            row(out, "because", format_args!("{reason} (since {})", short(since)))?;
        }
        if let Some(other) = &self.other {
            let content = match &other.version {
                Some(version) => version.to_string(),
                None => "empty".to_owned(),
            };
            let entries = if other.entries.is_empty() {
                "no boot entry".to_owned()
            } else {
                other.entries.join(", ")
            };
            row(out, "other slot", format_args!("{}: {content}; {entries}", other.slot))?;
        }
        if let Some(problem) = &self.disk_problem {
            row(out, "disk", problem)?;
        }
        match &self.last_check {
            Some(check) => row(out, "last check", check_text(check))?,
            None => row(out, "last check", "never")?,
        }
        row(
            out,
            "lock",
            match self.lock {
                Belief::Free => "not held by this host",
                Belief::Unsure => "may be held by this host",
                Belief::Held => "held by this host",
            },
        )?;
        if let Some(floor) = &self.floor {
            row(out, "floor", format_args!("{floor}: nothing older is installed"))?;
        }
        for (version, failure) in &self.failed {
            row(
                out,
                "failed here",
                format_args!("{version} on {}: {}", short(failure.since), failure.reason),
            )?;
        }
        if let Some(health) = &self.health {
            let rows = health.wrong.iter().map(|text| ("not healthy", text));
            for (name, text) in rows.chain(health.reported.iter().map(|text| ("reported", text))) {
                row(out, name, format_args!("{text} (at {})", short(health.at)))?;
            }
        }
        if !self.service {
            row(
                out,
                "service",
                "has not run since the last boot: `systemctl status twinhull-updater`",
            )?;
        }
        Ok(())
    }
}

impl Report {
    /// Why this host is or is not updating at `now`: one sentence.
    pub fn why(&self, now: Timestamp) -> String {
        let running = &self.running.version;
        if self.state.phase == Phase::Installing {
            return format!("{} now", self.state_text());
        }
        if let Some(reason) = &self.state.reason {
            return match &self.state.version {
                Some(version) => format!("{version} is installed and waits: {reason}"),
                None => reason.clone(),
            };
        }
        if let Some(hold) = self.hold.as_ref().filter(|hold| !hold.has_ended(now)) {
            return hold.to_string();
        }
        match &self.last_check {
            None => "the repository has not been asked yet".to_owned(),
            Some(Check {
                problem: Some(problem), ..
            }) => problem.to_string(),
            Some(_) if self.is_up_to_date() => format!("{running} runs and is what the channel offers"),
            Some(_) => self.state_text(),
        }
    }

    /// Whether the last look at the repository found that this host runs what the channel offers.
    fn is_up_to_date(&self) -> bool {
        let check = self.last_check.as_ref();
        self.state.code.is_none()
            && check
                .is_some_and(|check| check.problem.is_none() && check.offered.as_ref() == Some(&self.running.version))
    }

    fn state_text(&self) -> String {
        let version = self
            .state
            .version
            .as_ref()
            .map_or_else(String::new, |version| format!(" {version}"));
        let since = self
            .state
            .since
            .map_or_else(String::new, |since| format!(" since {}", short(since)));
        match self.state.phase {
            Phase::Idle if self.is_up_to_date() => "up to date".to_owned(),
            Phase::Idle => "nothing to do".to_owned(),
            Phase::Trial => "on trial: not yet blessed".to_owned(),
            Phase::Installing => format!("installing{version}{since}"),
            Phase::Staged => format!("{} is installed and boots next{since}", version.trim_start()),
            Phase::Rebooting => format!("rebooting into{version}{since}"),
            Phase::RollbackPending => format!("going back to{version} at the next boot{since}"),
        }
    }
}

fn check_text(check: &Check) -> String {
    let offered = check
        .offered
        .as_ref()
        .map_or_else(String::new, |version| format!(", {version} is offered"));
    let problem = check
        .problem
        .as_ref()
        .map_or_else(String::new, |problem| format!(": {problem}"));
    format!("{}{offered}{problem}", short(check.at))
}

fn row(out: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(out, "  {name:<11}  {value}")
}

/// Without fractions of a second.
fn short(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Problem;

    #[test]
    fn up_to_date_is_only_what_was_found_so() {
        let running = Running {
            product: "p".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            root_hash: RootHash::from([7; 32]),
            arch: Arch::X86_64,
        };
        let state_after = |last_check: Option<Check>| {
            let known = Known {
                last_check,
                ..Known::default()
            };
            Report::new(&running, known, None, Err(String::new())).state_text()
        };
        let check = |problem| Check {
            at: Timestamp::UNIX_EPOCH,
            offered: Some("1.0.0".parse().unwrap()),
            problem,
        };
        assert_eq!(state_after(None), "nothing to do");
        let down = Problem::new("network", "down");
        assert_eq!(state_after(Some(check(Some(down)))), "nothing to do");
        assert_eq!(state_after(Some(check(None))), "up to date");
    }

    #[test]
    fn every_reason_to_wait_is_shown_with_its_time() {
        let at: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let running = Running {
            product: "twinhull-server".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            root_hash: RootHash::from([7; 32]),
            arch: Arch::X86_64,
        };
        let mut known = Known::default();
        known.failed.insert(
            "1.2.0".parse().unwrap(),
            Failure {
                code: "not-healthy".to_owned(),
                reason: "3 boots did not become healthy".to_owned(),
                since: at,
            },
        );
        known.attempt = Some(crate::machine::Attempt {
            version: "1.1.0".parse().unwrap(),
            since: at,
            stage: crate::machine::Stage::Staged,
        });
        let mut live = Live::default();
        live.wait(at, Problem::new("lock-held", "held by X since Y"));
        let told = Told::new(&known, &live, None);
        assert_eq!(told.line(), "staged 1.1.0: held by X since Y");

        let report = Report::new(&running, known, Some(told), Err("only root may".to_owned()));
        let text = report.to_string();
        for line in [
            "twinhull-server 1.0.0 (x86_64)\n",
            "  state        1.1.0 is installed and boots next since 2026-01-02T03:04:05Z\n",
            "  because      held by X since Y (since 2026-01-02T03:04:05Z)\n",
            "  disk         only root may\n",
            "  failed here  1.2.0 on 2026-01-02T03:04:05Z: 3 boots did not become healthy\n",
        ] {
            assert!(text.contains(line), "{line} in:\n{text}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["state"]["code"], "lock-held");
        assert_eq!(json["state"]["phase"], "staged");
        assert_eq!(json["failed"]["1.2.0"]["code"], "not-healthy");
    }
}
