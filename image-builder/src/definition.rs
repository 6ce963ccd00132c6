//! The definition: one TOML file that says what an image is made of.
//!
//! A definition may include others. Lists add up, single values of the including file win, and every path counts from
//! the folder of the file that names it. `configs/server.toml` is an example with every part.

mod fragment;
pub mod size;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use twinhull_layout::{Arch, Product};

use crate::error::{Doing, Error, Result};
use fragment::Fragment;
use size::{MIB, Size};

/// How deep includes may nest: deep enough for anyone, and an end for a loop through links.
const MAX_INCLUDE_DEPTH: usize = 8;

/// Modules that `init` loads on every machine: what it needs to reach the root, whatever the hardware.
const DEFAULT_LOAD: [&str; 5] = ["dm-verity", "erofs", "overlay", "ext4", "efivarfs"];

/// Modules that are in the initramfs and loaded when the hardware asks for them: the disks a server or a virtual machine
/// boots from, and the watchdogs that end a boot that hangs.
const DEFAULT_MODULES: [&str; 28] = [
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_scsi",
    "nvme",
    "ahci",
    "ata_piix",
    "sd_mod",
    "sr_mod",
    "usb-storage",
    "uas",
    "xhci-pci",
    "xhci-hcd",
    "ehci-pci",
    "usbhid",
    "mmc_block",
    "sdhci-pci",
    "hv_storvsc",
    "vmw_pvscsi",
    "xen-blkfront",
    "megaraid_sas",
    "mpt3sas",
    "sha256-ssse3",
    "sha2-ce",
    "crc32c-intel",
    "i6300esb",
    "iTCO_wdt",
    "sp805_wdt",
];

/// A checked definition: everything that can be known without looking at packages is in order.
#[derive(Debug)]
pub struct Definition {
    /// The file it was read from.
    pub path: PathBuf,
    /// The product the image is a release of.
    pub product: Product,
    /// The suite of Debian, as "trixie".
    pub suite: String,
    /// The components of the archive, as "main".
    pub components: Vec<String>,
    /// The packages to install, beside what Debian calls essential.
    pub packages: Vec<String>,
    /// Paths of packages that do not enter the image (dpkg's `path-exclude` patterns).
    pub exclude: Vec<String>,
    /// Paths that enter although `exclude` names them (dpkg's `path-include` patterns).
    pub keep: Vec<String>,
    /// The kernel package of each architecture.
    pub kernel: BTreeMap<Arch, String>,
    /// What is added to the kernel command line.
    pub cmdline: String,
    /// Kernel modules that `init` loads on every machine.
    pub load: Vec<String>,
    /// Kernel modules that `init` loads when the hardware asks for them.
    pub modules: Vec<String>,
    /// Whether `load` and `modules` were written by the user: then each must exist.
    pub modules_are_explicit: bool,
    /// Folders whose files are laid over the tree, in order.
    pub overlays: Vec<PathBuf>,
    /// Modes of files in the image that differ from what their overlay says, by absolute path.
    pub modes: BTreeMap<PathBuf, u32>,
    /// Units that start by themselves.
    pub enable: Vec<String>,
    /// Units that Debian would enable and that stay off.
    pub disable: Vec<String>,
    /// Units that cannot be started at all.
    pub mask: Vec<String>,
    /// The sizes of the partitions.
    pub disk: DiskSizes,
}

/// Sizes of partitions, each whole mebibytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSizes {
    /// The EFI system partition.
    pub esp: Size,
    /// The root partition of one slot: what a root image may never exceed, in this release or a later one.
    pub root: Size,
    /// The hash tree of one slot.
    pub verity: Size,
    /// The signed root hash of one slot.
    pub signature: Size,
    /// The state partition as shipped; it grows to the end of the disk at first boot.
    pub state: Size,
}

impl DiskSizes {
    fn new(esp: Size, root: Size, state: Size) -> Self {
        // A tree of 32-byte hashes over 4096-byte blocks is 1/127 of its data; a hundredth leaves room to spare.
        let verity = Size(root.0.div_ceil(100)).to_mib();
        Self {
            esp,
            root,
            verity,
            signature: Size(MIB),
            state,
        }
    }
}

impl Definition {
    /// Reads and checks a definition with everything it includes.
    ///
    /// # Errors
    /// With file and line when a key is unknown or a value malformed; with the file when something is missing, a size
    /// is impossible, or a path named is not there.
    pub fn read(path: &Path) -> Result<Self> {
        let merged = load(path, &mut Vec::new())?;
        check(path, merged)
    }

