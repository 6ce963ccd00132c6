//! A store of container images as podman reads it, without ever writing to it: an additional image store of
//! containers-storage.conf(5), for its driver overlay.
//!
//! Its form is that of containers/storage, which has no specification but its source: `overlay` holds each layer's files,
//! `overlay-layers` and `overlay-images` what is known about them. It is written here and not by podman because podman writes
//! random names and times into it, and must be able to mount. Names of layers are those that podman would give them, so that
//! an image it pulls later shares the layers that are here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::files::{self, locate, write};
use super::overlay::{self, Compression};
use crate::build::containers::{Document, Image, Layer};
use crate::error::{Doing, Error, Result};
use crate::tools::Log;

/// The store.
const STORE: &str = "/usr/lib/containers/storage";

/// What tells podman of it. Only the first of its configuration files that is there counts, and this is it.
const CONFIGURATION: &str = "/etc/containers/storage.conf";

/// A time for what has none that would be the same in every build.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// How long the short names of layers are: mount options have a limit.
const SHORT: usize = 26;

/// Writes the store into `tree`; `work` is a folder for what is unfinished.
pub(super) fn store(log: &Log, images: &[Image], work: &Path, tree: &Path) -> Result<()> {
    configure(tree)?;
    let (mut layers, mut records, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
    for image in images {
        let mut above: Vec<String> = Vec::new();
        for layer in &image.layers {
            let id = id(above.last(), layer);
            if known.insert(id.clone()) {
                layers.push(add_layer(log, layer, &id, &above, work, tree)?);
            }
            above.push(id);
        }
        records.push((image, above.pop().unwrap_or_default()));
    }
    write_json(tree, "overlay-layers/layers.json", &layers)?;
    let images = (by_config(records).into_values())
        .map(|same| add_image(&same, tree))
        .collect::<Result<Vec<Value>>>()?;
    write_json(tree, "overlay-images/images.json", &images)?;
    // They are opened even by those who only read.
    for lock in ["overlay-layers/layers.lock", "overlay-images/images.lock"] {
        write(tree, &format!("{STORE}/{lock}"), "", 0o644)?;
    }
    Ok(())
}

/// Names the store in podman's configuration, unless an overlay of the definition brought one.
fn configure(tree: &Path) -> Result<()> {
    let path = locate(tree, CONFIGURATION)?;
    if let Ok(text) = fs::read_to_string(&path) {
        let named = text
            .lines()
            .any(|line| !line.trim_start().starts_with('#') && line.contains(STORE));
        return if named {
            Ok(())
        } else {
            Err(Error::Content(format!(
                "{CONFIGURATION} of the image does not name the store of [[container]]: add additionalimagestores = [\"{STORE}\"] to [storage.options] there"
            )))
        };
    }
    let text = format!(
        "# Container images of this release are in a store of their own, which nobody writes to.\n[storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers/storage\"\ngraphroot = \"/var/lib/containers/storage\"\n\n[storage.options]\nadditionalimagestores = [\"{STORE}\"]\n"
    );
    write(tree, CONFIGURATION, text, 0o644)
}

/// One record for each configuration: the same image under two names is one image.
fn by_config(records: Vec<(&Image, String)>) -> BTreeMap<&str, Vec<(&Image, String)>> {
    let mut found: BTreeMap<&str, Vec<(&Image, String)>> = BTreeMap::new();
    for (image, top) in records {
        found.entry(&image.config.hash).or_default().push((image, top));
    }
    found
}

/// The name of a layer: its content, and what lies below.
fn id(below: Option<&String>, layer: &Layer) -> String {
    match below {
        None => layer.content.clone(),
        Some(below) => hex::encode(Sha256::digest(format!("{below}+{}", layer.content))),
    }
}

/// A name for a layer that is short, and the same in every build.
fn short(id: &str) -> String {
    id[..SHORT].to_uppercase()
}

/// Unpacks a layer and returns its record. `below` are the layers below, the lowest first.
fn add_layer(log: &Log, layer: &Layer, id: &str, below: &[String], work: &Path, tree: &Path) -> Result<Value> {
    let folder = format!("{STORE}/overlay/{id}");
    let diff = locate(tree, &format!("{folder}/diff"))?;
    let unpacked = overlay::unpack(log, layer, work, &diff)?;
    write(tree, &format!("{folder}/link"), short(id), 0o644)?;
    files::link(
        tree,
        &format!("{STORE}/overlay/l/{}", short(id)),
        &format!("../{id}/diff"),
    )?;
    if !below.is_empty() {
        let mut lower = String::new();
        for id in below.iter().rev() {
            let _ = write!(lower, "{}l/{}", if lower.is_empty() { "" } else { ":" }, short(id));
        }
        write(tree, &format!("{folder}/lower"), lower, 0o644)?;
    }
    let mut record = json!({
        "id": id,
        "created": EPOCH,
        "compressed-diff-digest": format!("sha256:{}", layer.hash),
        "compressed-size": layer.size,
        "diff-digest": format!("sha256:{}", layer.content),
        "diff-size": unpacked.size,
    });
    if let Some(below) = below.last() {
        record["parent"] = json!(below);
    }
    // Numbers of pkg/archive in containers/storage.
    match unpacked.compression {
        Compression::None => {}
        Compression::Gzip => record["compression"] = json!(2),
        Compression::Zstd => record["compression"] = json!(4),
    }
    Ok(record)
}

/// Writes the documents of images with one configuration and returns their record.
fn add_image(same: &[(&Image, String)], tree: &Path) -> Result<Value> {
    let Some((first, top)) = same.first() else {
        return Err(Error::Content("a container image has no name".into()));
    };
    let id = &first.config.hash;
    let mut documents: BTreeMap<String, &Document> = BTreeMap::from([
        (format!("sha256:{id}"), &first.config),
        ("manifest".to_owned(), &first.manifest),
    ]);
    for (image, _) in same {
        for document in image.index.iter().chain([&image.manifest]) {
            documents.insert(format!("manifest-sha256:{}", document.hash), document);
        }
    }
    let (mut sizes, mut digests) = (BTreeMap::new(), BTreeMap::new());
    for (name, document) in &documents {
        let content = fs::read(&document.path).doing("read", &document.path)?;
        write(
            tree,
            &format!("{STORE}/overlay-images/{id}/{}", file_name(name)),
            content,
            0o644,
        )?;
        sizes.insert(name, document.size);
        digests.insert(name, format!("sha256:{}", document.hash));
    }
    let names: Vec<&str> = same.iter().map(|(image, _)| image.reference.as_str()).collect();
    let created = (first.created.as_deref())
        .filter(|text| text.parse::<Timestamp>().is_ok())
        .unwrap_or(EPOCH);
    Ok(json!({
        "id": id,
        "digest": format!("sha256:{}", first.manifest.hash),
        "names": names,
        "layer": top,
        "metadata": "{}",
        "big-data-names": documents.keys().collect::<Vec<_>>(),
        "big-data-sizes": sizes,
        "big-data-digests": digests,
        "created": created,
    }))
}

/// The file that holds a document: names of small letters, digits and dots are their own.
fn file_name(name: &str) -> String {
    if name
        .bytes()
        .all(|c| c == b'.' || c.is_ascii_digit() || c.is_ascii_lowercase())
    {
        name.to_owned()
    } else {
        format!("={}", STANDARD.encode(name))
    }
}

fn write_json(tree: &Path, path: &str, value: &[Value]) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::Content(format!("cannot write the store of container images: {error}")))?;
    write(tree, &format!("{STORE}/{path}"), text, 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_of_the_definition_must_name_the_store() {
        let tree = tempfile::tempdir().unwrap();
        configure(tree.path()).unwrap();
        configure(tree.path()).unwrap();
        let path = tree.path().join(CONFIGURATION.trim_start_matches('/'));
        for text in ["[storage]\n", &format!("# additionalimagestores = [\"{STORE}\"]\n")] {
            fs::write(&path, text).unwrap();
            assert!(
                configure(tree.path())
                    .unwrap_err()
                    .to_string()
                    .contains("additionalimagestores")
            );
        }
    }

    #[test]
    fn names_are_those_of_containers_storage() {
        let layer = |content: &str| Layer {
            hash: String::new(),
            content: content.into(),
            path: "x".into(),
            size: 0,
        };
        let lowest = id(None, &layer("aa"));
        assert_eq!(lowest, "aa");
        let sum = hex::encode(Sha256::digest("aa+bb"));
        assert_eq!(id(Some(&lowest), &layer("bb")), sum);
        assert_eq!(file_name("manifest"), "manifest");
        assert_eq!(file_name("sha256:00"), "=c2hhMjU2OjAw");
    }
}
