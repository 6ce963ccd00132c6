//! The container images of the definition: fetched once, allowed by its signature policy, kept in the cache.
//!
//! Specifications: OCI image manifest, index and configuration, version 1, and the older forms of the same that Docker's
//! registries have (image manifest version 2, schema 2). Every blob is hashed before it is used.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use twinhull_layout::Arch;

use super::oci::{self, Descriptor};
use super::{Context, forget, inputs};
use crate::definition::Definition;
use crate::definition::container::Container;
use crate::error::{Doing, Error, Result};
use crate::tools::root::ToolRoot;
use crate::tools::{Log, skopeo};
use crate::tree::signatures;
use crate::work::{IfBusy, Work};

/// The layout of a cache entry; changed when entries of an earlier build no longer mean the same.
const CACHE_FORMAT: &str = "1";

/// The most layers of an image: overlayfs takes 500 folders, and one is the container's own.
const MAX_LAYERS: usize = 499;

/// What an entry holds beside the blobs.
const MANIFEST: &str = "manifest.json";
const INDEX: &str = "index.json";

/// Where the definition's own overlays say where signatures are that do not lie in the registry.
const REGISTRIES: &str = "etc/containers/registries.d";

/// A whole image of one architecture, with every blob in a file.
#[derive(Debug)]
pub(crate) struct Image {
    /// What the definition calls it.
    pub(crate) reference: String,
    /// The index that the reference names; nothing when it names the manifest.
    pub(crate) index: Option<Document>,
    /// The manifest.
    pub(crate) manifest: Document,
    /// The configuration.
    pub(crate) config: Document,
    /// When it was made, as its configuration says it.
    pub(crate) created: Option<String>,
    /// The layers, the lowest first.
    pub(crate) layers: Vec<Layer>,
}

/// A document of an image.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its type.
    pub(crate) media_type: String,
    /// Its SHA-256, as 64 hexadecimal digits.
    pub(crate) hash: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// A layer.
