//! A generator of repositories, right and wrong ones. It writes the metadata as plain JSON and shares nothing with the
//! client but canonical JSON and the signing key, so an error in the client's types does not hide here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use twinhull_layout::{Arch, Product, Version};
use twinhull_trust::{
    ChannelDocument, Client, FixedClock, Refreshed, ReleaseDocument, SecretKey, Target, TrustError, canonical,
};

use crate::server::Server;

pub(crate) const NOW: &str = "2026-01-01T00:00:00Z";
pub(crate) const EXPIRES: &str = "2026-03-01T00:00:00Z";
pub(crate) const TOP_LEVEL: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// A repository with the roles of the design, the keys of all of them, and one host that reads it.
pub(crate) struct World {
    pub(crate) server: Server,
    /// The signed part of every role, delegated ones included.
    pub(crate) roles: BTreeMap<String, Value>,
    /// Who signs each role.
    pub(crate) signers: BTreeMap<String, Vec<SecretKey>>,
    pub(crate) shipped_root: Vec<u8>,
    pub(crate) now: Timestamp,
    home: TempDir,
}

/// A folder in memory where there is one: thousands of small durable writes would wait for a disk.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// The key of this label, always the same one.
pub(crate) fn key(label: &str) -> SecretKey {
    SecretKey::from_seed(Sha256::digest(label.as_bytes()).into())
}

pub(crate) fn public(key: &SecretKey) -> Value {
    json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": hex::encode(key.public())}})
}

/// A metadata file: `signed` and a signature of each key.
pub(crate) fn signed_by(signed: &Value, keys: &[SecretKey]) -> Vec<u8> {
    let message = canonical::to_vec(signed).unwrap();
    let signatures: Vec<Value> = keys
        .iter()
        .map(|key| json!({"keyid": key.id(), "sig": hex::encode(key.sign(&message))}))
        .collect();
    json!({"signatures": signatures, "signed": signed})
        .to_string()
        .into_bytes()
}

/// What a server with tags calls a file.
pub(crate) fn tag_of(bytes: &[u8]) -> String {
    format!("\"{}\"", hex::encode(&Sha256::digest(bytes)[..8]))
}