    /// The kernel package for `arch`.
    pub fn kernel_package(&self, arch: Arch) -> Result<&str> {
        self.kernel
            .get(&arch)
            .map(String::as_str)
            .ok_or_else(|| Error::Definition {
                path: self.path.clone(),
                problem: format!("no kernel for {arch}; add `{arch} = \"…\"` to [kernel.package]"),
            })
    }
}

fn load(path: &Path, above: &mut Vec<PathBuf>) -> Result<Fragment> {
    let real = path.canonicalize().doing("read", path)?;
    if above.contains(&real) || above.len() >= MAX_INCLUDE_DEPTH {
        return Err(Error::Definition {
            path: path.to_owned(),
            problem: "the file includes itself, or includes are more than 8 deep".into(),
        });
    }
    above.push(real);
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut own: Fragment = twinhull_config::read::<Fragment>(path)?.rooted_at(folder);
    let mut base = Fragment::default();
    for include in std::mem::take(&mut own.include) {
        base = load(&include, above)?.over(base);
    }
    above.pop();
    Ok(own.over(base))
}

fn check(path: &Path, merged: Fragment) -> Result<Definition> {
    let wrong = |problem: String| Error::Definition {
        path: path.to_owned(),
        problem,
    };
    let product = merged
        .product
        .ok_or_else(|| wrong("`product` is missing; add `product = \"my-server\"`".into()))?;
    let suite = merged.distribution.suite.unwrap_or_else(|| "trixie".into());
    let words = [
        ("suite", std::slice::from_ref(&suite)),
        ("[packages] install", &merged.packages.install),
    ];
    for (key, values) in words {
        if let Some(bad) = values.iter().find(|value| !is_package_name(value)) {
            return Err(wrong(format!(
                "`{bad}` in {key} is no name of Debian: small letters, digits and +-.:"
            )));
        }
    }
    for pattern in merged.packages.exclude.iter().chain(&merged.packages.keep) {
        if !pattern.starts_with('/') || pattern.contains(|c: char| c.is_whitespace() || c == '\'') {
            return Err(wrong(format!(
                "`{pattern}` in [packages] must be an absolute path without blanks; * and ? match"
            )));
        }
    }
    for overlay in &merged.overlays {
        if !overlay.is_dir() {
            return Err(wrong(format!("the overlay {} is not a folder", overlay.display())));
        }
    }
    let mut modes = BTreeMap::new();
    for (file, text) in merged.modes {
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
        let mode = mode.ok_or_else(|| {
            wrong(format!(
                "the mode `{text}` of {} is no octal mode, as \"0755\"",
                file.display()
            ))
        })?;
        if !file.is_absolute() {
            return Err(wrong(format!(
                "{} in [modes] must be a path in the image that begins with /",
                file.display()
            )));
        }
        modes.insert(file, mode);
    }
    let enabled: BTreeSet<&String> = merged.units.enable.iter().collect();
    if let Some(both) = merged
        .units
        .mask
        .iter()
        .chain(&merged.units.disable)
        .find(|unit| enabled.contains(unit))
    {
        return Err(wrong(format!(
            "{both} is enabled and also masked or disabled in [units]; keep one"
        )));
    }
    let cmdline = merged.kernel.cmdline.unwrap_or_default();
    if cmdline.contains(|c: char| c.is_control()) || cmdline.contains("roothash=") {
        return Err(wrong(
            "[kernel] cmdline must be one line and without roothash=, which the build sets".into(),
        ));
    }
    let disk = DiskSizes::new(
        merged.disk.esp.unwrap_or(Size(512 * MIB)),
        merged.disk.root.unwrap_or(Size(2048 * MIB)),
        merged.disk.state.unwrap_or(Size(1024 * MIB)),
    );
    check_sizes(disk).map_err(wrong)?;
    let modules_are_explicit = merged.initramfs.load.is_some() || merged.initramfs.modules.is_some();
    let names = |given: Option<Vec<String>>, default: &[&str]| {
        given.unwrap_or_else(|| default.iter().map(|name| (*name).to_owned()).collect())
    };
    Ok(Definition {
        path: path.to_owned(),
        product,
        suite,
        components: merged.distribution.components.unwrap_or_else(|| vec!["main".into()]),
        packages: merged.packages.install,
        exclude: merged.packages.exclude,
        keep: merged.packages.keep,
        kernel: merged.kernel.package,
        cmdline,
        load: names(merged.initramfs.load, &DEFAULT_LOAD),
        modules: names(merged.initramfs.modules, &DEFAULT_MODULES),
        modules_are_explicit,
        overlays: merged.overlays,
        modes,
        enable: merged.units.enable,
        disable: merged.units.disable,
        mask: merged.units.mask,
        disk,
    })
}

