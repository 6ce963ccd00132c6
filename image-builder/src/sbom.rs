//! The bill of materials beside an image: which packages are in it, in a form that scanners read.
//!
//! Specification: SPDX 2.3, JSON. The same build gives the same bytes: the time is that of the newest file in the image, and the
//! namespace follows from the root hash.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::build::manifest::{Manifest, Package};
use crate::error::{Error, Result};

/// The document for the build that `manifest` describes, whose packages are of the suite `suite`.
///
/// # Errors
/// The time of the manifest cannot be.
pub fn spdx(manifest: &Manifest, suite: &str) -> Result<String> {
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
    let packages = manifest.packages.iter().enumerate();
    let packages = packages.map(|(index, package)| describe(index, package, manifest.arch.debian(), suite));
    let relationships = (0..manifest.packages.len()).map(|index| {
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
        "packages": std::iter::once(image).chain(packages).collect::<Vec<Value>>(),
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

fn describe(index: usize, package: &Package, arch: &str, suite: &str) -> Value {
    let Package { name, version } = package;
    json!({
        "SPDXID": id(index),
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": format!(
                "pkg:deb/debian/{}@{}?arch={arch}&distro={suite}", escaped(name), escaped(version)
            ),
        }],
    })
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
            "packages": [{"name": "libstdc++6", "version": "1:14.2~1+b1"}, {"name": "zlib1g", "version": "1"}],
        }))
        .unwrap();
        let text = spdx(&manifest, "trixie").unwrap();
        assert_eq!(spdx(&manifest, "trixie").unwrap(), text);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["creationInfo"]["created"], "2023-11-14T22:13:20Z");
        assert_eq!(
            value["packages"][1]["externalRefs"][0]["referenceLocator"],
            "pkg:deb/debian/libstdc%2B%2B6@1:14.2~1%2Bb1?arch=amd64&distro=trixie"
        );
        let packages = value["packages"].as_array().unwrap();
        for relationship in value["relationships"].as_array().unwrap() {
            let related = &relationship["relatedSpdxElement"];
            assert_eq!(
                packages.iter().filter(|package| package["SPDXID"] == *related).count(),
                1
            );
        }
        assert_eq!(list(&manifest), "libstdc++6 1:14.2~1+b1\nzlib1g 1\n");
    }
}
