//! The bill of materials beside an image: which packages are in it, in a form that scanners read.
//!
//! Specification: SPDX 2.3, JSON. The same build gives the same bytes: the time is that of the newest file in the image, and the
//! namespace follows from the root hash.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::build::lock::{self, Locked};
use crate::build::manifest::{Manifest, Package};
use crate::definition::container::Container;
use crate::error::{Error, Result};

/// Where what is in an image is from.
#[derive(Debug, Clone, Copy)]
pub struct Origins<'a> {
    /// The suite of Debian.
    pub suite: &'a str,
    /// The packages that were fetched. Those of the manifest that are not among them came as files, or with a base.
    pub fetched: &'a [&'a Locked],
    /// The container images that come with the release.
    pub containers: &'a [Container],
}

/// The document for the build that `manifest` describes.
///
/// # Errors
/// The time of the manifest cannot be.
pub fn spdx(manifest: &Manifest, origins: Origins<'_>) -> Result<String> {
    let name = manifest.name();
    let created = i64::try_from(manifest.time)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| Error::Content(format!("the time of {name} cannot be")))?;
    let mut unique = [0; 16];
    unique.copy_from_slice(&manifest.root.root_hash.as_bytes()[..16]);
    let unique = uuid::Builder::from_custom_bytes(unique).into_uuid();
    let image = json!({
        "SPDXID": "SPDXRef-image",
        "name": manifest.product,
        "versionInfo": manifest.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    });
    let arch = manifest.arch.debian();
    let packages = (manifest.packages.iter()).map(|package| of_package(package, arch, origins));
    let parts = packages.chain(origins.containers.iter().map(|container| of_container(container, arch)));
    let parts: Vec<Value> = parts.enumerate().map(|(index, part)| part.to_spdx(index)).collect();
    let relationships = (0..parts.len()).map(|index| {
        json!({
            "spdxElementId": "SPDXRef-image",
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": id(index),
        })
    });
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": namespace(unique),
        "creationInfo": {
            "created": created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "creators": [concat!("Tool: twinhull-", env!("CARGO_PKG_VERSION"))],
        },
        "documentDescribes": ["SPDXRef-image"],
        "packages": std::iter::once(image).chain(parts).collect::<Vec<Value>>(),
        "relationships": relationships.collect::<Vec<Value>>(),
    });
    let text = serde_json::to_string_pretty(&document)
        .map_err(|error| Error::Content(format!("cannot write the bill of materials: {error}")))?;
    Ok(text + "\n")
}

/// The list of packages: name and version, one a line.
pub fn list(manifest: &Manifest) -> String {
    let mut text = String::new();
    for Package { name, version } in &manifest.packages {
        let _ = writeln!(text, "{name} {version}");
    }
    text
}

/// One thing in an image.
struct Part {
    name: String,
    version: String,
    /// A package URL.
    locator: String,
}

impl Part {
    fn to_spdx(&self, index: usize) -> Value {
        json!({
            "SPDXID": id(index),
            "name": self.name,
            "versionInfo": self.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": self.locator,
            }],
        })
    }
}

/// A package with its vendor. Scanners compare versions with what that vendor has published, so nothing is called Debian's that is not.
fn of_package(package: &Package, arch: &str, origins: Origins<'_>) -> Part {
    let Package { name, version } = package;
    let fetched = origins.fetched.iter();
    let archive = (fetched.copied())
        .find(|one| one.name == *name && one.version == *version)
        .map(|one| one.archive.as_str());
    let what = format!("{}@{}?arch={arch}", escaped(name), escaped(version));
    let locator = match archive {
        Some(lock::MAIN | lock::SECURITY) => format!("pkg:deb/debian/{what}&distro={}", origins.suite),
        Some(uri) => {
            let host = uri.split_once("://").map_or(uri, |(_, rest)| rest);
            let host = host.split(['/', ':']).next().unwrap_or_default();
            format!("pkg:deb/{}/{what}&repository_url={}", escaped(host), escaped(uri))
        }
        None => format!("pkg:deb/{what}"),
    };
    Part {
        name: name.clone(),
        version: version.clone(),
        locator,
    }
}

