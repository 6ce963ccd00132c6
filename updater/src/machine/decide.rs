//! The decisions.

use std::time::Duration;

use twinhull_layout::Version;

use super::state::{Asked, Attempt, Check, Known, Live, RecordKind, Stage};
use super::{Effect, Event, Installed, Now, Offer, Problem, Rules, Seen, Turn};
use crate::config::Strategy;

/// Between two looks at a release on trial: blessing takes moments, and the lock is held meanwhile.
const TRIAL_LOOK: Duration = Duration::from_secs(2);

/// First wait after a failed look at the repository or a failed install; doubles each time.
const FIRST_RETRY: Duration = Duration::from_secs(30);

/// Longest wait after failed installs, each of which may have cost a whole download.
const LONGEST_RETRY: Duration = Duration::from_hours(24);

/// How long an ordered reboot may take before it counts as failed.
const REBOOT_PATIENCE: Duration = Duration::from_mins(10);

/// First wait after a second release has failed here; doubles with each one more.
const FIRST_SETBACK: Duration = Duration::from_hours(1);

/// Longest wait after releases that failed here.
const LONGEST_SETBACK: Duration = Duration::from_hours(7 * 24);

/// Never wake more often than this.
const SHORTEST_WAKE: Duration = Duration::from_secs(1);

/// What is known, and kept or not.
pub(super) struct Machine<'a> {
    pub(super) known: Known,
    pub(super) live: Live,
    pub(super) rules: &'a Rules,
    pub(super) now: &'a Now,
    pub(super) effects: Vec<Effect>,
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
        Event::Observed(observed) => machine.observed(&observed),
        Event::Taken(grant) => machine.taken(grant),
        Event::Prepared(outcome) => machine.prepared(outcome),
        Event::Undone(outcome) => machine.undone(outcome),
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

    fn woke(&mut self) {
        if self.live.trial || !self.live.settled {
            self.effects.push(Effect::Look);
            return;
        }
        if self.held().is_none() {
            self.known.hold = None;
        }
        let Some(strategy) = self.rules.strategy else {
            return self.wait(
                "no-repository",
                "no repository is configured: set updates.repository in a file in /etc/twinhull-updater/config.d",
            );
        };
        if (self.live.standing_down || !self.wants_reboot()) && self.due(self.live.next_release) {
            self.stand_down();
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
        if let Some(text) = self.held() {
            return self.wait("held", text);
        }
        self.live.asked = if retry { Asked::Retry } else { Asked::Once };
        self.effects.push(Effect::Check);
    }

    fn offered(&mut self, offer: Offer) {
        self.live.next_check = self.now.uptime + self.now.jittered(self.rules.poll);
        let asked = std::mem::take(&mut self.live.asked);
        // Asked before one of these began: the other slot is the way back, and is not touched.
        if self.live.trial || self.known.rollback.is_some() {
            return;
        }
        let staged = self.known.staged().map(|attempt| attempt.version.clone());
        let Offer { version, turn } = offer;
        if asked == Asked::Retry {
            self.known.failed.remove(&version);
        }
        self.known.halted = matches!(turn, Turn::Halted(_));
        match turn {
            Turn::Halted(why) => return self.checked(Some(version), Some(Problem::new("halted", why))),
            Turn::Later(why) => {
                self.live.failures = 0;
                self.checked(Some(version), Some(Problem::new("wave", why)));
                // What is staged already came in its turn.
                return self.advance();
            }
            Turn::Now => {}
        }
        if staged.as_ref() == Some(&version) {
            self.known.withdrawn = false;
            self.checked(Some(version), None);
            self.live.failures = 0;
            return self.advance();
        }
        let refusal = self.refusal(&version);
        let current = self.live.running.as_ref() == Some(&version);
        self.checked(Some(version.clone()), refusal.clone());
        if let Some(staged) = staged.filter(|_| current || refusal.is_some()) {
            // What is staged is no longer offered: it must not boot.
            self.known.withdrawn = true;
            self.effects.push(Effect::Discard(staged));
        } else if let Some(problem) = refusal {
            let version = Some(version);
            self.known
                .record(self.now.wall, RecordKind::Refused { version, problem });
        } else if current {
            self.live.failures = 0;
            self.live.waiting = None;
        } else if let Some(text) = self.held() {
            self.wait("held", text);
        } else if let Some(problem) = self.setback().filter(|_| asked == Asked::Nobody) {
            self.live.wait(self.now.wall, problem);
        } else {
            self.install(version);
        }
    }

    /// Why nothing is installed for now, though the release itself is not known to be bad: several before it were.
    fn setback(&mut self) -> Option<Problem> {
        // A clock that ran ahead when it failed must not keep this host waiting until then.
        self.known.last_setback = self.known.last_setback.map(|last| last.min(self.now.wall));
        let doublings = self.known.setbacks.checked_sub(2)?;
        let wait = FIRST_SETBACK
            .saturating_mul(1 << doublings.min(16))
            .min(LONGEST_SETBACK);
        let until = self.known.last_setback?.checked_add(wait).ok()?;
        (self.now.wall < until).then(|| {
            let text = format!(
                "{} releases in a row failed here: the next one is tried after {until}, or with `twinhull-updater update`",
                self.known.setbacks
            );
            Problem::new("backing-off", text)
        })
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
        self.stand_down();
        self.live.waiting = None;
        self.known.withdrawn = false;
        self.known.attempt = Some(Attempt {
            version: version.clone(),
            since: self.now.wall,
            stage: Stage::Writing,
        });
        self.effects.push(Effect::Install(version));
    }

    fn not_checked(&mut self, problem: Problem) {
        self.live.asked = Asked::Nobody;
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
        self.live.next_try = self.now.uptime;
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

    pub(super) fn backoff(&mut self, longest: Duration) -> Duration {
        let doubled = FIRST_RETRY.saturating_mul(1 << self.live.failures.min(16));
        self.live.failures = self.live.failures.saturating_add(1);
        self.now.jittered(doubled.min(longest))
    }

    pub(super) fn due(&self, at: Duration) -> bool {
        self.now.uptime >= at
    }

    pub(super) fn wait(&mut self, code: &str, text: impl std::fmt::Display) {
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
            Some(Stage::Staged) if self.known.withdrawn || self.wants_reboot() && !self.undoes_hooks() => {
                times.push(self.live.next_try);
            }
            Some(Stage::Rebooting) => times = vec![self.now.uptime + REBOOT_PATIENCE],
            _ => {}
        }
        if self.has_something_to_undo() && (self.live.standing_down || !self.wants_reboot()) {
            times.push(self.live.next_release);
        }
        if let Some(until) = self.known.hold.as_ref().and_then(|hold| hold.until) {
            let rest = Duration::try_from(until.duration_since(self.now.wall)).unwrap_or_default();
            times.push(self.now.uptime + rest);
        }
        let next = times.into_iter().min().unwrap_or(self.now.uptime + self.rules.poll);
        next.saturating_sub(self.now.uptime).max(SHORTEST_WAKE)
    }
}