fn check_sizes(disk: DiskSizes) -> Result<(), String> {
    // FAT32 as firmware reads it; three kernels with their initramfs must fit, since one is written while two are there.
    let bounds = [
        ("esp", disk.esp, 128 * MIB, 4096 * MIB),
        ("root", disk.root, 64 * MIB, 256 * 1024 * MIB),
        ("state", disk.state, 64 * MIB, 1024 * 1024 * MIB),
    ];
    for (key, size, least, most) in bounds {
        if size.0 < least || size.0 > most {
            return Err(format!(
                "[disk] {key} is {size}; it must be from {} to {}",
                Size(least),
                Size(most)
            ));
        }
        if size.0 % MIB != 0 {
            return Err(format!("[disk] {key} is {} bytes; it must be whole mebibytes", size.0));
        }
    }
    Ok(())
}

/// Names of packages and suites, with an architecture or a release behind a colon or slash left out on purpose:
/// what is written here becomes an argument of another program.
fn is_package_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.:".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn error(text: &str) -> String {
        let folder = folder(&[("a.toml", text)]);
        Definition::read(&folder.path().join("a.toml")).unwrap_err().to_string()
    }

    #[test]
    fn shortest_definition_gets_defaults() {
        let folder = folder(&[("a.toml", "product = \"p\"\n")]);
        let definition = Definition::read(&folder.path().join("a.toml")).unwrap();
        assert_eq!(definition.suite, "trixie");
        assert_eq!(definition.disk.verity, Size(21 * MIB));
        assert!(definition.load.contains(&"dm-verity".to_owned()));
    }

    #[test]
    fn unknown_key_is_named_with_line_and_nearest() {
        let text = error("product = \"p\"\n[units]\nenabel = []\n");
        assert!(
            text.contains("a.toml:3: unknown key `enabel`; did you mean `enable`?"),
            "{text}"
        );
    }

    #[test]
    fn including_file_wins_and_adds() {
        let folder = folder(&[
            (
                "base/b.toml",
                "product = \"base\"\noverlays = [\"files\"]\n[packages]\ninstall = [\"systemd\"]\n[disk]\nroot = \"1 GiB\"\n",
            ),
            ("base/files/x", ""),
            (
                "a.toml",
                "include = [\"base/b.toml\"]\nproduct = \"mine\"\n[packages]\ninstall = [\"podman\", \"systemd\"]\n",
            ),
        ]);
        let definition = Definition::read(&folder.path().join("a.toml")).unwrap();
        assert_eq!(definition.product.as_str(), "mine");
        assert_eq!(definition.packages, ["systemd", "podman"]);
        assert_eq!(definition.disk.root, Size(1024 * MIB));
        assert_eq!(definition.overlays, [folder.path().join("base/files")]);
    }

    #[test]
    fn including_oneself_is_an_error_not_a_loop() {
        assert!(error("include = [\"a.toml\"]\nproduct = \"p\"\n").contains("includes itself"));
    }

    #[test]
    fn values_that_cannot_be_built_are_refused() {
        for (text, said) in [
            ("", "`product` is missing"),
            ("product = \"p\"\n[packages]\ninstall = [\"--rm\"]", "`--rm`"),
            (
                "product = \"p\"\n[packages]\nexclude = [\"usr/share\"]",
                "absolute path",
            ),
            ("product = \"p\"\n[disk]\nroot = \"1 MiB\"", "from 64.0 MiB"),
            ("product = \"p\"\n[disk]\nroot = \"1 GB\"", "a.toml:3:"),
            (
                "product = \"p\"\n[kernel]\ncmdline = \"roothash=00\"",
                "without roothash",
            ),
            ("product = \"p\"\noverlays = [\"nowhere\"]", "not a folder"),
            ("product = \"p\"\n[modes]\n\"/usr/bin/x\" = \"rwx\"", "no octal mode"),
            (
                "product = \"p\"\n[units]\nenable = [\"a.service\"]\nmask = [\"a.service\"]",
                "keep one",
            ),
        ] {
            assert!(error(text).contains(said), "{text}: {}", error(text));
        }
    }
}
