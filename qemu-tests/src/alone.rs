//! A machine outside of any scenario, which is told nothing but a key that may log in.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use twinhull_layout::Arch;

use crate::accelerator::{self, Accelerator, Choice};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::firmware::Firmware;
use crate::login_key;
use crate::machine::credential::Credential;
use crate::machine::{Machine, Plan};
use crate::pace::Pace;
use crate::run_folder::RunFolder;
use crate::scenario::copy_sparse;
use crate::steps::Board;

/// All that such a machine needs but its image.
#[derive(Debug)]
pub(crate) struct Alone {
    arch: Arch,
    accelerator: Accelerator,
    pace: Pace,
    key: PathBuf,
    public_key: String,
    folders: RunFolder,
    logs: TempDir,
}

impl Alone {
    /// For images like `image`: proves the accelerator, tells `board`, and makes a key of this run and folders that vanish with it.
    pub(crate) async fn prepare(image: &Path, choice: Choice, board: &Board) -> Result<Self> {
        let arch = Disk::architecture(image)?;
        let work = std::env::temp_dir();
        // A folder of this run alone: others may write to the one it is in.
        let logs = tempfile::Builder::new()
            .prefix("twinhull-logs.")
            .tempdir_in(&work)
            .map_err(|source| Error::file("make a folder in", &work, source))?;
        let folders = RunFolder::with_logs(&work, logs.path().to_owned())?;
        let proven = accelerator::prove(choice, arch, &folders).await?;
        let pace = Pace::measured(proven.firmware_boot);
        board.line(&proven.in_words(arch, pace));
        let (key, public_key) = login_key::make(folders.sockets()).await?;
        Ok(Self {
            arch,
            accelerator: proven.accelerator,
            pace,
            key,
            public_key,
            folders,
            logs,
        })
    }

    /// Leaves the logs for a look when `outcome` is an error, which names them.
    pub(crate) fn conclude<T>(self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            let _ = self.logs.keep();
        }
        outcome
    }

    /// Starts the machine `name` with a private copy of `image`, in place of the one before. `continued` as in [`Plan`].
    pub(crate) async fn start(&self, name: String, image: &Path, memory_mib: u32, continued: bool) -> Result<Machine> {
        let disk = self.folders.disks().join("host.raw");
        copy_sparse(image, &disk).await?;
        let firmware = Firmware::find(self.arch)?;
        Machine::start(Plan {
            pace: self.pace,
            disk: Some(disk),
            credentials: vec![Credential::root_key(&self.public_key)],
            key: Some(self.key.clone()),
            memory_mib,
            continued,
            ..Plan::new(name, firmware, self.arch, self.accelerator, &self.folders)
        })
        .await
    }
}
