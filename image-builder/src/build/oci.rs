//! An OCI image as the base of a tree: its layers, one over the other.
//!
//! Specifications: OCI image layout, image index, image manifest, and layer filesystem changeset (whiteouts), version 1.
//! Every blob is hashed before it is used; what the image says about running it (its configuration) is of no use here.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use twinhull_layout::Arch;

use super::fetch;
use crate::bounded;
use crate::definition::base::Oci;
use crate::error::{Doing, Error, Result};
use crate::tools::{Log, skopeo, tar};

/// The longest index or manifest that is read, in bytes.
const MAX_JSON: u64 = 4 << 20;

/// How many indices may lie over each other.
const MAX_DEPTH: usize = 3;

/// The most layers of an image.
const MAX_LAYERS: usize = 512;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYERS: [&str; 3] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
];

/// A file beside a name that this layer removes.
const WHITEOUT: &str = ".wh.";
/// A file in a folder of which this layer hides everything below.
const OPAQUE: &str = ".wh..wh..opq";

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    layers: Vec<Descriptor>,
}

/// What one document says about a blob.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// Unpacks the layers of `source` for `arch` into the folder `tree`; `work` is an absent folder for what must be fetched or
/// unpacked first.
pub(super) fn unpack(log: &Log, source: &Oci, arch: Arch, work: &Path, tree: &Path) -> Result<()> {
    let layout = match source {
        Oci::Layout(folder) => folder.clone(),
        Oci::Archive(file) => {
            fs::create_dir(work).doing("make the folder", work)?;
            tar::unpack(log, file, work)?;
            work.to_owned()
        }
        Oci::Registry(reference) => {
            skopeo::fetch(log, reference, arch, work)?;
            work.to_owned()
        }
    };
    let tree = &tree.canonicalize().doing("find", tree)?;
    for layer in layers(&layout, arch)? {
        if !LAYERS.contains(&layer.media_type.as_str()) {
            return Err(Error::Content(format!(
                "the layer {} is of type {}, and only tar, gzip and zstd are read",
                layer.digest, layer.media_type
            )));
        }
        apply(log, &blob(&layout, &layer)?, tree)?;
    }
    Ok(())
}

/// The layers of the image for `arch`, the lowest first.
fn layers(layout: &Path, arch: Arch) -> Result<Vec<Descriptor>> {
    let path = layout.join("index.json");
    let mut index: Index = parse(&path, &document(&path)?)?;
    for _ in 0..MAX_DEPTH {
        let chosen = choose(index.manifests, arch).map_err(|problem| wrong(layout, &problem))?;
        let path = blob(layout, &chosen)?;
        let text = document(&path)?;
        if chosen.media_type == INDEX {
            index = parse(&path, &text)?;
            continue;
        }
        let manifest: Manifest = parse(&path, &text)?;
        if manifest.layers.len() > MAX_LAYERS {
            return Err(wrong(layout, "its image has more than 512 layers"));
        }
        return Ok(manifest.layers);
    }
    Err(wrong(layout, "its indices lie more than 3 deep"))
}

/// The one manifest that is for `arch`. One without a platform is for any.
fn choose(manifests: Vec<Descriptor>, arch: Arch) -> Result<Descriptor, String> {
    let fits = |one: &Descriptor| {
        (one.platform.as_ref()).is_none_or(|platform| platform.os == "linux" && platform.architecture == arch.debian())
    };
    let mut fitting: Vec<Descriptor> = manifests.into_iter().filter(fits).collect();
    match (fitting.pop(), fitting.len()) {
        (Some(one), 0) => Ok(one),
        (None, _) => Err(format!("it holds no image for {arch}")),
        (Some(_), more) => Err(format!("it holds {} images for {arch}, and one is wanted", more + 1)),
    }
}

/// The file of a blob, once its size and its hash are those that are wanted.
fn blob(layout: &Path, wanted: &Descriptor) -> Result<PathBuf> {
    let path = layout
        .join("blobs/sha256")
        .join(wanted.hash().map_err(|problem| wrong(layout, problem))?);
    verify(&path, wanted)?;
    Ok(path)
}

