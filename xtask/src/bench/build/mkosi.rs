//! The peer's side: mkosi with an incremental cache and without.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::content::{self, Place};
use super::{Case, Cost, disk, measured, quietly};
use crate::bench::layout;
use crate::bench::mkosi_host::{self, MkosiHost, NAME};
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
        let [base, _] = place.overlays()?;
        let host = MkosiHost::prepare(
            phases,
            &place.path().join("debian"),
            vec![place.path().to_owned(), base],
        )?;
        let mkosi = Self { host, folder };
        mkosi.configure(place)?;
        phases.run(
            "a first build by mkosi, which fetches the packages",
            &mut mkosi.build(&[INCREMENTAL]),
        )?;
        Ok(mkosi)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn configure(&self, place: &Place) -> Result<()> {
        let write = |name: &str, text: String| {
            let file = self.file("config").join(name);
            let folder = file.parent().unwrap_or(&file);
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&file, text))
                .with_context(|| format!("cannot write {}", file.display()))
        };
        for folder in ["out", "cache", "packages", "work"] {
            place.folder(&format!("{NAME}/{folder}"))?;
        }
        write("mkosi.conf", self.settings(place)?)?;
        write(
            "mkosi.sandbox/etc/apt/sources.list.d/mkosi.sources",
            mkosi_host::sources()?,
        )?;
        let partitions = layout::for_repart().into_iter().enumerate();
        for (number, text) in partitions {
            write(&format!("mkosi.repart/{number}0.conf"), text)?;
        }
        Ok(())
    }

    fn settings(&self, place: &Place) -> Result<String> {
        let packages = (content::PACKAGES.iter().copied()).chain([content::KERNEL, content::LOADER]);
        let overlays = place.overlays()?.map(|overlay| overlay.display().to_string());
        let folder = self.folder.display();
        Ok(format!(
            "[Distribution]\nDistribution=debian\nRelease={}\nArchitecture=x86-64\n\
             [Output]\nFormat=disk\nOutput=bench\nOutputDirectory={folder}/out\n\
             [Content]\nBootable=yes\nBootloader=systemd-boot\nUnifiedKernelImages=yes\nWithDocs=yes\n\
             ExtraTrees={}\nPackages={}\n\
             [Build]\nCacheDirectory={folder}/cache\nPackageCacheDirectory={folder}/packages\n\
             WorkspaceDirectory={folder}/work\nHistory=no\n\
             [Validation]\nSecureBoot=no\n",
            mkosi_host::SUITE,
            mkosi_host::list(overlays.iter().map(String::as_str)),
            mkosi_host::list(packages),
        ))
    }

    fn build(&self, options: &[&str]) -> Command {
        self.host.build(&self.file("config"), options)
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
        disk::of_file(&self.file("out/bench.raw"))
    }

    /// Bytes of the kernel image.
    pub(super) fn kernel_image(&self) -> Result<u64> {
        crate::bench::size(&self.file("out/bench.efi"))
    }

    /// Its name and version.
    pub(super) fn version(&self) -> Result<String> {
        self.host.version()
    }
}
