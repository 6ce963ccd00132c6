//! The peer's side: mkosi with an incremental cache and without.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::content::{self, Place};
use super::{Case, Cost, disk, measured, quietly};
use crate::bench::mkosi_host::{self, Content, MkosiHost, NAME};
use crate::phase::Phases;
use crate::privilege::as_root;

/// Keep what later builds can begin with, and begin with it.
const INCREMENTAL: &str = "--incremental=yes";

/// Take the package files that are there.
const FETCH_NOTHING: &str = "--cache-only=always";

/// The tool with its inputs.
pub(super) struct Mkosi {
    host: MkosiHost,
    folder: PathBuf,
}

impl Mkosi {
    /// Makes the tree, writes the configuration and fetches the packages.
    pub(super) fn prepare(phases: &mut Phases, place: &Place) -> Result<Self> {
        let folder = place.folder(NAME)?;
        let overlays = place.overlays()?;
        let host = MkosiHost::prepare(phases, vec![place.path().to_owned(), overlays[0].clone()])?;
        let packages = content::PACKAGES.iter().copied();
        let content = Content {
            settings: "WithDocs=yes\n",
            trees: &overlays.map(|overlay| overlay.display().to_string()),
            packages: &packages.chain([content::KERNEL, content::LOADER]).collect::<Vec<_>>(),
        };
        mkosi_host::configure(&folder, &content)?;
        let mkosi = Self { host, folder };
        phases.run(
            "a first build by mkosi, which fetches the packages",
            &mut mkosi.build(&[INCREMENTAL]),
        )?;
        Ok(mkosi)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn build(&self, options: &[&str]) -> Command {
        self.host.build(&self.folder, options)
    }

    /// A build that is not measured, after which what an incremental build keeps is there. One without it takes that away.
    pub(super) fn warm(&self, phases: &mut Phases) -> Result<()> {
        phases.run(
            "a build by mkosi, which fills its cache",
            &mut self.build(&[INCREMENTAL, FETCH_NOTHING]),
        )
    }

    /// Runs one build of the kind `case`.
    pub(super) fn run(&self, case: Case) -> Result<Cost> {
        let (cache, folders): (_, &[&str]) = match case {
            // What an incremental build would keep is not made, so it costs nothing.
            Case::Cold => ("--incremental=no", &["packages", "work", "out"]),
            Case::Overlay | Case::Unchanged => (INCREMENTAL, &["packages", "work", "out", "cache"]),
        };
        if case == Case::Cold {
            quietly(
                as_root("find")
                    .arg(self.file("out"))
                    .args(["-mindepth", "1", "-delete"]),
            )?;
        }
        let folders: Vec<PathBuf> = folders.iter().map(|name| self.file(name)).collect();
        measured(&self.build(&[cache, FETCH_NOTHING]), &folders)
    }

    /// Bytes of the package files.
    pub(super) fn packages(&self) -> Result<u64> {
        disk::held(&[self.file("packages")])
    }

    /// Bytes of the disk that the image takes, holes not counted.
    pub(super) fn image(&self) -> Result<u64> {
        disk::of_file(&mkosi_host::disk(&self.folder))
    }

    /// Bytes of the kernel image.
    pub(super) fn kernel_image(&self) -> Result<u64> {
        crate::bench::size(&mkosi_host::kernel_image(&self.folder))
    }

    /// Its name and version.
    pub(super) fn version(&self) -> Result<String> {
        self.host.version()
    }
}