pub(crate) fn product() -> Product {
    "demo".parse().unwrap()
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            server: Server::default(),
            roles: BTreeMap::new(),
            signers: BTreeMap::new(),
            shipped_root: Vec::new(),
            now: NOW.parse().unwrap(),
            home: scratch(),
        };
        let role = |kind: &str| json!({"_type": kind, "spec_version": "1.0.34", "version": 1, "expires": EXPIRES});
        for kind in TOP_LEVEL {
            world.roles.insert(kind.to_owned(), role(kind));
        }
        world.roles.get_mut("root").unwrap()["consistent_snapshot"] = json!(true);
        world.roles.get_mut("targets").unwrap()["targets"] = json!({});
        for name in TOP_LEVEL {
            world.set_keys(name, &[key(name)], 1);
        }
        world.delegate("targets", "releases", &["releases/*/*/*.json"], true);
        world.delegate("targets", "channels", &["channels/*/*.json"], true);
        world.publish();
        world.shipped_root = world.server.files["metadata/1.root.json"].clone();
        world
    }

    /// As [`World::new`], with release 1.0.0 on channel `stable`.
    pub(crate) fn with_release() -> Self {
        let mut world = Self::new();
        world.add_release("1.0.0");
        world.offer("1.0.0");
        world.advance(&["releases", "channels"]);
        world
    }

    /// Gives a top-level role its keys, and signs it with them.
    pub(crate) fn set_keys(&mut self, role: &str, keys: &[SecretKey], threshold: u32) {
        let root = self.roles.get_mut("root").unwrap();
        for key in keys {
            root["keys"][key.id()] = public(key);
        }
        let ids: Vec<String> = keys.iter().map(SecretKey::id).collect();
        root["roles"][role] = json!({"keyids": ids, "threshold": threshold});
        self.signers.insert(role.to_owned(), keys.to_vec());
    }

    /// Adds a delegation to an empty role with a key of its own.
    pub(crate) fn delegate(&mut self, from: &str, to: &str, paths: &[&str], terminating: bool) {
        let own = key(to);
        let delegator = self.roles.get_mut(from).unwrap();
        delegator["delegations"]["keys"][own.id()] = public(&own);
        let entry =
            json!({"name": to, "keyids": [own.id()], "threshold": 1, "paths": paths, "terminating": terminating});
        match delegator["delegations"]["roles"].as_array_mut() {
            Some(roles) => roles.push(entry),
            None => delegator["delegations"]["roles"] = json!([entry]),
        }
        let empty =
            json!({"_type": "targets", "spec_version": "1.0.34", "version": 1, "expires": EXPIRES, "targets": {}});
        self.roles.entry(to.to_owned()).or_insert(empty);
        self.signers.entry(to.to_owned()).or_insert_with(|| vec![own]);
    }

    /// Lists `bytes` as a target of `role`, and serves them.
    pub(crate) fn add_target(&mut self, role: &str, name: &str, bytes: &[u8]) {
        let hash = hex::encode(Sha256::digest(bytes));
        self.roles.get_mut(role).unwrap()["targets"][name] = json!({"length": bytes.len(), "hashes": {"sha256": hash}});
        let file = match name.rsplit_once('/') {
            Some((folder, file)) => format!("targets/{folder}/{hash}.{file}"),
            None => format!("targets/{hash}.{name}"),
        };
        self.server.files.insert(file, bytes.to_vec());
    }

    pub(crate) fn add_release(&mut self, version: &str) {
        let bytes = release_document(version, Arch::X86_64).to_bytes().unwrap();
        self.add_target("releases", &format!("releases/demo/x86_64/{version}.json"), &bytes);
    }

    pub(crate) fn offer(&mut self, version: &str) {
        let bytes = channel_document(version).to_bytes().unwrap();
        self.add_target("channels", "channels/demo/stable.json", &bytes);
    }

    pub(crate) fn version_of(&self, role: &str) -> u64 {
        self.roles[role]["version"].as_u64().unwrap()
    }

    pub(crate) fn set(&mut self, role: &str, field: &str, value: Value) {
        self.roles.get_mut(role).unwrap()[field] = value;
    }

    /// Counts up the version of a role.
    pub(crate) fn bump(&mut self, role: &str) {
        let next = self.version_of(role) + 1;
        self.set(role, "version", json!(next));
    }

    /// Publishes a new version of `roles`, snapshot and timestamp.
    pub(crate) fn advance(&mut self, roles: &[&str]) {
        for role in roles.iter().chain(&["snapshot", "timestamp"]) {
            self.bump(role);
        }
        self.publish();
    }

    /// Publishes a new root with whatever keys were set, signed by `also` too.
    pub(crate) fn advance_root(&mut self, also: &[SecretKey]) {
        self.bump("root");
        let mut keys = self.signers["root"].clone();
        keys.extend_from_slice(also);
        self.put(
            &format!("metadata/{}.root.json", self.version_of("root")),
            signed_by(&self.roles["root"], &keys),
        );
    }

    /// Signs every role as it is and puts its file, with matching entries in snapshot and timestamp.
    pub(crate) fn publish(&mut self) {
        let names: Vec<String> = self.roles.keys().cloned().collect();
        for name in names
            .iter()
            .filter(|name| !["snapshot", "timestamp"].contains(&name.as_str()))
        {
            let bytes = self.file_of(name);
            if name != "root" {
                let record = record(self.version_of(name), &bytes);
                self.roles.get_mut("snapshot").unwrap()["meta"][format!("{name}.json")] = record;
            }
            self.put(&self.path_of(name), bytes);
        }
        self.publish_online();
    }

    /// Signs snapshot and timestamp as they are, the timestamp naming this snapshot.
    pub(crate) fn publish_online(&mut self) {
        let snapshot = self.file_of("snapshot");
        self.roles.get_mut("timestamp").unwrap()["meta"] =
            json!({"snapshot.json": record(self.version_of("snapshot"), &snapshot)});
        self.put(&self.path_of("snapshot"), snapshot);
        let timestamp = self.file_of("timestamp");
        self.put("metadata/timestamp.json", timestamp);
    }

    pub(crate) fn file_of(&self, role: &str) -> Vec<u8> {
        signed_by(&self.roles[role], &self.signers[role])
    }

    /// The path that a role's present version is served at.
    pub(crate) fn path_of(&self, role: &str) -> String {
        if role == "timestamp" {
            return "metadata/timestamp.json".to_owned();
        }
        format!("metadata/{}.{}.json", self.version_of(role), role.replace('/', "%2F"))
    }

    pub(crate) fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.server.files.insert(path.to_owned(), bytes);
    }

    /// Where the host keeps its metadata.
    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().join("metadata")
    }

    pub(crate) fn home_file(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    pub(crate) fn later(&mut self, hours: i64) {
        self.now += SignedDuration::from_hours(hours);
    }

    /// Opens the host's client, as after a restart.
    pub(crate) fn client(&self) -> Result<Client, TrustError> {
        Client::open(&self.home(), &self.shipped_root)
    }

    /// A refresh after a restart.
    pub(crate) fn refresh(&mut self) -> Result<Refreshed, TrustError> {
        let clock = FixedClock(self.now);
        self.client()?.refresh(&mut self.server, &clock)
    }

    pub(crate) fn find(&mut self, name: &str) -> Result<Option<Target>, TrustError> {
        let clock = FixedClock(self.now);
        self.client()?.find(&mut self.server, &clock, name)
    }

    /// All that a host does before it acts: refresh, channel, release.
    pub(crate) fn turn(&mut self) -> Result<(ChannelDocument, ReleaseDocument), TrustError> {
        let clock = FixedClock(self.now);
        let mut client = self.client()?;
        client.refresh(&mut self.server, &clock)?;
        let channel = client.channel(&mut self.server, &clock, &product(), "stable")?;
        let wanted = &channel.releases[&Arch::X86_64];
        let release = client.release(&mut self.server, &clock, &product(), Arch::X86_64, wanted)?;
        Ok((channel, release))
    }

    pub(crate) fn file_exists_under_home(&self, name: &str) -> bool {
        fn walk(folder: &Path, name: &str) -> bool {
            std::fs::read_dir(folder).unwrap().any(|entry| {
                let path = entry.unwrap().path();
                path.file_name().unwrap() == name || (path.is_dir() && walk(&path, name))
            })
        }
        walk(self.home.path(), name)
    }
}

