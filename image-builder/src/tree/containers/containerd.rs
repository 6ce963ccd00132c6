//! Container images for containerd, which has no read-only store: archives in the image, and a unit that imports them at boot,
//! before a kubelet could ask for them.
//!
//! Specifications: OCI image layout, version 1; the annotation and labels are containerd's.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;

use super::super::files::{folder, locate, write};
use crate::build::Context;
use crate::build::containers::{Document, Image};
use crate::error::{Doing, Error, Result};
use crate::tools::tar;

/// Where the archives are in the image.
const ARCHIVES: &str = "/usr/share/twinhull/containers";

/// The program that imports them.
const PROGRAM: &str = "/usr/lib/twinhull/import-containers";

/// The unit that runs it.
const UNIT: &str = "/usr/lib/systemd/system/twinhull-containers.service";

/// What enables that unit: it is the image's own, and no preset of the definition should have to know it.
const WANTED: &str = "/usr/lib/systemd/system/multi-user.target.wants/twinhull-containers.service";

const SERVICE: &str = "[Unit]
Description=Container images of this release
Requires=containerd.service
After=containerd.service
Before=kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/twinhull/import-containers
";

/// Marks images that came with a release, so that those of an earlier one can go.
const LABEL: &str = "org.twinhull.release";

/// Where containerd looks for how to reach a registry.
const HOSTS: &str = "/etc/containerd/certs.d";

/// Leads every registry nowhere: port 9 of this very host, where nothing listens.
const NOWHERE: &str = "# Written for the signature policy of this image. containerd cannot verify signatures: what may run here was verified when the
# image was built and comes with it, and nothing is pulled.
server = \"http://127.0.0.1:9\"
";

/// Writes archives, program and unit into `tree`; `work` is a folder for what is unfinished.
pub(super) fn archives(context: &Context<'_>, images: &[Image], work: &Path, tree: &Path) -> Result<()> {
    folder(tree, ARCHIVES)?;
    for image in images {
        let layout = work.join("layout");
        write_layout(image, &layout)?;
        let name = locate(tree, &archive(image))?;
        tar::pack(&context.log, &layout, &name)?;
        fs::remove_dir_all(&layout).doing("remove", &layout)?;
    }
    write(tree, PROGRAM, program(images), 0o755)?;
    write(tree, UNIT, SERVICE, 0o644)?;
    super::super::files::link(tree, WANTED, "../twinhull-containers.service")
}

/// Makes containerd pull nothing at all.
///
/// # Errors
/// Its configuration does not look where this is said.
pub(super) fn pull_nothing(tree: &Path) -> Result<()> {
    let path = locate(tree, "/etc/containerd/config.toml")?;
    let text = fs::read_to_string(&path).unwrap_or_default();
    let looks = (text.lines()).any(|line| {
        let line: String = line.split_whitespace().collect();
        line == format!("config_path=\"{HOSTS}\"")
    });
    if !looks {
        return Err(Error::Content(format!(
            "[[signature]] wants signed images only, and containerd cannot verify signatures: it is kept from pulling any. For that /etc/containerd/config.toml of the image must have config_path = \"{HOSTS}\" in the registry section of the plugin cri"
        )));
    }
    let hosts = locate(tree, HOSTS)?;
    let others = super::super::files::list(&hosts)?;
    if let Some(other) = others
        .iter()
        .find(|path| path.file_name().is_some_and(|name| name != "_default"))
    {
        return Err(Error::Content(format!(
            "{} of the image says how to reach a registry, and with [[signature]] containerd pulls nothing; remove one of the two",
            super::super::in_image(tree, other)
        )));
    }
    write(tree, &format!("{HOSTS}/_default/hosts.toml"), NOWHERE, 0o644)
}

/// Where the archive of an image is.
fn archive(image: &Image) -> String {
    format!("{ARCHIVES}/{}.tar", named(image).hash)
}

/// What the reference of an image names.
fn named(image: &Image) -> &Document {
    image.index.as_ref().unwrap_or(&image.manifest)
}

/// Writes the new folder `layout` in the form of an OCI image layout.
fn write_layout(image: &Image, layout: &Path) -> Result<()> {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).doing("make the folder", &blobs)?;
    let documents = image.index.iter().chain([&image.manifest, &image.config]);
    let files = documents.map(|document| (&document.hash, &document.path));
    for (hash, path) in files.chain(image.layers.iter().map(|layer| (&layer.hash, &layer.path))) {
        fs::copy(path, blobs.join(hash)).doing("copy", path)?;
    }
    let top = named(image);
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": top.media_type,
            "digest": format!("sha256:{}", top.hash),
            "size": top.size,
            "annotations": { "io.containerd.image.name": image.reference },
        }],
    });
    for (name, text) in [
        ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" })),
        ("index.json", index),
    ] {
        let path = layout.join(name);
        fs::write(&path, text.to_string()).doing("write", &path)?;
    }
    Ok(())
}

/// The program: imports what is in this release and removes what was in another. Kubernetes must not clean away what no
/// registry is asked for.
fn program(images: &[Image]) -> String {
    let mut text = String::from(
        "#!/bin/sh\n# Imports the container images of this release into containerd, and removes those of another.\nset -eu\nctr() { /usr/bin/ctr --namespace k8s.io \"$@\"; }\nkept=\"\n",
    );
    for image in images {
        let _ = writeln!(text, "{}", image.reference);
    }
    text.push_str("\"\n");
    for image in images {
        let _ = writeln!(
            text,
            "ctr images import {}\nctr images label {} {LABEL}=yes io.cri-containerd.pinned=pinned io.cri-containerd.image=managed",
            archive(image),
            image.reference
        );
    }
    let _ = write!(
        text,
        "for image in $(ctr images list --quiet 'labels.\"{LABEL}\"==yes'); do\n    case $kept in\n    *\"\n$image\n\"*) ;;\n    *) ctr images remove \"$image\" ;;\n    esac\ndone\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_without_a_way_to_enforce_it_is_refused() {
        let tree = tempfile::tempdir().unwrap();
        assert!(
            pull_nothing(tree.path())
                .unwrap_err()
                .to_string()
                .contains("config_path")
        );
        let containerd = tree.path().join("etc/containerd");
        fs::create_dir_all(&containerd).unwrap();
        fs::write(
            containerd.join("config.toml"),
            "# config_path = \"/etc/containerd/certs.d\"\n",
        )
        .unwrap();
        pull_nothing(tree.path()).unwrap_err();
        fs::write(
            containerd.join("config.toml"),
            "[plugins.x.registry]\n  config_path = \"/etc/containerd/certs.d\"\n",
        )
        .unwrap();
        pull_nothing(tree.path()).unwrap();
        let hosts = containerd.join("certs.d");
        assert!(
            fs::read_to_string(hosts.join("_default/hosts.toml"))
                .unwrap()
                .contains("127.0.0.1:9")
        );
        fs::create_dir(hosts.join("r.example")).unwrap();
        assert!(
            pull_nothing(tree.path())
                .unwrap_err()
                .to_string()
                .contains("/etc/containerd/certs.d/r.example")
        );
    }
}