/// Fails unless size and hash of the file `path` are those that are wanted.
pub(super) fn verify(path: &Path, wanted: &Descriptor) -> Result<()> {
    let hash = wanted.hash().map_err(|problem| wrong(path, problem))?;
    let size = path.metadata().doing("look at", path)?.len();
    if size == wanted.size && fetch::sha256(path).doing("read", path)? == hash {
        return Ok(());
    }
    Err(Error::Content(format!(
        "{} is damaged: its content is not what its name says",
        path.display()
    )))
}

impl Descriptor {
    /// The digest without the name of its algorithm: 64 small hexadecimal digits.
    pub(super) fn hash(&self) -> Result<&str, &'static str> {
        (self.digest.strip_prefix("sha256:"))
            .filter(|hash| hash.len() == 64 && hash.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)))
            .ok_or("a digest in it is no sha256")
    }
}

/// Unpacks one layer over `tree`, an absolute path without links.
fn apply(log: &Log, layer: &Path, tree: &Path) -> Result<()> {
    let names = tar::list(log, layer)?;
    for name in &names {
        let name = name.strip_prefix(".").unwrap_or(name);
        if name
            .components()
            .any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
        {
            return Err(Error::Content(format!(
                "a layer of the image names {}, which is no path in it",
                name.display()
            )));
        }
        let folder = tree.join(name.parent().unwrap_or(Path::new("")));
        // Through a link of an earlier layer, what is removed could lie outside the tree, on this very host. What is written could
        // not, since tar sees nothing but the tree; here it gets a clear word.
        match folder.canonicalize() {
            Ok(real) if real.starts_with(tree) => {}
            Err(error) if error.kind() == ErrorKind::NotFound && !leaves(tree, name) => continue,
            _ => {
                return Err(Error::Content(format!(
                    "a layer of the image writes {} through a link that leads out of it",
                    name.display()
                )));
            }
        }
        let Some(file) = name.file_name().map(OsStr::as_bytes) else {
            continue;
        };
        if file == OPAQUE.as_bytes() {
            for entry in fs::read_dir(&folder).doing("list", &folder)? {
                remove(&entry.doing("list", &folder)?.path())?;
            }
        } else if let Some(hidden) = file.strip_prefix(WHITEOUT.as_bytes()) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(Error::Content(format!(
                    "a layer of the image removes {}",
                    name.display()
                )));
            }
            remove(&folder.join(OsStr::from_bytes(hidden)))?;
        }
    }
    tar::unpack_layer(log, layer, tree, WHITEOUT)
}

/// Whether a folder above `name` is a link that leads nowhere, or out of the tree: the folders above that are there decide.
fn leaves(tree: &Path, name: &Path) -> bool {
    let mut folder = tree.to_owned();
    for part in name.parent().unwrap_or(Path::new("")).components() {
        folder.push(part);
        match folder.symlink_metadata() {
            Err(_) => return false,
            Ok(meta) if meta.is_symlink() && !folder.canonicalize().is_ok_and(|real| real.starts_with(tree)) => {
                return true;
            }
            Ok(_) => {}
        }
    }
    false
}

fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.doing("remove what a layer hides,", path)
}

/// Reads a document of an image.
pub(super) fn document(path: &Path) -> Result<Vec<u8>> {
    bounded::read(path, MAX_JSON).doing("read", path)
}

/// Reads the JSON `text`; `path` is where it is from.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text)
        .map_err(|error| Error::Content(format!("{} is no part of an OCI image: {error}", path.display())))
}

fn wrong(layout: &Path, problem: &str) -> Error {
    Error::Content(format!("{}: {problem}", layout.display()))
}