fn record(version: u64, bytes: &[u8]) -> Value {
    json!({"version": version, "length": bytes.len(), "hashes": {"sha256": hex::encode(Sha256::digest(bytes))}})
}

pub(crate) fn channel_document(version: &str) -> ChannelDocument {
    let mut document = ChannelDocument::new(product(), "stable");
    document.releases.insert(Arch::X86_64, version.parse().unwrap());
    document
}

pub(crate) fn release_document(version: &str, arch: Arch) -> ReleaseDocument {
    let payload = |byte: u8| {
        json!({"path": format!("payloads/{}.thp", hex::encode([byte; 32])), "size": 1 << 20,
        "header_size": 4096, "header_sha256": hex::encode([byte; 32])})
    };
    let mut delta = payload(2);
    delta["base"] = json!(hex::encode([9; 32]));
    serde_json::from_value(json!({
        "product": "demo", "version": version, "arch": arch.to_string(),
        "root": {"size": 1 << 21, "root_hash": hex::encode([1; 32]), "salt": hex::encode([3; 32]),
            "verity_size": 4096 * 6, "payloads": [payload(1), delta]},
        "uki": {"size": 12345, "sha256": hex::encode([4; 32]), "payloads": [payload(5)]},
        "minimum_from": "0.9", "packages": [{"name": "systemd", "version": "257-1"}], "created": NOW,
    }))
    .unwrap()
}
