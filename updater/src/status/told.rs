//! What the service tells in `/run/twinhull-updater/status.json`: everything that is not on the disk.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Speed;
use crate::install::Progress;
use crate::machine::{Known, Live, Situation};

/// Longest file that is read, in bytes.
const MAX_SIZE: u64 = 64 * 1024;

/// The service's own account of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When it was written.
    pub at: Timestamp,
    /// By which process.
    pub process: u32,
    /// What is going on.
    pub situation: Situation,
    /// How far an install is.
    pub progress: Option<Progress>,
    /// How fast it goes.
    #[serde(default)]
    pub speed: Option<Speed>,
}

impl Told {
    /// Sums up, now.
    pub fn new(known: &Known, live: &Live, progress: Option<Progress>) -> Self {
        Self {
            at: Timestamp::now(),
            process: std::process::id(),
            situation: Situation::of(known, live),
            progress,
            speed: None,
        }
    }

    /// The same with how fast it goes.
    #[must_use]
    pub fn with_speed(self, speed: Option<Speed>) -> Self {
        Self { speed, ..self }
    }

    /// Reads what was told last in this boot; `None` if there is nothing that can be read.
    pub fn read(path: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes))
            .ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Tells it. A reader sees the old file or the new one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), twinhull_durable::Error> {
        if let Some(folder) = path.parent() {
            // If it cannot be made, the write says so.
            let _ = std::fs::create_dir_all(folder);
        }
        twinhull_durable::replace(path, &serde_json::to_vec(self).unwrap_or_default(), 0o644)
    }

    /// One line for `systemctl status`.
    pub fn line(&self) -> String {
        use std::fmt::Write as _;
        let phase = serde_json::to_value(self.situation.phase).unwrap_or_default();
        let mut line = phase.as_str().unwrap_or_default().to_owned();
        if let Some(version) = &self.situation.version {
            let _ = write!(line, " {version}");
        }
        if let Some(Progress { step, done, total }) = self.progress {
            let _ = write!(
                line,
                ": {step} {} %",
                done.saturating_mul(100).checked_div(total).unwrap_or(0)
            );
            if let Some(speed) = &self.speed {
                let _ = write!(line, ", {speed}");
            }
        } else if let Some(reason) = &self.situation.reason {
            let _ = write!(line, ": {reason}");
        }
        line
    }
}
