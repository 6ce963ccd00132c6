//! The decisions.

use std::time::Duration;

use twinhull_layout::{BootEntry, Version};

use super::state::{Attempt, Belief, Check, Failure, Known, Live, RecordKind, Stage};
use super::{Effect, Event, Grant, Installed, Now, Offer, Problem, Rules, Seen};
use crate::config::Strategy;

/// Between two looks at a release on trial: blessing takes moments, and the lock is held meanwhile.
const TRIAL_LOOK: Duration = Duration::from_secs(2);

/// First wait after a failed look at the repository or a failed install; doubles each time.
const FIRST_RETRY: Duration = Duration::from_secs(30);

/// Longest wait after failed installs, each of which may have cost a whole download.
const LONGEST_RETRY: Duration = Duration::from_hours(24);

/// How long an ordered reboot may take before it counts as failed.
const REBOOT_PATIENCE: Duration = Duration::from_mins(10);

/// Never wake more often than this.
const SHORTEST_WAKE: Duration = Duration::from_secs(1);

/// What is known, and kept or not.
struct Machine<'a> {
    known: Known,
    live: Live,
    rules: &'a Rules,
    now: &'a Now,
    effects: Vec<Effect>,
}

/// Decides what to do about `event`.
///
/// The caller keeps the returned [`Known`] durably before it carries out the effects, in their order. The last effect is
/// [`Effect::Wake`] unless all there is to do will answer with an event.
pub fn decide(known: Known, live: Live, event: Event, rules: &Rules, now: &Now) -> (Known, Live, Vec<Effect>) {
    let mut machine = Machine {
        known,
        live,
        rules,
        now,
        effects: Vec::new(),
    };
    match event {
        Event::Seen(Ok(seen)) => machine.seen(&seen),
        Event::Seen(Err(problem)) => machine.live.wait(now.wall, problem),
        Event::Woke => machine.woke(),
        Event::Asked { retry } => machine.asked(retry),
        Event::Checked(Ok(offer)) => machine.offered(offer),
        Event::Checked(Err(problem)) => machine.not_checked(problem),
        Event::Installed(Ok(installed)) => machine.installed(installed),
        Event::Installed(Err(problem)) => machine.not_installed(problem),
        Event::Taken(grant) => machine.taken(grant),
        Event::Released(outcome) => machine.released(outcome),
        Event::Discarded(outcome) => machine.discarded(outcome),
        Event::RebootFailed(problem) => machine.reboot_failed(problem),
    }
    machine.finish()
}

