//! Tells everybody what is going on: systemd, `status`, the event stream and the metrics.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::sync::watch;

use super::{Speedometer, Told};
use crate::control::Metrics;
use crate::install::Progress;
use crate::machine::{Known, Live, RecordKind};

/// Least time between two accounts of the same install.
const OFTEN: Duration = Duration::from_secs(1);

/// Tells, but not more often than anybody can read.
#[derive(Debug)]
pub struct Teller {
    file: PathBuf,
    started: Instant,
    progress: std::sync::Mutex<Pace>,
    told: watch::Sender<Told>,
    metrics: watch::Sender<Metrics>,
}

#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    speedometer: Speedometer,
}

impl Teller {
    /// Tells in `file`, and to whoever listens.
    pub fn new(file: PathBuf, metrics: Metrics) -> Self {
        Self {
            file,
            started: Instant::now(),
            progress: std::sync::Mutex::default(),
            told: watch::Sender::new(Told::new(&Known::default(), &Live::default(), None)),
            metrics: watch::Sender::new(metrics),
        }
    }

    /// What is told, from now on.
    pub fn subscribe(&self) -> watch::Receiver<Told> {
        self.told.subscribe()
    }

    /// What is counted, from now on.
    pub fn metrics(&self) -> watch::Receiver<Metrics> {
        self.metrics.subscribe()
    }

    /// Another channel is followed from now on.
    pub fn follow(&self, channel: &str) {
        self.metrics.send_modify(|metrics| metrics.follow(channel));
    }

    /// The files that start this host were looked at, and this was found.
    pub fn scrubbed(&self, at: Timestamp, found: &[RecordKind]) {
        self.metrics.send_modify(|metrics| metrics.scrubbed(at, found));
    }

    /// Tells.
    pub fn tell(&self, known: &Known, live: &Live, progress: Option<Progress>) {
        let speed = {
            // Nothing in here can panic and leave it half-done.
            let mut pace = self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let recent = pace.last.is_some_and(|last| last.elapsed() < OFTEN);
            if progress.is_some() && recent {
                return;
            }
            pace.last = progress.is_some().then(Instant::now);
            progress.and_then(|progress| pace.speedometer.at(self.started.elapsed(), progress))
        };
        let told = Told::new(known, live, progress).with_speed(speed);
        notify(&[NotifyState::Status(&told.line())]);
        if let Err(error) = told.write(&self.file) {
            tracing::warn!("cannot tell the status: {error}");
        }
        self.metrics.send_modify(|metrics| metrics.note(known, &told));
        self.told.send_replace(told);
    }
}

/// Without systemd there is nobody to tell, and that is no error.
pub fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify systemd: {error}");
    }
}