fn of_container(container: &Container, arch: &str) -> Part {
    let version = format!("sha256:{}", container.digest);
    let name = container.repository.rsplit('/').next().unwrap_or_default();
    Part {
        locator: format!(
            "pkg:oci/{}@{}?arch={arch}&repository_url={}",
            escaped(name),
            escaped(&version),
            escaped(&container.repository)
        ),
        name: container.repository.clone(),
        version,
    }
}

/// Names may hold what an SPDX identifier may not, so packages are numbered.
fn id(index: usize) -> String {
    format!("SPDXRef-package-{index}")
}

fn namespace(unique: Uuid) -> String {
    format!("urn:uuid:{unique}")
}

/// Percent-encoding as the package URL specification asks: all but letters, digits and `.-_~:`.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_named_once_and_contained() {
        let manifest: Manifest = serde_json::from_value(json!({
            "product": "p", "version": "1.0.0", "arch": "x86_64", "time": 1_700_000_000,
            "root": {"size": 4096, "root_hash": "ab".repeat(32), "salt": "00".repeat(32), "verity_size": 4096},
            "uki": {"size": 1, "sha256": "00".repeat(32)},
            "packages": [
                {"name": "libstdc++6", "version": "1:14.2~1+b1"},
                {"name": "containerd.io", "version": "2"},
                {"name": "zlib1g", "version": "1"},
            ],
        }))
        .unwrap();
        let locked = |name: &str, version: &str, archive: &str| Locked {
            name: name.into(),
            version: version.into(),
            archive: archive.into(),
            path: "x.deb".into(),
            size: 1,
            sha256: "00".repeat(32),
        };
        let fetched = [
            locked("libstdc++6", "1:14.2~1+b1", lock::MAIN),
            locked("containerd.io", "2", "https://packages.example.com:8443/linux"),
            // A file took the place of this one.
            locked("zlib1g", "0.9", lock::MAIN),
        ];
        let fetched: Vec<&Locked> = fetched.iter().collect();
        let containers = [Container {
            repository: "registry.example.com:5000/team/app".into(),
            digest: "cd".repeat(32),
            quadlets: Vec::new(),
        }];
        let origins = Origins {
            suite: "trixie",
            fetched: &fetched,
            containers: &containers,
        };
        let text = spdx(&manifest, origins).unwrap();
        assert_eq!(spdx(&manifest, origins).unwrap(), text);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["creationInfo"]["created"], "2023-11-14T22:13:20Z");
        let packages = value["packages"].as_array().unwrap();
        let locators: Vec<&str> = (packages.iter().skip(1))
            .map(|package| package["externalRefs"][0]["referenceLocator"].as_str().unwrap())
            .collect();
        let app = format!(
            "pkg:oci/app@sha256:{}?arch=amd64&repository_url=registry.example.com:5000%2Fteam%2Fapp",
            "cd".repeat(32)
        );
        assert_eq!(
            locators,
            [
                "pkg:deb/debian/libstdc%2B%2B6@1:14.2~1%2Bb1?arch=amd64&distro=trixie",
                "pkg:deb/packages.example.com/containerd.io@2?arch=amd64&repository_url=https:%2F%2Fpackages.example.com:8443%2Flinux",
                "pkg:deb/zlib1g@1?arch=amd64",
                app.as_str(),
            ]
        );
        assert_eq!(value["relationships"].as_array().unwrap().len(), locators.len());
        for relationship in value["relationships"].as_array().unwrap() {
            let related = &relationship["relatedSpdxElement"];
            assert_eq!(
                packages.iter().filter(|package| package["SPDXID"] == *related).count(),
                1
            );
        }
        assert_eq!(list(&manifest), "libstdc++6 1:14.2~1+b1\ncontainerd.io 2\nzlib1g 1\n");
    }
}