#[derive(Debug)]
pub(crate) struct Layer {
    /// The SHA-256 of the file, as 64 hexadecimal digits.
    pub(crate) hash: String,
    /// The SHA-256 of the archive when it is decompressed.
    pub(crate) content: String,
    /// The file: an archive, compressed or not.
    pub(crate) path: PathBuf,
    /// Its size in bytes.
    pub(crate) size: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    media_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Config {
    architecture: String,
    os: String,
    created: Option<String>,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// What is fetched for, and where to.
#[derive(Debug, Clone, Copy)]
struct Request<'a> {
    log: &'a Log,
    tools: &'a ToolRoot,
    definition: &'a Definition,
    arch: Arch,
    /// The folder that keeps images.
    cache: &'a Path,
}

/// Has every image of the definition in the cache.
///
/// # Errors
/// A registry cannot be reached; an image is not there, is not for this architecture, or is not signed as the definition wants it.
pub(super) fn run(context: &Context<'_>, tools: &ToolRoot) -> Result<Vec<Image>> {
    let options = context.options;
    let request = Request {
        log: &context.log,
        tools,
        definition: context.definition,
        arch: options.arch,
        cache: if options.no_cache {
            &context.work
        } else {
            &options.cache
        },
    };
    (context.definition.containers.iter())
        .map(|container| image(request, container))
        .collect()
}

fn image(request: Request<'_>, container: &Container) -> Result<Image> {
    let arch = request.arch;
    let entry = (request.cache).join(format!("{}{}", forget::CONTAINER, key(request, container)?));
    if !entry.exists() {
        let work = Work::take(&entry.with_extension("part"), IfBusy::Wait)?;
        // Another build may have fetched it while this one waited.
        if !entry.exists() {
            let made = work.path().join("made");
            fetch(request, container, work.path(), &made)?;
            // What is not whole does not get its name.
            read(&made, container, arch)?;
            fs::rename(&made, &entry).doing("keep the container image in", &entry)?;
        }
    }
    forget::used(&entry);
    read(&entry, container, arch)
}

/// What an entry of the cache depends on: an image that another policy allowed is asked for again.
fn key(request: Request<'_>, container: &Container) -> Result<String> {
    let definition = request.definition;
    let mut hash = Sha256::new();
    for part in [CACHE_FORMAT, &container.reference(), request.arch.as_str()] {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(signatures::policy_text(&definition.signatures, &|number| {
        number.to_string()
    })?);
    for signature in &definition.signatures {
        hash.update(inputs::content(&signature.key).doing("read the key", &signature.key)?);
    }
    Ok(hex::encode(&hash.finalize()[..12]))
}

fn fetch(request: Request<'_>, container: &Container, work: &Path, to: &Path) -> Result<()> {
    let (log, definition) = (request.log, request.definition);
    let (policy, registries) = (work.join("policy.json"), work.join("registries.d"));
    let text = if definition.signatures.is_empty() {
        // The digest says which bytes; nobody asked whose they are.
        "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n".to_owned()
    } else {
        let keys: Vec<PathBuf> = (definition.signatures.iter())
            .map(|signature| std::path::absolute(&signature.key).doing("find the key", &signature.key))
            .collect::<Result<_>>()?;
        signatures::policy_text(&definition.signatures, &|number| {
            keys.get(number)
                .map(|key| key.display().to_string())
                .unwrap_or_default()
        })?
    };
    fs::write(&policy, text).doing("write", &policy)?;
    fs::create_dir(&registries).doing("make the folder", &registries)?;
    for overlay in &definition.overlays {
        let folder = overlay.join(REGISTRIES);
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let from = entry.doing("list", &folder)?.path();
            let to = registries.join(from.file_name().unwrap_or_default());
            fs::copy(&from, &to).doing("copy", &from)?;
        }
    }
    let ours = registries.join("twinhull-signatures.yaml");
    fs::write(&ours, signatures::registries(&definition.signatures)).doing("write", &ours)?;
    let reference = container.reference();
    let terms = skopeo::Terms {
        policy: &policy,
        registries: &registries,
    };
    skopeo::fetch_allowed(log, request.tools, &reference, request.arch, terms, to)?;
    let manifest = to.join(MANIFEST);
    if super::fetch::sha256(&manifest).doing("read", &manifest)? != container.digest {
        let path = to.join(INDEX);
        fs::write(&path, skopeo::raw(log, request.tools, &reference)?).doing("write", &path)?;
    }
    Ok(())
}

/// Reads an entry, every blob verified down from the digest of the reference.
fn read(entry: &Path, container: &Container, arch: Arch) -> Result<Image> {
    let reference = container.reference();
    let wrong = |problem: &str| Error::Content(format!("the container image {reference} {problem}"));
    let path = entry.join(MANIFEST);
    let text = oci::document(&path)?;
    let manifest: Manifest = oci::parse(&path, &text)?;
    let hash = hex::encode(Sha256::digest(&text));
    let index_path = entry.join(INDEX);
    let index = if hash == container.digest {
        None
    } else {
        let text = oci::document(&index_path)?;
        let index: Index = oci::parse(&index_path, &text)?;
        if hex::encode(Sha256::digest(&text)) != container.digest {
            return Err(wrong("is not what its digest says"));
        }
        if !index.manifests.iter().any(|one| one.hash() == Ok(hash.as_str())) {
            return Err(wrong("is an index that does not name the manifest which came with it"));
        }
        Some(Document {
            media_type: index
                .media_type
                .unwrap_or_else(|| "application/vnd.oci.image.index.v1+json".into()),
            hash: container.digest.clone(),
            path: index_path,
            size: text.len() as u64,
        })
    };
    let place = |descriptor: &Descriptor| -> Result<PathBuf> {
        let path = entry.join(descriptor.hash().map_err(wrong)?);
        oci::verify(&path, descriptor).map(|()| path)
    };
    let config_path = place(&manifest.config)?;
    let config: Config = oci::parse(&config_path, &oci::document(&config_path)?)?;
    if config.os != "linux" || config.architecture != arch.debian() {
        return Err(wrong(&format!(
            "is for {} on {}, and this image for linux on {}",
            config.os,
            config.architecture,
            arch.debian()
        )));
    }
    let contents = &config.rootfs.diff_ids;
    if contents.len() != manifest.layers.len() || contents.is_empty() || contents.len() > MAX_LAYERS {
        return Err(wrong(
            "has no layers, more than 499, or others than its configuration says",
        ));
    }
    let layers = manifest.layers.iter().zip(contents).map(|(layer, content)| {
        let content = content
            .strip_prefix("sha256:")
            .filter(|hash| hash.len() == 64 && hash.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)));
        Ok(Layer {
            hash: layer.hash().map_err(wrong)?.to_owned(),
            content: content
                .ok_or_else(|| wrong("names a layer by something else than sha256"))?
                .to_owned(),
            path: place(layer)?,
            size: layer.size,
        })
    });
    Ok(Image {
        index,
        manifest: Document {
            media_type: manifest
                .media_type
                .unwrap_or_else(|| "application/vnd.oci.image.manifest.v1+json".into()),
            hash,
            path,
            size: text.len() as u64,
        },
        created: config.created,
        layers: layers.collect::<Result<_>>()?,
        config: Document {
            media_type: manifest.config.media_type.clone(),
            hash: manifest.config.hash().map_err(wrong)?.to_owned(),
            path: config_path,
            size: manifest.config.size,
        },
        reference,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Entry {
        folder: tempfile::TempDir,
        container: Container,
    }

    fn blob(folder: &Path, content: &[u8]) -> serde_json::Value {
        let hash = hex::encode(Sha256::digest(content));
        fs::write(folder.join(&hash), content).unwrap();
        json!({ "mediaType": "x", "digest": format!("sha256:{hash}"), "size": content.len() })
    }

    fn entry(arch: &str, with_index: bool) -> Entry {
        let folder = tempfile::tempdir().unwrap();
        let layer = blob(folder.path(), b"layer");
        let config = json!({
            "architecture": arch, "os": "linux", "rootfs": { "diff_ids": [layer["digest"]] },
        });
        let config = blob(folder.path(), config.to_string().as_bytes());
        let manifest = json!({ "config": config, "layers": [layer] }).to_string();
        fs::write(folder.path().join(MANIFEST), &manifest).unwrap();
        let mut named = manifest;
        if with_index {
            named = json!({ "manifests": [blob(folder.path(), named.as_bytes())] }).to_string();
            fs::write(folder.path().join(INDEX), &named).unwrap();
        }
        Entry {
            folder,
            container: Container {
                repository: "r.example/app".into(),
                digest: hex::encode(Sha256::digest(&named)),
                quadlets: vec![],
            },
        }
    }

    fn said(entry: &Entry) -> String {
        read(entry.folder.path(), &entry.container, Arch::X86_64)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn image_is_read_from_its_manifest_or_from_an_index() {
        for with_index in [false, true] {
            let entry = entry("amd64", with_index);
            let image = read(entry.folder.path(), &entry.container, Arch::X86_64).unwrap();
            assert_eq!(image.index.is_some(), with_index);
            assert_eq!(image.layers.len(), 1);
            assert_eq!(image.manifest.hash == entry.container.digest, !with_index);
        }
    }

    #[test]
    fn every_byte_counts_down_to_the_layers() {
        let damaged = entry("amd64", false);
        let layer = hex::encode(Sha256::digest(b"layer"));
        fs::write(damaged.folder.path().join(layer), "lay3r").unwrap();
        assert!(said(&damaged).contains("is damaged"), "{}", said(&damaged));
        let other = entry("amd64", true);
        fs::copy(other.folder.path().join(INDEX), other.folder.path().join(MANIFEST)).unwrap();
        read(other.folder.path(), &other.container, Arch::X86_64).unwrap_err();
        let foreign = entry("amd64", true);
        let manifest = foreign.folder.path().join(MANIFEST);
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, text + "\n").unwrap();
        assert!(
            said(&foreign).contains("does not name the manifest"),
            "{}",
            said(&foreign)
        );
    }

    #[test]
    fn image_for_another_architecture_is_refused() {
        let other = entry("arm64", false);
        assert!(said(&other).contains("for linux on amd64"), "{}", said(&other));
    }
}
