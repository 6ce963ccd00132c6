//! A scenario's own copy of the signed repository, and what it offers.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use twinhull_layout::{Arch, Product, Version};
use twinhull_trust::{ChannelDocument, Keyring, ReleaseDocument, Setup, release_target};

use crate::artefacts::{Artefacts, Image};
use crate::error::{Error, Result};
use crate::tools;

/// The channel that hosts follow when nothing else is configured.
const CHANNEL: &str = "stable";

/// A signed repository that a scenario may change.
#[derive(Debug, Clone)]
pub struct Repository {
    folder: PathBuf,
    keys: PathBuf,
    arch: Arch,
    publish: PathBuf,
    log: PathBuf,
}

impl Repository {
    /// Copies the repository of the artefacts to `folder`. Files are shared by hard links: whoever changes one replaces it.
    pub async fn copy(artefacts: &Artefacts, folder: &Path, log: &Path) -> Result<Self> {
        Self::copy_of(&artefacts.repository()?, artefacts.keys()?, artefacts, folder, log).await
    }

    /// As [`Repository::copy`], of another repository with other keys.
    pub async fn copy_of(
        original: &Path,
        keys: PathBuf,
        artefacts: &Artefacts,
        folder: &Path,
        log: &Path,
    ) -> Result<Self> {
        // Its content, also where `original` is a symbolic link: a copy of the link would lead back to what must not change.
        let content = original.join(".");
        let mut copy = Command::new(tools::program("cp")?);
        copy.args(["--archive", "--link", "--"]).arg(&content).arg(folder);
        // Across file systems there are no links.
        if tools::output(&mut copy).await.is_err() {
            let mut copy = Command::new(tools::program("cp")?);
            copy.args(["--archive", "--"]).arg(&content).arg(folder);
            tools::output(&mut copy).await?;
        }
        Self::at(artefacts, folder, keys, log)
    }

    /// A repository in `folder` that offers the same release, payloads and all, but signed by keys that no image trusts.
    pub async fn signed_by_others(&self, folder: &Path, release: &ReleaseDocument) -> Result<Self> {
        let keys = folder.with_extension("keys");
        let mut made =
            twinhull_trust::Repository::init(folder, &keys, &Setup::default()).map_err(|error| self.failed(error))?;
        made.add_release(release).map_err(|error| self.failed(error))?;
        made.commit().map_err(|error| self.failed(error))?;
        let mut copy = Command::new(tools::program("cp")?);
        copy.args(["--archive", "--link", "--"])
            .arg(self.folder.join("payloads"))
            .arg(folder);
        tools::output(&mut copy).await?;
        let other = Self {
            folder: folder.to_owned(),
            keys,
            ..self.clone()
        };
        other.set_channel(&release.product, &release.version)?;
        Ok(other)
    }

    fn at(artefacts: &Artefacts, folder: &Path, keys: PathBuf, log: &Path) -> Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            keys,
            arch: artefacts.arch(),
            publish: artefacts.program("twinhull")?,
            log: log.to_owned(),
        })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Offers a built image, as a full payload and as the difference from `base`. A release that is published already
    /// is only offered.
    pub async fn offer(&self, image: &Image, base: Option<&Image>) -> Result<ReleaseDocument> {
        if self.published(image)?.is_none() {
            let mut publish = Command::new(&self.publish);
            publish
                .args(["publish", "--repo"])
                .arg(&self.folder)
                .arg("--keys")
                .arg(&self.keys);
            publish.args(["--channel", CHANNEL]).arg(&image.description);
            if let Some(base) = base {
                publish.arg("--base").arg(&base.description);
            }
            self.logged(&mut publish).await?;
        }
        self.set_channel(&image.product, &image.version)?;
        self.published(image)?
            .ok_or_else(|| self.failed(format!("{} was not published", image.version)))
    }

    /// Publishes and offers `like` under another version: rightly signed, whatever is in it.
    pub fn offer_as(&self, like: &ReleaseDocument, version: &Version) -> Result<()> {
        let mut repository = self.open()?;
        let release = ReleaseDocument {
            version: version.clone(),
            ..like.clone()
        };
        repository.add_release(&release).map_err(|error| self.failed(error))?;
        repository.commit().map_err(|error| self.failed(error))?;
        self.set_channel(&like.product, version)
    }

    /// Offers, rightly signed and under the name of this architecture, a release for another one.
    pub fn offer_for_other_architecture(&self, like: &ReleaseDocument) -> Result<()> {
        let other = match self.arch {
            Arch::X86_64 => Arch::Aarch64,
            Arch::Aarch64 => Arch::X86_64,
        };
        let wrong = ReleaseDocument {
            arch: other,
            ..like.clone()
        };
        let bytes = wrong.to_bytes().map_err(|error| self.failed(error))?;
        let name = release_target(&like.product, self.arch, &like.version);
        let mut repository = self.open()?;
        repository
            .add_target_bytes("releases", &name, bytes)
            .map_err(|error| self.failed(error))?;
        repository.commit().map_err(|error| self.failed(error))?;
        self.set_channel(&like.product, &like.version)
    }

    /// Says what the channel offers from now on.
    fn set_channel(&self, product: &Product, version: &Version) -> Result<()> {
        let mut document = ChannelDocument::new(product.clone(), CHANNEL);
        document.releases.insert(self.arch, version.clone());
        let mut repository = self.open()?;
        repository.set_channel(&document).map_err(|error| self.failed(error))?;
        repository.commit().map(drop).map_err(|error| self.failed(error))
    }

    fn published(&self, image: &Image) -> Result<Option<ReleaseDocument>> {
        let release = self.open()?.release(&image.product, self.arch, &image.version);
        release.map_err(|error| self.failed(error))
    }

    fn open(&self) -> Result<twinhull_trust::Repository> {
        let keys = Keyring::load(&self.keys).map_err(|error| self.failed(error))?;
        twinhull_trust::Repository::open(&self.folder, &keys).map_err(|error| self.failed(error))
    }

    async fn logged(&self, command: &mut Command) -> Result<()> {
        let output = tools::output(command).await;
        let text = match &output {
            Ok(text) => text.clone(),
            Err(error) => error.to_string(),
        };
        std::fs::write(&self.log, text).map_err(|source| Error::file("write the log", &self.log, source))?;
        output.map(drop)
    }

    fn failed(&self, reason: impl std::fmt::Display) -> Error {
        Error::artefact(&self.folder, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_to_a_copy_does_not_reach_a_repository_behind_a_link() {
        let work = tempfile::tempdir().unwrap();
        let (original, copy) = (work.path().join("elsewhere"), work.path().join("copy"));
        for path in [
            original.join("metadata"),
            work.path().join("keys"),
            work.path().join("bin"),
        ] {
            std::fs::create_dir_all(path).unwrap();
        }
        std::fs::write(original.join("metadata/1.root.json"), "{}").unwrap();
        std::fs::write(work.path().join("bin/twinhull"), "").unwrap();
        std::os::unix::fs::symlink(&original, work.path().join("repo-pristine")).unwrap();
        let artefacts = Artefacts::open(work.path(), Arch::X86_64).unwrap();

        Repository::copy(&artefacts, &copy, &work.path().join("log"))
            .await
            .unwrap();
        std::fs::remove_file(copy.join("metadata/1.root.json")).unwrap();
        assert!(original.join("metadata/1.root.json").exists());
    }
}
