//! From a release in the other slot to the reboot: gates, the lock, hooks, and the way back from each.
//!
//! Every step goes over a look at the host ([`Effect::Observe`]), so that a gate that changes its mind at any moment before the
//! order to reboot is heard:
//!
//! 1. gates that need the time, then a look at the host and the gates that need it;
//! 2. the reboot lock, and a look again;
//! 3. hooks, which may take minutes; the lock once more, in case it was taken away meanwhile; and a look again;
//! 4. the reboot.
//!
//! A refusal at any step undoes the hooks and gives the lock back.

use std::time::Duration;

use super::decide::Machine;
use super::state::{Belief, RecordKind, Stage};
use super::{Effect, Grant, Problem};
use crate::config::Strategy;
use crate::gates::{self, Closed, Observed};

/// Between two looks at a gate that does not say when it opens.
const GATE_LOOK: Duration = Duration::from_mins(1);

/// Longest wait for a gate without a look: a clock may be set, and a time zone may change its rules.
const LONGEST_GATE: Duration = Duration::from_hours(24);

impl Machine<'_> {
    /// Whether there is a release in the other slot that this agent may reboot into.
    pub(super) fn wants_reboot(&self) -> bool {
        let reboots = matches!(
            self.rules.strategy,
            Some(Strategy::Lock | Strategy::Window | Strategy::Immediate)
        );
        reboots
            && self.known.staged().is_some()
            && !self.known.halted
            && !self.known.withdrawn
            && self.held().is_none()
            && self.known.rollback.is_none()
            && self.live.settled
            && !self.live.trial
    }

    /// What somebody said who asked that nothing be done, unless that has ended by itself.
    pub(super) fn held(&self) -> Option<String> {
        let hold = self.known.hold.as_ref().filter(|hold| !hold.has_ended(self.now.wall))?;
        Some(hold.to_string())
    }

    /// What to do about the release in the other slot, if there is one.
    pub(super) fn advance(&mut self) {
        let Some(staged) = self.known.staged().map(|attempt| attempt.version.clone()) else {
            return;
        };
        if self.known.withdrawn {
            if self.due(self.live.next_try) {
                self.effects.push(Effect::Discard(staged));
            }
            return;
        }
        // Also when the repository cannot be asked at the moment: a halt ends when the channel says so.
        if self.known.halted {
            return;
        }
        if let Some(text) = self.held() {
            return self.wait("held", text);
        }
        if !self.wants_reboot() {
            let text = format!("{staged} is installed and boots next; the reboot is left to you");
            return self.wait("reboot-by-hand", text);
        }
        if self.undoes_hooks() || !self.due(self.live.next_try) {
            return;
        }
        match gates::at(&self.rules.gates, self.now.wall, self.rules.place) {
            Ok(()) => self.effects.push(Effect::Observe),
            Err(closed) => self.closed(closed),
        }
    }

    /// The host was looked at for the gates: on to the next step, or back.
    pub(super) fn observed(&mut self, observed: &Observed) {
        if !self.wants_reboot() {
            return self.stand_down();
        }
        if self.undoes_hooks() {
            return;
        }
        let now = self.now.wall;
        let rules = self.rules;
        let open = gates::at(&rules.gates, now, rules.place).and_then(|()| gates::on(&rules.gates, observed, now));
        if let Err(closed) = open {
            return self.closed(closed);
        }
        if self.rules.strategy == Some(Strategy::Lock) && self.known.lock != Belief::Held {
            // From here on the server may have granted it, whatever becomes of its answer.
            self.known.lock = Belief::Unsure;
            self.live.standing_down = false;
            self.effects.push(Effect::Take);
        } else if self.rules.hooks && observed.hooks && !self.known.prepared {
            self.known.prepared = true;
            self.effects.push(Effect::Prepare);
        } else {
            self.reboot();
        }
    }

    fn closed(&mut self, closed: Closed) {
        let wait = closed.wait.unwrap_or(GATE_LOOK).min(LONGEST_GATE);
        self.live.next_try = self.now.uptime + wait;
        self.live.wait(self.now.wall, closed.problem);
        self.stand_down();
    }

    pub(super) fn taken(&mut self, grant: Grant) {
        match grant {
            Grant::Granted => {
                self.known.lock = Belief::Held;
                if self.wants_reboot() {
                    return self.effects.push(Effect::Observe);
                }
                self.advance();
                return self.stand_down();
            }
            Grant::Refused(problem) => {
                self.known.lock = Belief::Free;
                self.live.wait(self.now.wall, problem);
            }
            Grant::Unknown(problem) => self.live.wait(self.now.wall, problem),
        }
        self.live.next_try = self.now.uptime + self.now.jittered(self.rules.retry);
        // Without the lock nobody's work is kept off this host for longer than it takes to say so.
        if self.known.prepared {
            self.stand_down();
        }
    }

    pub(super) fn prepared(&mut self, outcome: Result<(), Problem>) {
        match outcome {
            Ok(()) => {
                if self.rules.lock {
                    self.known.lock = Belief::Unsure;
                }
                self.effects.push(Effect::Observe);
            }
            Err(problem) => self.not_now(problem),
        }
    }

    fn reboot(&mut self) {
        self.live.waiting = None;
        if let Some(attempt) = &mut self.known.attempt {
            attempt.stage = Stage::Rebooting;
            attempt.since = self.now.wall;
        }
        self.effects.push(Effect::Reboot);
    }

    pub(super) fn reboot_failed(&mut self, problem: Problem) {
        if let Some(attempt) = &mut self.known.attempt {
            attempt.stage = Stage::Staged;
            attempt.since = self.now.wall;
        }
        self.not_now(problem);
    }

    /// Gives up this reboot, to try again after a while: others must not wait for a host that does not go down.
    fn not_now(&mut self, problem: Problem) {
        self.live.wait(self.now.wall, problem);
        self.live.next_try = self.now.uptime + self.now.jittered(self.rules.poll);
        self.stand_down();
    }

    /// Whether a reboot was given up and its hooks are not undone yet. There is no next try before they are: what they have done
    /// would pass for what they were to do.
    pub(super) fn undoes_hooks(&self) -> bool {
        self.live.standing_down && self.rules.hooks && self.known.prepared
    }

    /// Whether hooks have run or the lock may be held.
    pub(super) fn has_something_to_undo(&self) -> bool {
        (self.rules.hooks && self.known.prepared) || (self.rules.lock && self.known.lock != Belief::Free)
    }

    /// Undoes what the hooks did, then gives the lock back: as much of it as there is.
    pub(super) fn stand_down(&mut self) {
        if !self.has_something_to_undo() {
            return;
        }
        self.live.standing_down = true;
        if self.rules.hooks && self.known.prepared {
            self.effects.push(Effect::Undo);
        } else {
            self.known.lock = Belief::Unsure;
            self.effects.push(Effect::Release);
        }
    }

    pub(super) fn undone(&mut self, outcome: Result<(), Problem>) {
        match outcome {
            Ok(()) => {
                self.known.prepared = false;
                self.no_longer("hook-failed");
                self.live.standing_down = false;
                self.stand_down();
            }
            // The lock stays: a host whose work has not come back is not back.
            Err(problem) => {
                self.live.next_release = self.now.uptime + self.now.jittered(self.rules.retry);
                self.live.wait(self.now.wall, problem);
            }
        }
    }

    pub(super) fn released(&mut self, outcome: Result<(), Problem>) {
        match outcome {
            Ok(()) => {
                self.known.lock = Belief::Free;
                self.live.standing_down = false;
                self.no_longer("lock-not-released");
            }
            Err(problem) => {
                self.live.next_release = self.now.uptime + self.now.jittered(self.rules.retry);
                let text = format!("the reboot lock may still be held by this host: {problem}");
                self.wait("lock-not-released", text);
            }
        }
    }

    fn no_longer(&mut self, code: &str) {
        if self
            .live
            .waiting
            .as_ref()
            .is_some_and(|waiting| waiting.problem.code == code)
        {
            self.live.waiting = None;
        }
    }

    pub(super) fn discarded(&mut self, outcome: Result<(), Problem>) {
        match outcome {
            Ok(()) => {
                if let Some(attempt) = self.known.attempt.take() {
                    let reason = "the channel no longer offers it".to_owned();
                    let version = attempt.version;
                    self.known
                        .record(self.now.wall, RecordKind::Discarded { version, reason });
                }
                self.known.withdrawn = false;
                self.live.waiting = None;
                self.stand_down();
            }
            Err(problem) => {
                self.live.next_try = self.now.uptime + self.now.jittered(self.rules.retry);
                self.live.wait(self.now.wall, problem);
                // Nobody waits for a reboot that will not come.
                self.stand_down();
            }
        }
    }
}
