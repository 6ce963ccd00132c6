//! Kernel modules: what the hardware asks for, and what it depends on.

mod coldplug;
mod glob;
mod index;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::bounded;
use crate::console::{self, Console};
use crate::error::InitError;
use index::Index;

/// `modules.alias` of a whole distribution kernel is 2 MB; an initramfs has a part of it.
const LIST_LIMIT: u64 = 8 << 20;

/// The modules in the initramfs, and which of them were loaded.
pub(crate) struct Modules {
    folder: PathBuf,
    index: Index,
    tried: BTreeSet<String>,
    seen: BTreeSet<String>,
    console: Console,
}

impl Modules {
    /// Reads the lists in `folder`. One that is missing is empty: a kernel may have everything built in.
    pub(crate) fn open(folder: &Path, console: Console) -> Result<Self, InitError> {
        let index = Index::parse(&list(folder, "modules.dep")?, &list(folder, "modules.alias")?)?;
        Ok(Self {
            folder: folder.to_owned(),
            index,
            tried: BTreeSet::new(),
            seen: BTreeSet::new(),
            console,
        })
    }

    /// Loads what `modules.load` names, one a line.
    pub(crate) fn load_listed(&mut self) -> Result<(), InitError> {
        for name in list(&self.folder, "modules.load")?
            .lines()
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            self.load(name);
        }
        Ok(())
    }

    /// Loads module `name` after everything it depends on. A name without a file is taken as built in. A module
    /// that does not load is told and passed over: whether it was needed shows at the step that needs it.
    pub(crate) fn load(&mut self, name: &str) {
        for file in self.index.order(name) {
            if !self.tried.insert(file.clone()) {
                continue;
            }
            match load_file(&self.folder.join(&file)) {
                Ok(()) => self.console.detail(&format!("module {file}")),
                // The driver is fine and says that its hardware is not here.
                Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => {
                    self.console.detail(&format!("module {file}: no such hardware"));
                }
                Err(error) => console::warn(&format!("module {file} does not load: {error}")),
            }
        }
    }

    /// Loads the drivers of all hardware that has appeared since the last call.
    pub(crate) fn coldplug(&mut self) {
        for modalias in coldplug::modaliases(Path::new("/sys/devices")) {
            if self.seen.insert(modalias.clone()) {
                for name in self.index.matching(&modalias) {
                    self.load(&name);
                }
            }
        }
    }
}

fn list(folder: &Path, name: &str) -> Result<String, InitError> {
    match bounded::read_text(&folder.join(name), LIST_LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other.map_err(InitError::system(
            format!("reading /modules/{name}"),
            "rebuild the image",
        )),
    }
}

fn load_file(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    match finit_module(&file, c"", ModuleInitFlags::empty()) {
        // The kernel has it, built in or loaded by its own request.
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
