//! The service: runs the state machine until it is told to stop, and does what is asked for over the control socket.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::agent::{Agent, Busy, Engine, EngineError, Hands as _, OnlyOne};
use crate::command::{Command, obey};
use crate::config::Config;
use crate::control::{Asked, Reply};
use crate::machine::{Event, Phase, Rules};
use crate::status::Teller;

/// Wait for somebody at the keyboard who is at work.
const BUSY: Duration = Duration::from_secs(5);

/// The files that start this host are looked at for the first time when the boot is long over: it has enough to read,
pub const FIRST_SCRUB: Duration = Duration::from_mins(10);

/// and then so often.
const SCRUB: Duration = Duration::from_hours(24);

/// Why the service ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The state cannot be read or kept.
    #[error(transparent)]
    State(#[from] EngineError),
    /// Signals cannot be received.
    #[error("cannot wait for signals: {0}")]
    Signal(#[source] io::Error),
    /// The thread that works has panicked.
    #[error("the working thread ended: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

/// What works: one thing at a time, on a thread where it may block.
#[derive(Debug)]
pub struct Worker {
    /// Carries out.
    pub agent: Agent,
    /// Decides.
    pub engine: Engine,
    /// Tells.
    pub teller: Teller,
    /// This host's id, if it has one.
    pub host: Option<String>,
    /// When to look at the files that start this host, on the clock of [`crate::machine::Now::uptime`].
    pub next_scrub: Duration,
}

/// One thing to do.
enum Task {
    /// Whatever is due.
    Round,
    /// What somebody asked for.
    Command(Command),
}

/// What came of it.
enum Done {
    /// There is nothing to do but wait for so long.
    Wait(Duration),
    /// An answer for who asked.
    Reply(Reply),
}

/// Runs until SIGTERM. SIGHUP makes it read its configuration and look again at once.
///
/// A stop in the middle of an install is no harm: the next start goes on.
///
/// # Errors
/// See [`DaemonError`].
pub async fn run(mut worker: Worker, mut asked: mpsc::Receiver<Asked>) -> Result<(), DaemonError> {
    let mut stop = signal(SignalKind::terminate()).map_err(DaemonError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signal)?;
    let mut reload = signal(SignalKind::hangup()).map_err(DaemonError::Signal)?;
    crate::status::notify(&[NotifyState::Ready]);
    let mut current: Option<Asked> = None;
    let mut next: Option<Asked> = None;
    loop {
        current = current.or_else(|| next.take());
        let task = current
            .as_ref()
            .map_or(Task::Round, |asked| Task::Command(asked.command.clone()));
        let told = worker.teller.subscribe();
        let mut working = tokio::task::spawn_blocking(move || {
            let done = worker.carry_out(&task);
            (worker, done)
        });
        let done = loop {
            tokio::select! {
                finished = &mut working => {
                    let done;
                    (worker, done) = finished?;
                    break done?;
                }
                Some(other) = asked.recv() => {
                    // Anything but an install is over soon enough to wait for.
                    if next.is_none() && told.borrow().situation.phase != Phase::Installing {
                        next = Some(other);
                    } else {
                        refuse(other, "the update service is at work");
                    }
                }
                _ = stop.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
        };
        let wait = match done {
            Done::Reply(reply) => {
                if let Some(Asked { reply: to, .. }) = current.take() {
                    // Who asked may have gone.
                    let _ = to.send(reply);
                }
                Duration::ZERO
            }
            Done::Wait(wait) => wait,
        };
        if next.is_some() {
            continue;
        }
        tracing::debug!("next look in {wait:?}");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Some(one) = asked.recv() => current = Some(one),
            _ = reload.recv() => worker.reconfigure(),
            _ = stop.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

fn refuse(asked: Asked, why: &str) {
    let _ = asked.reply.send(Reply::Busy(why.to_owned()));
}

impl Worker {
    /// As the only one at work, from what is kept.
    fn carry_out(&mut self, task: &Task) -> Result<Done, EngineError> {
        let _only_one = match OnlyOne::try_take(&self.agent.paths, "the update service") {
            Ok(only_one) => only_one,
            Err(busy) => {
                match &busy {
                    Busy::Other(_) => tracing::info!("{busy}"),
                    Busy::File { .. } => tracing::error!("{busy}"),
                }
                return Ok(match task {
                    Task::Round => Done::Wait(BUSY),
                    Task::Command(_) => Done::Reply(Reply::Busy(busy.to_string())),
                });
            }
        };
        self.engine.reload()?;
        let teller = &self.teller;
        let mut watcher = |known: &_, live: &_, progress| teller.tell(known, live, progress);
        match task {
            Task::Round => {
                let wait = self.engine.run(Event::Woke, &mut self.agent, &mut watcher)?;
                Ok(Done::Wait(wait.min(self.scrub()?)))
            }
            Task::Command(_) if !self.engine.live.settled && !self.engine.live.trial => {
                let why = "the update service has not yet been able to look at this host";
                Ok(Done::Reply(Reply::Busy(why.to_owned())))
            }
            Task::Command(command) => {
                let obeyed = obey(command, &mut self.agent, &mut self.engine, &mut watcher);
                Ok(Done::Reply(match obeyed {
                    Ok(outcome) => Reply::Outcome(outcome),
                    Err(error) => {
                        tracing::error!("{error}");
                        Reply::Fault(error.to_string())
                    }
                }))
            }
        }
    }

    /// Looks at the files that start this host when it is time. Gives how long it is until then.
    fn scrub(&mut self) -> Result<Duration, EngineError> {
        if !self.engine.live.settled {
            // Their names change while a release is on trial.
            return Ok(SCRUB);
        }
        let now = self.agent.now();
        if now.uptime >= self.next_scrub {
            if let Some(found) = self.agent.scrub() {
                self.teller.scrubbed(now.wall, &found);
                self.engine.record(now.wall, found)?;
            }
            self.next_scrub = now.uptime + SCRUB;
        }
        Ok(self.next_scrub.saturating_sub(now.uptime))
    }

    /// Takes over a changed configuration; one that cannot be used changes nothing.
    fn reconfigure(&mut self) {
        let config = match Config::load(&self.agent.paths) {
            Ok(config) => config,
            Err(error) => return tracing::error!("the old configuration stays: {error}"),
        };
        let rules = Rules::of(&config);
        if let Err(error) = self.agent.reconfigure(config) {
            return tracing::error!("the old configuration stays: {error}");
        }
        if let Some(updates) = &self.agent.config().updates {
            self.teller.follow(&updates.channel);
        }
        let rules = match &self.host {
            Some(id) => rules.for_host(id),
            None => rules,
        };
        if rules != *self.engine.rules() {
            tracing::info!("the configuration has changed");
        }
        self.engine.set_rules(rules);
        self.engine.live.look_again();
        self.next_scrub = Duration::ZERO;
    }
}
