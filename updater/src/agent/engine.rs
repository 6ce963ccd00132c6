//! The loop between decisions and effects.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::{Hands, announce};
use crate::install::Progress;
use crate::machine::{self, Effect, Event, Known, Live, Problem, RecordKind, Rules, StoreError};

/// The state of the agent, and where its durable part is kept.
#[derive(Debug)]
pub struct Engine {
    file: PathBuf,
    rules: Rules,
    /// What is known and kept.
    pub known: Known,
    /// What is known for now.
    pub live: Live,
}

/// The state could not be read or kept. Nothing was done that depends on it.
pub type EngineError = StoreError;

/// Told whenever something has changed, and while an install makes progress.
pub type Watcher<'w> = dyn FnMut(&Known, &Live, Option<Progress>) + 'w;

impl Engine {
    /// Starts from what is kept in `file`.
    ///
    /// # Errors
    /// The file is there and cannot be used.
    pub fn open(file: PathBuf, rules: Rules) -> Result<Self, EngineError> {
        Ok(Self {
            known: machine::load(&file)?,
            live: Live::default(),
            file,
            rules,
        })
    }

    /// The rules it was opened with.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Decides by other rules from now on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Keeps what is known: on return it is on the medium.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self) -> Result<(), EngineError> {
        machine::save(&self.file, &self.known)
    }

    /// Reads again what is kept: somebody at the keyboard may have changed it.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn reload(&mut self) -> Result<(), EngineError> {
        self.known = machine::load(&self.file)?;
        Ok(())
    }

    /// Keeps what happened outside the decisions, and tells it.
    ///
    /// # Errors
    /// The state cannot be kept.
    pub fn record(&mut self, at: Timestamp, kinds: Vec<RecordKind>) -> Result<(), EngineError> {
        let before = self.known.clone();
        for kind in kinds {
            self.known.record(at, kind);
        }
        if self.known != before {
            self.keep()?;
            announce::records(&before, &self.known);
        }
        Ok(())
    }

    /// Lets the machine decide about `event`, does what it says, and goes on until there is nothing left to do but wait. Gives how
    /// long.
    ///
    /// # Errors
    /// The state cannot be kept; then nothing more is done.
    pub fn run(
        &mut self,
        event: Event,
        hands: &mut dyn Hands,
        watcher: &mut Watcher<'_>,
    ) -> Result<Duration, EngineError> {
        let mut events = VecDeque::from([event]);
        let mut wake = Duration::ZERO;
        while let Some(event) = events.pop_front() {
            let before = self.known.clone();
            let waiting = self.live.waiting.clone();
            let decided = machine::decide(
                before.clone(),
                std::mem::take(&mut self.live),
                event,
                &self.rules,
                &hands.now(),
            );
            let (known, live, effects) = decided;
            self.live = live;
            self.known = known;
            if self.known != before {
                // An effect must never be ahead of what is remembered of it.
                self.keep()?;
            }
            announce::records(&before, &self.known);
            announce::reason(waiting.as_ref(), self.live.waiting.as_ref());
            watcher(&self.known, &self.live, None);
            for effect in effects {
                match effect {
                    Effect::Wake(after) => wake = after,
                    other => events.extend(self.carry_out(other, hands, watcher)),
                }
            }
        }
        Ok(wake)
    }

    fn carry_out(&self, effect: Effect, hands: &mut dyn Hands, watcher: &mut Watcher<'_>) -> Option<Event> {
        tracing::debug!("{effect:?}");
        match effect {
            Effect::Look => Some(Event::Seen(hands.look())),
            Effect::Check => Some(Event::Checked(hands.check())),
            Effect::Install(version) => {
                tracing::info!("installing {version}");
                let mut watch = |progress| watcher(&self.known, &self.live, Some(progress));
                let installed = hands.install(&version, &mut watch);
                log("install", &installed);
                Some(Event::Installed(installed))
            }
            Effect::Discard(version) => {
                tracing::info!("taking {version} out of the other slot");
                Some(Event::Discarded(hands.discard(&version)))
            }
            Effect::Observe => Some(Event::Observed(Box::new(hands.observe()))),
            Effect::Prepare => {
                tracing::info!("running the hooks before the reboot");
                let prepared = hands.prepare();
                log("hooks before the reboot", &prepared);
                Some(Event::Prepared(prepared))
            }
            Effect::Undo => {
                tracing::info!("undoing what the hooks did");
                let undone = hands.undo();
                log("hooks after the reboot", &undone);
                Some(Event::Undone(undone))
            }
            Effect::Take => Some(Event::Taken(
                hands.take(self.known.staged().map(|attempt| &attempt.version)),
            )),
            Effect::Release => Some(Event::Released(hands.release(self.known.failed_last()))),
            Effect::Reboot => {
                tracing::info!("rebooting");
                hands.reboot().err().map(Event::RebootFailed)
            }
            Effect::Wake(_) => None,
        }
    }
}

fn log<T>(what: &str, outcome: &Result<T, Problem>) {
    match outcome {
        Ok(_) => tracing::info!("{what}: done"),
        Err(problem) => tracing::error!("{what} ({}): {problem}", problem.code),
    }
}
