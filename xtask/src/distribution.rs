//! Which distribution this is, and the packages the project needs from it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::arch::Arch;

/// A package and why it is needed.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    /// The least upstream version, where an older one does not do.
    pub(crate) at_least: Option<&'static str>,
    /// The only architecture of images that it is needed for, if it is not for all.
    pub(crate) arch: Option<Arch>,
}

const fn package(name: &'static str, reason: &'static str) -> Package {
    Package {
        name,
        reason,
        at_least: None,
        arch: None,
    }
}

const fn for_aarch64(name: &'static str, reason: &'static str) -> Package {
    Package {
        arch: Some(Arch::Aarch64),
        ..package(name, reason)
    }
}

/// Everything beyond git and a Rust toolchain.
pub(crate) const PACKAGES: &[Package] = &[
    package("gcc", "compiles the C parts of zstd and ring"),
    package("libc6-dev", "headers for those C parts"),
    package(
        "mmdebstrap",
        "makes the other release of Debian for cargo xtask reproduce",
    ),
    package("debian-archive-keyring", "checks the signatures of those packages"),
    package("erofs-utils", "tests look into root file systems with fsck.erofs"),
    package("cpio", "tests compare our initramfs with cpio's view"),
    package("e2fsprogs", "tests check state file systems with e2fsck"),
    Package {
        at_least: Some("10"),
        ..package(
            "qemu-system-x86",
            "runs virtual machines; before 10 it crashes the kernel",
        )
    },
    package("ovmf", "UEFI firmware for virtual machines"),
    package("swtpm", "TPMs for virtual machines"),
    package("openssh-client", "reaches virtual machines"),
    package("cryptsetup-bin", "tests compare our dm-verity trees with veritysetup's"),
    package("fdisk", "tests compare our partition tables with sfdisk's view"),
    package("binutils", "tests compare our kernel images with objdump's view"),
    package("chromium", "tests look at the lock's page with a real browser"),
    package("chromium-driver", "drives that browser"),
    package(
        "protobuf-compiler",
        "compiles etcd's interface for the reboot lock (protoc)",
    ),
    package("libprotobuf-dev", "the standard definitions that protoc includes"),
    package("etcd-server", "tests of the reboot lock run against real etcd"),
    package(
        "iproute2",
        "network namespaces, so that a test can cut the links between etcd members",
    ),
    package("etcd-client", "etcdctl, to look into an etcd when such a test fails"),
    package("dosfstools", "tests check our EFI system partitions with fsck.fat"),
    package("openssl", "makes the keys and certificates that images are signed with"),
    package(
        "sbsigntool",
        "tests compare our Secure Boot signatures with sbverify's view",
    ),
    package("gdisk", "tests compare our partition tables with sgdisk's view"),
    package(
        "systemd-container",
        "tests compare our images with systemd-dissect's view",
    ),
    package("qemu-utils", "tests compare our images with qemu-img's view"),
    package("zstd", "unpacks layers of an OCI image; bench payload: a peer"),
    package("xdelta3", "bench payload: a peer"),
    package("casync", "bench payload: a peer"),
    package("zchunk", "bench payload: a peer"),
    package("kmod", "bench payload: depmod indexes the modules of an image"),
    package("rauc", "bench payload: a peer"),
    package("squashfs-tools", "rauc makes its bundles with it"),
    package(
        "nginx-light",
        "tests fetch payloads and metadata from a real server; bench trust",
    ),
    package(
        "skopeo",
        "fetches the OCI image that a definition begins with; pushes the container images of scenarios",
    ),
    package("docker-registry", "the registry from which virtual machines pull them"),
    package("haproxy", "the load balancer before virtual machines"),
    package(
        "python3-venv",
        "keeps what judges our TUF client and our bills of materials apart (python-tuf, spdx-tools)",
    ),
    package("faketime", "the tests of python-tuf look at other times"),
    package("softhsm2", "tests sign with a key on a PKCS #11 token"),
    for_aarch64(
        "gcc-aarch64-linux-gnu",
        "compiles and links the static programs of aarch64",
    ),
    for_aarch64("libc6-dev-arm64-cross", "headers for their C parts"),
    for_aarch64("qemu-user-static", "installs packages of aarch64 on a host that is not"),
    Package {
        at_least: Some("10"),
        ..for_aarch64("qemu-system-arm", "runs virtual machines of aarch64")
    },
    for_aarch64("qemu-efi-aarch64", "UEFI firmware for them"),
];

impl Package {
    /// Whether it is installed, new enough.
    pub(crate) fn is_installed(&self) -> bool {
        let query = Command::new("dpkg-query")
            .args(["--show", "--showformat=${db:Status-Status} ${Version}", self.name])
            .output();
        let Ok(output) = query else { return false };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some(version) = said.strip_prefix("installed ") else {
            return false;
        };
        self.at_least.is_none_or(|wanted| is_at_least(version, wanted))
    }
}

fn is_at_least(version: &str, wanted: &str) -> bool {
    // The epoch says nothing about the upstream version.
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    Command::new("dpkg")
        .args(["--compare-versions", upstream, "ge", wanted])
        .status()
        .is_ok_and(|status| status.success())
}

/// A distribution that the packages can be installed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// Debian 12: QEMU comes from backports.
    Bookworm,
    /// Debian 13.
    Trixie,
}

impl Distribution {
    /// Reads `/etc/os-release`. The error is the name of a distribution that is not supported.
    pub(crate) fn of_this_host() -> Result<Result<Self, String>> {
        let text =
            fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release to see what this host is")?;
        Ok(Self::from_os_release(&text))
    }

    fn from_os_release(text: &str) -> Result<Self, String> {
        let field = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches(['"', '\''])
        };
        match (field("ID"), field("VERSION_ID")) {
            ("debian", "12") => Ok(Self::Bookworm),
            ("debian", "13") => Ok(Self::Trixie),
            (id, version) => Err(format!("{id} {version}").trim().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_12_and_13_are_installed_on() {
        let of = Distribution::from_os_release;
        assert_eq!(of("NAME=x\nID=debian\nVERSION_ID=\"12\"\n"), Ok(Distribution::Bookworm));
        assert_eq!(of("VERSION_ID=\"13\"\nID=debian\n"), Ok(Distribution::Trixie));
        assert_eq!(of("ID=ubuntu\nVERSION_ID=\"24.04\"\n"), Err("ubuntu 24.04".to_owned()));
        assert_eq!(of("ID_LIKE=debian\nID=mint\n"), Err("mint".to_owned()));
    }
}
