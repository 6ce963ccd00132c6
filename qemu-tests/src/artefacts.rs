//! The folder of images and programs that a run needs; `docs/qemu-tests.md` says how it is laid out.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use twinhull_layout::{Arch, Product, RootHash, Version};

use crate::error::{Error, Result};
use crate::tools;

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
    /// What it is a release of.
    pub product: Product,
    /// Its version.
    pub version: Version,
    /// What it runs on.
    pub arch: Arch,
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

    /// Those for another architecture in the same folder.
    #[must_use]
    pub fn of(&self, arch: Arch) -> Self {
        Self {
            work: self.work.clone(),
            arch,
        }
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
    ///
    /// Below the folder, beside this program, or where a shell finds it.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let here = self.work.join("bin").join(name);
        let beside = std::env::current_exe()
            .ok()
            .and_then(|exe| Some(exe.parent()?.join(name)));
        let known = [Some(here.clone()), beside, tools::find(name)].into_iter().flatten();
        present(known.into_iter().find(|path| path.is_file()).unwrap_or(here))
    }

    /// The folder of the repository's secret keys.
    pub fn keys(&self) -> Result<PathBuf> {
        present(self.work.join("keys"))
    }

    /// The signed repository, which is copied and never changed.
    pub fn repository(&self) -> Result<PathBuf> {
        present(self.work.join("repo-pristine"))
    }

    /// The image of `version` of the product that scenarios are about.
    pub fn image(&self, version: &Version) -> Result<Image> {
        self.image_of(None, version)
    }

    /// The image of `version` of another product, if one is named. Its description is checked against its name.
    pub fn image_of(&self, product: Option<&Product>, version: &Version) -> Result<Image> {
        let product = product.map_or(PRODUCT, Product::as_str);
        let folder = self.work.join("images").join(version.to_string());
        let description = folder.join(format!("{product}_{version}_{}.json", self.arch));
        let image = Image::open(&description)?;
        if image.product.as_str() != product || image.version != *version || image.arch != self.arch {
            let found = format!("describes {} {} for {}", image.product, image.version, image.arch);
            return Err(Error::artefact(&description, found));
        }
        Ok(image)
    }
}

impl Image {
    /// The image that the builder described in the file `description` (`.json`), with its files beside it.
    pub fn open(description: &Path) -> Result<Self> {
        let description = present(description.to_owned())?;
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
        Ok(Self {
            disk: present(description.with_extension("raw"))?,
            uki: present(description.with_extension("efi"))?,
            description,
            product: said.product,
            version: said.version,
            arch: said.arch,
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