#[cfg(test)]
mod attacks;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};
    use std::process::Command;

    pub(super) struct Layout {
        folder: tempfile::TempDir,
        pub(super) layers: Vec<Value>,
    }

    impl Layout {
        pub(super) fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("oci/blobs/sha256")).unwrap();
            Self {
                folder,
                layers: Vec::new(),
            }
        }

        pub(super) fn path(&self) -> PathBuf {
            self.folder.path().join("oci")
        }

        pub(super) fn add(&self, media_type: &str, content: &[u8]) -> Value {
            let hash = hex::encode(Sha256::digest(content));
            fs::write(self.path().join("blobs/sha256").join(&hash), content).unwrap();
            json!({ "mediaType": media_type, "digest": format!("sha256:{hash}"), "size": content.len() })
        }

        /// A layer of what `script` makes in an empty folder.
        fn layer(mut self, script: &str) -> Self {
            let tree = tempfile::tempdir().unwrap();
            let status = Command::new("sh")
                .args(["-euc", script])
                .current_dir(&tree)
                .status()
                .unwrap();
            assert!(status.success());
            let file = self.folder.path().join("layer");
            let status = Command::new("tar")
                .args(["--create", "--gzip", "--file"])
                .arg(&file)
                .arg("--directory")
                .arg(tree.path())
                .arg(".")
                .status()
                .unwrap();
            assert!(status.success());
            let layer = self.add(LAYERS[1], &fs::read(&file).unwrap());
            self.layers.push(layer);
            self
        }

        pub(super) fn unpacked(&self) -> Result<PathBuf> {
            let manifest = json!({ "schemaVersion": 2, "layers": self.layers });
            let mut ours = self.add(
                "application/vnd.oci.image.manifest.v1+json",
                manifest.to_string().as_bytes(),
            );
            ours["platform"] = json!({ "architecture": "arm64", "os": "linux" });
            let mut other = ours.clone();
            other["platform"]["architecture"] = json!("amd64");
            other["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
            let index = json!({ "schemaVersion": 2, "manifests": [other, ours] });
            fs::write(self.path().join("index.json"), index.to_string()).unwrap();
            let log = Log::create(&self.folder.path().join("log")).unwrap();
            let tree = self.folder.path().join("tree");
            fs::create_dir(&tree).unwrap();
            let work = self.folder.path().join("work");
            unpack(&log, &Oci::Layout(self.path()), Arch::Aarch64, &work, &tree).map(|()| tree)
        }
    }

    #[test]
    fn later_layers_add_replace_and_remove() {
        let layout = Layout::new()
            .layer("mkdir -p usr/lib etc/old; ln -s usr/lib lib; echo 1 > etc/a; echo 1 > etc/b; echo 1 > etc/old/c")
            .layer("mkdir -p lib etc/old; echo 2 > etc/a; : > etc/.wh.b; : > etc/old/.wh..wh..opq; echo 2 > etc/old/d");
        let tree = layout.unpacked().unwrap();
        assert_eq!(fs::read_to_string(tree.join("etc/a")).unwrap(), "2\n");
        assert!(!tree.join("etc/b").exists() && !tree.join("etc/.wh.b").exists());
        assert!(!tree.join("etc/old/c").exists() && tree.join("etc/old/d").exists());
        assert!(!tree.join("etc/old/.wh..wh..opq").exists());
    }

    #[test]
    fn layer_that_leads_out_of_the_tree_is_refused() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "").unwrap();
        for name in ["precious", ".wh.precious", "new/file"] {
            let layout = Layout::new()
                .layer(&format!("ln -s {} way", outside.path().display()))
                .layer(&format!("mkdir -p way/new; : > way/{name}"));
            let error = layout.unpacked().unwrap_err().to_string();
            assert!(error.contains("leads out of it"), "{error}");
        }
        assert!(outside.path().join("precious").exists());
        assert!(!outside.path().join("new").exists());
    }

    #[test]
    fn damaged_blob_is_never_unpacked() {
        let layout = Layout::new().layer("echo 1 > a");
        let digest = layout.layers[0]["digest"].as_str().unwrap().replace("sha256:", "");
        let path = layout.path().join("blobs/sha256").join(digest);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(layout.unpacked().unwrap_err().to_string().contains("is damaged"));
    }
}
