//! What became of the last attempt: drawn up once in each boot, when what runs is not on trial.

use twinhull_layout::{BootEntry, Version};

use super::Seen;
use super::decide::Machine;
use super::state::{Attempt, Belief, Failure, RecordKind, Stage};

impl Machine<'_> {
    /// Draws the line under the last attempt: what runs is not on trial, so the attempt succeeded or failed.
    pub(super) fn settle(&mut self, seen: &Seen) {
        let at = self.now.wall;
        let running = &seen.running;
        match self.known.attempt.take() {
            Some(attempt) if attempt.version == *running => {
                self.known.failed.remove(running);
                self.known.setbacks = 0;
                self.known.last_setback = None;
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
        self.known.withdrawn &= self.known.attempt.is_some();
        self.came_back(seen);
        for entry in seen.others.iter().filter(|entry| entry.is_bad()) {
            if !self.known.failed.contains_key(&entry.version) {
                self.failed(entry, seen.unhealthy.as_ref());
            }
        }
        if let Some(rollback) = self.known.rollback.take() {
            if rollback.from == *running && seen.aside {
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
        // Whatever happened before this boot, the host is healthy now: nobody needs to wait for it any longer. Also when the
        // lock is believed to be free: a server that is asked for nothing says nothing.
        if self.rules.lock {
            self.known.lock = Belief::Unsure;
        }
        self.stand_down();
    }

    /// Notices that what runs is not what the loader would start: the newest healthy release is still there, with an entry that was
    /// neither set aside nor found bad. Nothing is decided by this: while it is offered, it is installed anew.
    fn came_back(&mut self, seen: &Seen) {
        let Some(floor) = self.known.floor.clone().filter(|floor| *floor > seen.running) else {
            return;
        };
        let blessed = |entry: &BootEntry| entry.version == floor && entry.tries.is_none();
        if !seen.others.iter().any(blessed) {
            return;
        }
        let kind = RecordKind::CameBack {
            from: floor.clone(),
            to: seen.running.clone(),
        };
        if self.known.history.last().is_none_or(|last| last.kind != kind) {
            self.known.record(self.now.wall, kind);
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
        self.known.setbacks = self.known.setbacks.saturating_add(1);
        self.known.last_setback = Some(self.now.wall);
        self.known.record(self.now.wall, RecordKind::Failed { version, reason });
    }
}
