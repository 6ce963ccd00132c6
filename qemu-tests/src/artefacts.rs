//! The folder of images and programs that a run needs; `docs/qemu-tests.md` says how it is laid out.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use twinhull_layout::{Arch, Product, RootHash, Version};

use crate::error::{Error, Result};

/// What the images are called.
pub const PRODUCT: &str = "twinhull-server";

/// The largest description of an image that is read, in bytes: mostly its list of packages.
const LARGEST: u64 = 8 << 20;

/// The folder given by `--work`.
#[derive(Debug, Clone)]
pub struct Artefacts {
    work: PathBuf,
    arch: Arch,
}

/// One built image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its description file, which `twinhull publish` takes.
    pub description: PathBuf,
    /// The disk.
    pub disk: PathBuf,
    /// The unified kernel image.
    pub uki: PathBuf,
    /// Its version.
    pub version: Version,
    /// The root hash of its root.
    pub root_hash: RootHash,
}

#[derive(Deserialize)]
struct Description {
    product: Product,
    version: Version,
    arch: Arch,
    root: Root,
}

#[derive(Deserialize)]
struct Root {
    root_hash: RootHash,
}

impl Artefacts {
    /// The artefacts for `arch` in `work`; nothing is looked at yet but that the folder is there.
    pub fn open(work: &Path, arch: Arch) -> Result<Self> {
        let work = work.canonicalize().map_err(|error| Error::artefact(work, error))?;
        Ok(Self { work, arch })
    }

    /// The folder itself.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// The architecture of the images.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// A program of ours: `twinhull` or `twinhull-lock`.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        present(self.work.join("bin").join(name))
    }

    /// The folder of the repository's secret keys.
    pub fn keys(&self) -> Result<PathBuf> {
        present(self.work.join("keys"))
    }

    /// The signed repository, which is copied and never changed.
    pub fn repository(&self) -> Result<PathBuf> {
        present(self.work.join("repo-pristine"))
    }

    /// The image of `version`, its description checked against its name.
    pub fn image(&self, version: &Version) -> Result<Image> {
        let folder = self.work.join("images").join(version.to_string());
        let file = |kind: &str| present(folder.join(format!("{PRODUCT}_{version}_{}.{kind}", self.arch)));
        let description = file("json")?;
        let size = std::fs::metadata(&description)
            .map_err(|error| Error::artefact(&description, error))?
            .len();
        if size > LARGEST {
            return Err(Error::artefact(
                &description,
                format!("{size} bytes; at most {LARGEST} are read"),
            ));
        }
        let text = std::fs::read(&description).map_err(|error| Error::artefact(&description, error))?;
        let said: Description = serde_json::from_slice(&text).map_err(|error| Error::artefact(&description, error))?;
        if said.product.as_str() != PRODUCT || said.version != *version || said.arch != self.arch {
            let found = format!("describes {} {} for {}", said.product, said.version, said.arch);
            return Err(Error::artefact(&description, found));
        }
        Ok(Image {
            description,
            disk: file("raw")?,
            uki: file("efi")?,
            version: said.version,
            root_hash: said.root.root_hash,
        })
    }
}

fn present(path: PathBuf) -> Result<PathBuf> {
    if path.exists() {
        Ok(path)
    } else {
        Err(Error::artefact(path, "is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work_with(json: &str) -> tempfile::TempDir {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("images/1.0.0");
        std::fs::create_dir_all(&folder).unwrap();
        for kind in ["raw", "efi"] {
            std::fs::write(folder.join(format!("{PRODUCT}_1.0.0_x86_64.{kind}")), b"").unwrap();
        }
        std::fs::write(folder.join(format!("{PRODUCT}_1.0.0_x86_64.json")), json).unwrap();
        work
    }

    fn image(json: &str) -> Result<Image> {
        let work = work_with(json);
        Artefacts::open(work.path(), Arch::X86_64)?.image(&"1.0.0".parse().unwrap())
    }

    const HASH: &str = "1111111111111111111111111111111111111111111111111111111111111111";

    #[test]
    fn fields_that_only_others_need_are_allowed() {
        let json = format!(
            r#"{{"product":"twinhull-server","version":"1.0.0","arch":"x86_64","root":{{"size":1,"root_hash":"{HASH}"}},"packages":[]}}"#
        );
        assert_eq!(image(&json).unwrap().root_hash.to_string(), HASH);
    }

    #[test]
    fn an_image_under_another_versions_name_is_refused() {
        let json = format!(
            r#"{{"product":"twinhull-server","version":"1.1.0","arch":"x86_64","root":{{"root_hash":"{HASH}"}}}}"#
        );
        let error = image(&json).unwrap_err();
        assert!(
            error.is_environment() && error.to_string().contains("describes twinhull-server 1.1.0"),
            "{error}"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let work = work_with("{}");
        let artefacts = Artefacts::open(work.path(), Arch::X86_64).unwrap();
        assert!(
            artefacts
                .program("twinhull-lock")
                .unwrap_err()
                .to_string()
                .contains("bin/twinhull-lock: is missing")
        );
    }
}
