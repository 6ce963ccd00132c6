//! The peer's image: what is in ours, put together by mkosi as its manual has it for a disk that cannot be written to.
//!
//! Its root is erofs under a hash tree, as ours is, with what is written kept in memory, but for `/var`, which is on the state partition.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::bench::mkosi_host::{self, Content, MkosiHost};
use crate::phase::Phases;
use crate::privilege::as_root;

/// What of our root belongs to the container: it is laid over the peer's tree as it is.
const OF_THE_CONTAINER: [&str; 3] = [
    "etc/containers",
    "usr/lib/containers/storage",
    "usr/share/containers/systemd",
];

/// What else the two have in common, out of `configs/overlays`.
const NETWORK: &str = "configs/overlays/base/usr/lib/systemd/network";

/// Our package, which has nothing to do there.
const AGENT: &str = "twinhull-updater";

/// The state, as our hosts have it at `/var`, too.
const FSTAB: &str = "PARTLABEL=state /var ext4 defaults 0 2\n";

/// The type of a root partition of `x86_64` (Discoverable Partitions Specification).
const ROOT_TYPE: &str = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";

/// What our hosts start. Debian would start whatever has a unit.
const PRESET: &str = "enable dbus-broker.service\nenable getty@.service\nenable ssh.service\nenable systemd-networkd.service\n\
                      enable systemd-resolved.service\nenable systemd-timesyncd.service\ndisable *\n";

/// Files of our own for the peer.
const EXTRA: [(&str, &str); 2] = [
    ("etc/fstab", FSTAB),
    ("usr/lib/systemd/system-preset/00-bench.preset", PRESET),
];

/// What is written is kept in memory, and nobody is asked anything at the first boot.
const SETTINGS: &str = "Locale=C.UTF-8\nTimezone=UTC\nHostname=bench\n\
                        KernelCommandLine=console=ttyS0 loglevel=4 systemd.volatile=overlay systemd.firstboot=no\n";

/// The image with its tool.
pub(super) struct Peer {
    host: MkosiHost,
    folder: PathBuf,
}

impl Peer {
    /// Builds it below `place` (absolute), with the content of the image that `ours` (a builder's `.json`) describes.
    pub(super) fn build(phases: &mut Phases, place: &Path, ours: &Path) -> Result<Self> {
        let folder = place.join(mkosi_host::NAME);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let shared = vec![place.to_owned(), std::path::absolute(NETWORK)?];
        let peer = Self {
            host: MkosiHost::prepare(phases, shared)?,
            folder,
        };
        let content = peer.folder.join("content");
        phases.run(
            "remove what an earlier run left",
            as_root("rm").arg("-rf").arg(&content),
        )?;
        let disk = ours.with_extension("raw");
        phases.run(
            "unpack our root for its container",
            peer.host
                .program("fsck.erofs")
                .arg(format!("--extract={}", content.display()))
                .arg(format!("--offset={}", root_of(&disk)?))
                .arg(&disk),
        )?;
        peer.configure(&content, ours)?;
        phases.run("build the same with mkosi", &mut peer.host.build(&peer.folder, &[]))?;
        Ok(peer)
    }

    pub(super) fn disk(&self) -> PathBuf {
        mkosi_host::disk(&self.folder)
    }

    pub(super) fn kernel_image(&self) -> PathBuf {
        mkosi_host::kernel_image(&self.folder)
    }

    pub(super) fn version(&self) -> Result<String> {
        self.host.version()
    }

    fn configure(&self, content: &Path, ours: &Path) -> Result<()> {
        let list = ours.with_extension("packages");
        let list = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        let network = std::path::absolute(NETWORK)?;
        let mut trees = vec![
            format!("{}/config/extra", self.folder.display()),
            format!("{}:/usr/lib/systemd/network", network.display()),
        ];
        trees.extend(OF_THE_CONTAINER.map(|path| format!("{}:/{path}", content.join(path).display())));
        let content = Content {
            settings: SETTINGS,
            trees: &trees,
            packages: &packages(&list),
        };
        mkosi_host::configure(&self.folder, &content)?;
        for (name, text) in EXTRA {
            mkosi_host::write(&self.folder, &format!("extra/{name}"), text)?;
        }
        Ok(())
    }
}

/// Where the root of slot A begins on a disk of ours, in bytes.
fn root_of(disk: &Path) -> Result<u64> {
    let output = Command::new("sfdisk").arg("--json").arg(disk).output();
    let output = output.context("cannot start sfdisk")?;
    first_root(&output.stdout).with_context(|| {
        let why = String::from_utf8_lossy(&output.stderr);
        format!("{} has no partition for a root: {why}", disk.display())
    })
}

/// The same, out of what sfdisk writes of a disk with sectors of 512 bytes.
fn first_root(json: &[u8]) -> Option<u64> {
    let table: serde_json::Value = serde_json::from_slice(json).ok()?;
    let partitions = table.pointer("/partitiontable/partitions")?.as_array()?;
    let root = partitions.iter().find(|partition| partition["type"] == ROOT_TYPE)?;
    Some(root["start"].as_u64()? * 512)
}

/// Names of packages, out of a list of names and versions.
fn packages(list: &str) -> Vec<&str> {
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != AGENT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_first_of_its_type() {
        let table = r#"{"partitiontable": {"partitions": [
            {"start": 2048, "type": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"},
            {"start": 4096, "type": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"},
            {"start": 8192, "type": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"}]}}"#;
        assert_eq!(first_root(table.as_bytes()), Some(4096 * 512));
        assert_eq!(first_root(b"{}"), None);
    }

    #[test]
    fn the_peer_has_our_packages_but_the_agent() {
        let list = "podman 5.4.2\nsystemd 257.9-1\ntwinhull-updater 0.1.0\n";
        assert_eq!(packages(list), ["podman", "systemd"]);
    }
}
