//! A machine outside of any scenario, which is told nothing but a key that may log in.

use std::path::{Path, PathBuf};

use twinhull_layout::Arch;

use crate::accelerator::{self, Accelerator, Choice};
use crate::disk::Disk;
use crate::error::Result;
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
}

impl Alone {
    /// For images like `image`: proves the accelerator, tells `board`, and makes folders below `work` and a key of this run.
    pub(crate) async fn prepare(image: &Path, choice: Choice, work: &Path, board: &Board) -> Result<Self> {
        let arch = Disk::architecture(image)?;
        let folders = RunFolder::create(work)?;
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
        })
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
