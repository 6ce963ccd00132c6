//! The service: runs the state machine until it is told to stop.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::{Agent, Busy, Engine, EngineError, OnlyOne};
use crate::install::Progress;
use crate::machine::{Event, Known, Live};
use crate::paths::Paths;
use crate::status::Told;

/// Wait for somebody at the keyboard who is at work.
const BUSY: Duration = Duration::from_secs(5);

/// Least time between two accounts of the same install.
const TELL: Duration = Duration::from_secs(1);

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

/// Runs until SIGTERM. SIGHUP makes it look again at once.
///
/// A stop in the middle of an install is no harm: the next start goes on.
///
/// # Errors
/// See [`DaemonError`].
pub async fn run(mut agent: Agent, mut engine: Engine) -> Result<(), DaemonError> {
    let mut stop = signal(SignalKind::terminate()).map_err(DaemonError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signal)?;
    let mut look_again = signal(SignalKind::hangup()).map_err(DaemonError::Signal)?;
    notify(&[NotifyState::Ready]);
    loop {
        let work = tokio::task::spawn_blocking(move || {
            let outcome = round(&mut agent, &mut engine);
            (agent, engine, outcome)
        });
        let outcome;
        tokio::select! {
            done = work => (agent, engine, outcome) = done?,
            _ = stop.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
        let wake = outcome?;
        tracing::debug!("next look in {wake:?}");
        tokio::select! {
            () = tokio::time::sleep(wake) => {}
            _ = look_again.recv() => {}
            _ = stop.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

/// One round: as the only one at work, from what is kept, until there is nothing to do but wait.
fn round(agent: &mut Agent, engine: &mut Engine) -> Result<Duration, EngineError> {
    let _only_one = match OnlyOne::try_take(&agent.paths, "the update service") {
        Ok(only_one) => only_one,
        Err(error @ Busy::Other(_)) => {
            tracing::info!("{error}");
            return Ok(BUSY);
        }
        Err(error @ Busy::File { .. }) => {
            tracing::error!("{error}");
            return Ok(BUSY);
        }
    };
    engine.reload()?;
    let paths = agent.paths.clone();
    let teller = Teller::default();
    engine.run(Event::Woke, agent, &mut |known, live, progress| {
        teller.tell(&paths, known, live, progress);
    })
}

/// Tells systemd and `status` what is going on, but not more often than anybody can read.
#[derive(Default)]
struct Teller {
    last: Cell<Option<Instant>>,
}

impl Teller {
    fn tell(&self, paths: &Paths, known: &Known, live: &Live, progress: Option<Progress>) {
        let recent = self.last.get().is_some_and(|last| last.elapsed() < TELL);
        if progress.is_some() && recent {
            return;
        }
        self.last.set(Some(Instant::now()));
        let told = Told::new(known, live, progress);
        notify(&[NotifyState::Status(&told.line())]);
        if let Err(error) = told.write(&paths.status_file()) {
            tracing::warn!("cannot tell the status: {error}");
        }
    }
}

/// Without systemd there is nobody to tell, and that is no error.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify systemd: {error}");
    }
}
