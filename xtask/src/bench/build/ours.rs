//! Our side: `twinhull build`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::content::{self, Place};
use super::disk;
use super::{Case, Cost, measured};
use crate::arch::Arch;
use crate::artefacts::{self, ForBuilds};
use crate::bench::{layout, mkosi_host};
use crate::phase::Phases;
use crate::privilege::as_root;

const VERSION: &str = "1.0.0";

/// The tool with its inputs.
pub(super) struct Ours {
    programs: ForBuilds,
    folder: PathBuf,
}

impl Ours {
    /// Builds the programs, writes the definition and fetches the packages.
    pub(super) fn prepare(phases: &mut Phases, place: &Place) -> Result<Self> {
        let ours = Self {
            programs: artefacts::for_builds(phases, Arch::X86_64)?,
            folder: place.folder("twinhull")?,
        };
        // The package files of an earlier run may stay: they need not be fetched again.
        for folder in ["repo", "repo-keys"] {
            phases.run(
                "remove what an earlier run left",
                as_root("rm").arg("-rf").arg(ours.file(folder)),
            )?;
        }
        let definition = ours.file("bench.toml");
        fs::write(&definition, definition_text(place)?)
            .with_context(|| format!("cannot write {}", definition.display()))?;
        phases.run(
            "make a release repository",
            Command::new(&ours.programs.builder)
                .args(["repo", "init", "--repo"])
                .arg(ours.file("repo"))
                .arg("--keys")
                .arg(ours.file("repo-keys")),
        )?;
        phases.run(
            "lock the packages",
            as_root("env")
                .arg(&ours.programs.builder)
                .arg("lock")
                .arg(&definition)
                .arg("--cache")
                .arg(ours.file("cache"))
                .arg("--output")
                .arg(ours.file("lock")),
        )?;
        phases.run("a first build, which fetches the packages", &mut ours.build("out"))?;
        ours.keep_packages_of_lock()?;
        Ok(ours)
    }

    /// Removes package files that the lock does not name: those of an earlier run would count as held, and raise the bound as well.
    fn keep_packages_of_lock(&self) -> Result<()> {
        let (lock, folder) = (self.file("lock"), self.file("cache/debs"));
        let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
        let files = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for file in files {
            let file = file
                .with_context(|| format!("cannot list {}", folder.display()))?
                .path();
            // It has the name of its hash.
            let hash = file.file_stem().unwrap_or_default().to_string_lossy();
            if !lock.contains(&*hash) {
                super::quietly(as_root("rm").arg(&file))?;
            }
        }
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A build into the folder `output`.
    fn build(&self, output: &str) -> Command {
        let mut command = self.build_of(&self.file("bench.toml"), "cache", output);
        command.arg("--lock").arg(self.file("lock"));
        command
    }

    fn build_of(&self, definition: &Path, cache: &str, output: &str) -> Command {
        let mut command = as_root("env");
        command.arg(&self.programs.builder).arg("build").arg(definition);
        command.args(["--version", VERSION, "--trust-root"]);
        command
            .arg(self.file("repo/metadata/root.json"))
            .arg("--init")
            .arg(&self.programs.init)
            .arg("--cache")
            .arg(self.file(cache))
            .arg("--output")
            .arg(self.file(output));
        command
    }

    /// Runs one build of the kind `case`.
    pub(super) fn run(&self, case: Case) -> Result<Cost> {
        if case == Case::Cold {
            // Everything but the package files.
            let keep = ["-mindepth", "1", "-maxdepth", "1", "!", "-name", "debs"];
            super::quietly(
                as_root("find")
                    .arg(self.file("cache"))
                    .args(keep)
                    .args(["-exec", "rm", "-rf", "{}", "+"]),
            )?;
            super::quietly(as_root("rm").arg("-rf").arg(self.file("out")))?;
        }
        measured(&self.build("out"), &[self.file("cache"), self.file("out")])
    }

    /// Bytes of the package files.
    pub(super) fn packages(&self) -> Result<u64> {
        disk::held(&[self.file("cache/debs")])
    }

    /// Bytes of the disk that the image takes, holes not counted.
    pub(super) fn image(&self) -> Result<u64> {
        disk::of_file(&self.artefact("out", "bench", "raw"))
    }

    /// Bytes of the kernel image.
    pub(super) fn kernel_image(&self) -> Result<u64> {
        crate::bench::size(&self.artefact("out", "bench", "efi"))
    }

    /// Builds `configs/minimal.toml` with the agent, and says how large its root is, in bytes.
    pub(super) fn minimal_root(&self, phases: &mut Phases) -> Result<u64> {
        let mut command = self.build_of("configs/minimal.toml".as_ref(), "minimal-cache", "minimal");
        phases.run(
            "build configs/minimal.toml",
            command.arg("--deb").arg(&self.programs.agent),
        )?;
        let path = self.artefact("minimal", "twinhull-minimal", "json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: serde_json::Value =
            serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))?;
        (manifest["root"]["size"].as_u64()).with_context(|| format!("{} names no size of the root", path.display()))
    }

    fn artefact(&self, output: &str, product: &str, ending: &str) -> PathBuf {
        self.file(output)
            .join(format!("{product}_{VERSION}_{}.{ending}", Arch::X86_64.name()))
    }
}

fn definition_text(place: &Place) -> Result<String> {
    let overlays = place.overlays()?.map(|overlay| overlay.display().to_string());
    let (packages, suite, kernel) = (content::PACKAGES, mkosi_host::SUITE, content::KERNEL);
    let (esp, root, state) = (layout::ESP, layout::ROOT, layout::STATE);
    Ok(format!(
        "product = \"bench\"\noverlays = {overlays:?}\n\
         [distribution]\nsuite = \"{suite}\"\n\
         [packages]\ninstall = {packages:?}\n\
         [kernel]\npackage = {{ x86_64 = \"{kernel}\" }}\n\
         [disk]\nesp = \"{esp} MiB\"\nroot = \"{root} MiB\"\nstate = \"{state} MiB\"\n"
    ))
}
