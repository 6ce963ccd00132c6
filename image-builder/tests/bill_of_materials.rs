//! The bill of materials, read by the SPDX project's own validator.
//!
//! `cargo xtask setup` installs it; without it nothing is looked at.

#![allow(clippy::unwrap_used)]

mod skip;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use skip::skip;
use twinhull::build::lock::Locked;
use twinhull::build::manifest::Manifest;
use twinhull::definition::container::Container;
use twinhull::sbom::{self, Origins};

/// Whether the validator finds nothing wrong, and what it says; nothing when it is not installed.
fn valid(text: &str) -> Option<(bool, String)> {
    let debug = Path::new(env!("CARGO_BIN_EXE_twinhull")).parent().unwrap();
    let validator: PathBuf = debug.with_file_name("tools/python/bin/pyspdxtools");
    if !validator.exists() {
        skip(format!("no {}", validator.display()));
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.spdx.json");
    fs::write(&path, text).unwrap();
    let output = Command::new(validator).arg("--infile").arg(&path).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

fn bill() -> String {
    let manifest: Manifest = serde_json::from_value(json!({
        "product": "twinhull-server", "version": "1.0.0", "arch": "x86_64", "time": 1_700_000_000,
        "root": {"size": 4096, "root_hash": "ab".repeat(32), "salt": "00".repeat(32), "verity_size": 4096},
        "uki": {"size": 1, "sha256": "00".repeat(32)},
        "packages": [
            {"name": "libstdc++6", "version": "14.2.0-19"},
            {"name": "login", "version": "1:4.16.0-2+really2.41-5"},
            {"name": "podman", "version": "5.4.2+ds1-2+b2"},
            {"name": "systemd", "version": "257.9-1~deb13u1"},
        ],
    }))
    .unwrap();
    let containers = [Container {
        repository: "registry.example.com:5000/team/app".into(),
        digest: "cd".repeat(32),
        quadlets: Vec::new(),
    }];
    let locked = |name: &str, version: &str, archive: &str| Locked {
        name: name.into(),
        version: version.into(),
        archive: archive.into(),
        path: "x.deb".into(),
        size: 1,
        sha256: "00".repeat(32),
    };
    let fetched = [
        locked("libstdc++6", "14.2.0-19", "debian"),
        locked("podman", "5.4.2+ds1-2+b2", "https://packages.example.com/debian"),
    ];
    let origins = Origins {
        suite: "trixie",
        fetched: &fetched.iter().collect::<Vec<_>>(),
        containers: &containers,
    };
    sbom::spdx(&manifest, origins).unwrap()
}

#[test]
fn spdx_validator_finds_nothing_wrong() {
    if let Some((good, said)) = valid(&bill()) {
        assert!(good, "{said}");
    }
}

#[test]
fn spdx_validator_would_find_what_is_wrong() {
    for spoil in [
        |bill: &mut Value| bill["packages"][1]["SPDXID"] = json!("package 1"),
        |bill: &mut Value| bill["relationships"][0]["relatedSpdxElement"] = json!("SPDXRef-nothing"),
        |bill: &mut Value| bill["creationInfo"]["created"] = json!("yesterday"),
    ] {
        let mut bill: Value = serde_json::from_str(&bill()).unwrap();
        spoil(&mut bill);
        if let Some((good, said)) = valid(&bill.to_string()) {
            assert!(!good, "{said}");
        }
    }
}