impl Machine<'_> {
    fn seen(&mut self, seen: &Seen) {
        let left_by_hand = self
            .known
            .rollback
            .as_ref()
            .is_some_and(|rollback| rollback.from == seen.running);
        self.live.running = Some(seen.running.clone());
        self.live.trial = seen.trial && !left_by_hand;
        if self.live.trial {
            self.wait("trial", "waiting for the health check to bless this release");
            return;
        }
        if !self.live.settled {
            self.live.settled = true;
            self.live.waiting = None;
            self.settle(seen);
            if self.rules.strategy.is_none_or(|strategy| strategy == Strategy::Off) {
                // Says why nothing will happen; otherwise that is seen at the next wake.
                self.woke();
            }
        }
    }

    /// Draws the line under the last attempt: what runs is not on trial, so the attempt succeeded or failed.
    fn settle(&mut self, seen: &Seen) {
        let at = self.now.wall;
        let running = &seen.running;
        match self.known.attempt.take() {
            Some(attempt) if attempt.version == *running => {
                self.known.failed.remove(running);
                let version = attempt.version;
                self.known.record(at, RecordKind::Updated { version });
            }
            Some(attempt) => {
                let entry = seen.others.iter().find(|entry| entry.version == attempt.version);
                // The entry is the commit: with tries left it boots next, whatever the state file had time to say. A bad one
                // is dealt with below; one without a counter was healthy before, and somebody chose to leave it.
                if entry.is_some_and(BootEntry::is_on_trial) {
                    self.known.attempt = Some(Attempt {
                        stage: Stage::Staged,
                        ..attempt
                    });
                }
            }
            None => {}
        }
        for entry in seen.others.iter().filter(|entry| entry.is_bad()) {
            if !self.known.failed.contains_key(&entry.version) {
                self.failed(entry, seen.unhealthy.as_ref());
            }
        }
        if let Some(rollback) = self.known.rollback.take() {
            if rollback.from == *running && seen.trial {
                self.known.rollback = Some(rollback);
            } else if rollback.from == *running {
                // Written down, but cut before the entry was set aside.
                self.known.failed.remove(running);
            } else if rollback.to == *running {
                let (from, to) = (rollback.from, rollback.to);
                self.known.record(at, RecordKind::RolledBack { from, to });
            }
        }
        if self.known.floor.as_ref().is_none_or(|floor| floor < running) {
            self.known.floor = Some(running.clone());
        }
        // Whatever happened before this boot, the host is healthy now: nobody needs to wait for it any longer.
        if self.rules.lock {
            self.release();
        }
    }

    fn failed(&mut self, entry: &BootEntry, unhealthy: Option<&(Version, String)>) {
        let boots = entry.tries.map_or(0, |tries| tries.done);
        let mut reason = format!("{boots} boots did not become healthy");
        if let Some((_, found)) = unhealthy.filter(|(version, _)| *version == entry.version) {
            reason = format!("{reason}; the last one found: {found}");
        }
        let version = entry.version.clone();
        self.known.failed.insert(
            version.clone(),
            Failure {
                code: "not-healthy".to_owned(),
                reason: reason.clone(),
                since: self.now.wall,
            },
        );
        self.known.record(self.now.wall, RecordKind::Failed { version, reason });
    }

    fn woke(&mut self) {
        if self.live.trial || !self.live.settled {
            self.effects.push(Effect::Look);
            return;
        }
        let Some(strategy) = self.rules.strategy else {
            return self.wait(
                "no-repository",
                "no repository is configured: set updates.repository in a file in /etc/twinhull-updater/config.d",
            );
        };
        let wants_lock = self.known.staged().is_some() && strategy == Strategy::Lock;
        if self.rules.lock && !wants_lock && self.known.lock != Belief::Free && self.due(self.live.next_release) {
            self.release();
        }
        if let Some(rollback) = &self.known.rollback {
            let text = format!("{} boots next, as asked for; reboot to go back to it", rollback.to);
            return self.wait("rollback-pending", text);
        }
        if let Some(attempt) = self
            .known
            .attempt
            .clone()
            .filter(|attempt| attempt.stage == Stage::Rebooting)
        {
            let waited = self.now.wall.duration_since(attempt.since);
            if waited.unsigned_abs() < REBOOT_PATIENCE {
                return;
            }
            return self.reboot_failed(Problem::new(
                "reboot-failed",
                format!(
                    "the reboot was ordered {} minutes ago and did not happen",
                    waited.as_mins()
                ),
            ));
        }
        if strategy == Strategy::Off {
            return self.wait("off", "updates.strategy is \"off\": updates only by hand");
        }
        if self.due(self.live.next_check) {
            self.effects.push(Effect::Check);
        } else {
            self.advance();
        }
    }

    fn asked(&mut self, retry: bool) {
        if self.rules.strategy.is_none() {
            return self.wait("no-repository", "no repository is configured");
        }
        if self.live.trial {
            return self.wait(
                "trial",
                "the running release is still on trial: updates wait until it is blessed",
            );
        }
        if let Some(rollback) = &self.known.rollback {
            let text = format!("{} boots next, as asked for: reboot first", rollback.to);
            return self.wait("rollback-pending", text);
        }
        self.live.retry = retry;
        self.effects.push(Effect::Check);
    }

    fn offered(&mut self, offer: Offer) {
        self.live.next_check = self.now.uptime + self.now.jittered(self.rules.poll);
        // Asked before one of these began: the other slot is the way back, and is not touched.
        if self.live.trial || self.known.rollback.is_some() {
            return;
        }
        let staged = self.known.staged().map(|attempt| attempt.version.clone());
        let Offer { version, halted } = offer;
        if std::mem::take(&mut self.live.retry) {
            self.known.failed.remove(&version);
        }
        self.known.halted = halted;
        if halted {
            let problem = Problem::new("halted", format!("the channel is halted at {version}"));
            self.checked(Some(version), Some(problem));
            return;
        }
        if staged.as_ref() == Some(&version) {
            self.checked(Some(version), None);
            self.live.failures = 0;
            return self.advance();
        }
        let refusal = self.refusal(&version);
        let current = self.live.running.as_ref() == Some(&version);
        self.checked(Some(version.clone()), refusal.clone());
        if let Some(staged) = staged.filter(|_| current || refusal.is_some()) {
            // What is staged is no longer offered: it must not boot.
            self.effects.push(Effect::Discard(staged));
        } else if let Some(problem) = refusal {
            let version = Some(version);
            self.known
                .record(self.now.wall, RecordKind::Refused { version, problem });
        } else if current {
            self.live.failures = 0;
            self.live.waiting = None;
        } else {
            self.install(version);
        }
    }

    /// Why `version` is not wanted here, if it is not.
    fn refusal(&self, version: &Version) -> Option<Problem> {
        let (running, floor) = (self.live.running.as_ref(), self.known.floor.as_ref());
        if let Some(failure) = self.known.failed.get(version) {
            let text = format!(
                "{version} failed here before ({}) and is not tried again by itself: `twinhull-updater update --retry` does",
                failure.reason
            );
            return Some(Problem::new("failed-here", text));
        }
        if running == Some(version) {
            return None;
        }
        let newest = running.max(floor).filter(|newest| version < *newest)?;
        let text =
            format!("the channel offers {version}, which is older than {newest}: a host never goes back by itself");
        Some(Problem::new("older", text))
    }

    fn install(&mut self, version: Version) {
        // An install takes minutes, and the lock is never held while waiting.
        if self.rules.lock && self.known.lock != Belief::Free {
            self.release();
        }
        self.live.waiting = None;
        self.known.attempt = Some(Attempt {
            version: version.clone(),
            since: self.now.wall,
            stage: Stage::Writing,
        });
        self.effects.push(Effect::Install(version));
    }

    fn not_checked(&mut self, problem: Problem) {
        let wait = self.backoff(self.rules.poll);
        self.live.next_check = self.now.uptime + wait;
        self.checked(None, Some(problem));
        // The release that is staged was verified when it came.
        self.advance();
    }

    fn installed(&mut self, installed: Installed) {
        let Some(attempt) = &mut self.known.attempt else {
            return;
        };
        attempt.stage = Stage::Staged;
        attempt.since = self.now.wall;
        let version = attempt.version.clone();
        self.known.failed.remove(&version);
        let Installed { fetched, phases } = installed;
        self.known.record(
            self.now.wall,
            RecordKind::Installed {
                version,
                fetched,
                phases,
            },
        );
        self.live.failures = 0;
        self.live.next_take = self.now.uptime;
        self.advance();
    }

    fn not_installed(&mut self, problem: Problem) {
        let version = self.known.attempt.take().map(|attempt| attempt.version);
        let wait = self.backoff(LONGEST_RETRY.max(self.rules.poll)).max(self.rules.poll);
        self.live.next_check = self.now.uptime + wait;
        self.live.wait(self.now.wall, problem.clone());
        if let Some(check) = &mut self.known.last_check {
            check.problem = Some(problem.clone());
        }
        self.known
            .record(self.now.wall, RecordKind::Refused { version, problem });
    }

    /// What to do about the release in the other slot, if there is one.
    fn advance(&mut self) {
        let Some(staged) = self.known.staged().map(|attempt| attempt.version.clone()) else {
            return;
        };
        // Also when the repository cannot be asked at the moment: a halt ends when the channel says so.
        if self.known.halted {
            return;
        }
        match self.rules.strategy {
            None | Some(Strategy::Off | Strategy::DownloadOnly) => {
                self.wait(
                    "reboot-by-hand",
                    format!("{staged} is installed and boots next; the reboot is left to you"),
                );
            }
            Some(Strategy::Immediate) => self.reboot(),
            Some(Strategy::Lock) if self.due(self.live.next_take) => {
                // From here on the server may have granted it, whatever becomes of its answer.
                self.known.lock = Belief::Unsure;
                self.effects.push(Effect::Take);
            }
            Some(Strategy::Lock) => {}
        }
    }

    fn taken(&mut self, grant: Grant) {
        match grant {
            Grant::Granted => {
                self.known.lock = Belief::Held;
                return if self.known.staged().is_some() {
                    self.reboot();
                } else {
                    self.release();
                };
            }
            Grant::Refused(problem) => {
                self.known.lock = Belief::Free;
                self.live.wait(self.now.wall, problem);
            }
            Grant::Unknown(problem) => self.live.wait(self.now.wall, problem),
        }
        self.live.next_take = self.now.uptime + self.now.jittered(self.rules.retry);
    }

    fn reboot(&mut self) {
        self.live.waiting = None;
        if let Some(attempt) = &mut self.known.attempt {
            attempt.stage = Stage::Rebooting;
            attempt.since = self.now.wall;
        }
        self.effects.push(Effect::Reboot);
    }

    fn reboot_failed(&mut self, problem: Problem) {
        if let Some(attempt) = &mut self.known.attempt {
            attempt.stage = Stage::Staged;
            attempt.since = self.now.wall;
        }
        self.live.wait(self.now.wall, problem);
        self.live.next_take = self.now.uptime + self.now.jittered(self.rules.poll);
        // Others must not wait for a host that does not go down.
        if self.rules.lock {
            self.release();
        }
    }

    fn release(&mut self) {
        self.known.lock = Belief::Unsure;
        self.effects.push(Effect::Release);
    }

    fn released(&mut self, outcome: Result<(), Problem>) {
        match outcome {
            Ok(()) => {
                self.known.lock = Belief::Free;
                if self
                    .live
                    .waiting
                    .as_ref()
                    .is_some_and(|waiting| waiting.problem.code == "lock-not-released")
                {
                    self.live.waiting = None;
                }
            }
            Err(problem) => {
                self.live.next_release = self.now.uptime + self.now.jittered(self.rules.retry);
                let text = format!("the reboot lock may still be held by this host: {problem}");
                self.wait("lock-not-released", text);
            }
        }
    }

    fn discarded(&mut self, outcome: Result<(), Problem>) {
        match outcome {
            Ok(()) => {
                if let Some(attempt) = self.known.attempt.take() {
                    let reason = "the channel no longer offers it".to_owned();
                    let version = attempt.version;
                    self.known
                        .record(self.now.wall, RecordKind::Discarded { version, reason });
                }
                self.live.waiting = None;
            }
            Err(problem) => self.live.wait(self.now.wall, problem),
        }
    }

    fn checked(&mut self, offered: Option<Version>, problem: Option<Problem>) {
        if let Some(problem) = &problem {
            self.live.wait(self.now.wall, problem.clone());
        }
        self.known.last_check = Some(Check {
            at: self.now.wall,
            offered,
            problem,
        });
    }

    fn backoff(&mut self, longest: Duration) -> Duration {
        let doubled = FIRST_RETRY.saturating_mul(1 << self.live.failures.min(16));
        self.live.failures = self.live.failures.saturating_add(1);
        self.now.jittered(doubled.min(longest))
    }

    fn due(&self, at: Duration) -> bool {
        self.now.uptime >= at
    }

    fn wait(&mut self, code: &str, text: impl std::fmt::Display) {
        self.live.wait(self.now.wall, Problem::new(code, text));
    }

    fn finish(mut self) -> (Known, Live, Vec<Effect>) {
        // Everything else answers, and the answer decides when to wake.
        let answers = |effect: &Effect| !matches!(effect, Effect::Wake(_) | Effect::Reboot);
        if !self.effects.iter().any(answers) {
            let wake = self.next_wake();
            self.effects.push(Effect::Wake(wake));
        }
        (self.known, self.live, self.effects)
    }

    fn next_wake(&self) -> Duration {
        if self.live.trial || !self.live.settled {
            return TRIAL_LOOK;
        }
        let mut times = Vec::new();
        if self.rules.strategy.is_some_and(|strategy| strategy != Strategy::Off) && self.known.rollback.is_none() {
            times.push(self.live.next_check);
        }
        match self.known.attempt.as_ref().map(|attempt| attempt.stage) {
            Some(Stage::Staged) if self.rules.strategy == Some(Strategy::Lock) => times.push(self.live.next_take),
            Some(Stage::Rebooting) => times = vec![self.now.uptime + REBOOT_PATIENCE],
            _ => {}
        }
        if self.rules.lock && self.known.lock != Belief::Free && self.known.staged().is_none() {
            times.push(self.live.next_release);
        }
        let next = times.into_iter().min().unwrap_or(self.now.uptime + self.rules.poll);
        next.saturating_sub(self.now.uptime).max(SHORTEST_WAKE)
    }
}
