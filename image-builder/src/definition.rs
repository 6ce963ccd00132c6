//! The definition: one TOML file that says what an image is made of.
//!
//! A definition may include others. Lists add up, single values of the including file win, and every path counts from
//! the folder of the file that names it. `configs/server.toml` is an example with every part.

mod account;
pub mod base;
pub mod container;
pub mod format;
mod fragment;
pub mod openpgp;
pub mod package;
pub mod pattern;
pub mod reference;
pub mod size;
pub mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use der::DecodePem;
use twinhull_layout::{Arch, Product};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::bounded;
use crate::error::{Doing, Error, Result};
use base::{Base, Oci};
use container::Container;
use format::Format;
use fragment::Fragment;
use openpgp::Encoding;
use package::Package;
use size::{MIB, Size};
use unit::Unit;

/// The suite that packages are from.
const DEFAULT_SUITE: &str = "trixie";

/// The suite whose programs for containers cannot verify signatures of sigstore.
const WITHOUT_SIGSTORE: &str = "bookworm";

/// The component that packages are from.
const DEFAULT_COMPONENT: &str = "main";

/// The component that Debian keeps firmware in.
const FIRMWARE_COMPONENT: &str = "non-free-firmware";

/// The sizes of partitions.
const DEFAULT_ESP: Size = Size(512 * MIB);
const DEFAULT_ROOT: Size = Size(2048 * MIB);
const DEFAULT_STATE: Size = Size(1024 * MIB);

/// What the ESP holds beside kernels: the loader, twice, and the file system itself.
const ESP_OVERHEAD: u64 = 8 * MIB;

/// How deep includes may nest: deep enough for anyone, and an end for a loop through links.
const MAX_INCLUDE_DEPTH: usize = 8;

/// Modules that `init` loads on every machine: what it needs to reach the root, whatever the hardware.
const DEFAULT_LOAD: [&str; 5] = ["dm-verity", "erofs", "overlay", "ext4", "efivarfs"];

/// Modules that are in the initramfs and loaded when the hardware asks for them: the disks a server or a virtual machine
/// boots from, and the watchdogs that end a boot that hangs.
const DEFAULT_MODULES: [&str; 29] = [
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
    // Of Arm: the first in QEMU's and many smaller machines, the second in servers.
    "sp805_wdt",
    "sbsa_gwdt",
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
    /// Package archives beside the distribution's own.
    pub repositories: Vec<Repository>,
    /// The root file system that the tree begins with, instead of packages.
    pub base: Option<Base>,
    /// The packages to install, beside what Debian calls essential; firmware among them.
    pub packages: Vec<Package>,
    /// Package files to install after them.
    pub package_files: Vec<PathBuf>,
    /// Patterns of paths that do not enter the image; see [`pattern::matches`].
    pub drop: Vec<String>,
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
    /// Owners of files in the image other than root, user and group by name, by absolute path.
    pub owners: BTreeMap<PathBuf, (String, String)>,
    /// Lines of sysusers.d(5) for the accounts of the definition; may be empty.
    pub accounts: String,
    /// Container images that come with the release.
    pub containers: Vec<Container>,
    /// Which signatures container images must carry; no policy when empty.
    pub signatures: Vec<Signature>,
    /// Units that start by themselves.
    pub enable: Vec<Unit>,
    /// Units that Debian would enable and that stay off.
    pub disable: Vec<Unit>,
    /// Units that cannot be started at all.
    pub mask: Vec<Unit>,
    /// The sizes of the partitions.
    pub disk: DiskSizes,
    /// The largest root file system.
    pub root_budget: Size,
    /// The largest unified kernel image.
    pub uki_budget: Size,
    /// The forms that the disk is written in beside the sparse file.
    pub formats: Vec<Format>,
}

/// A package archive beside the distribution's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its address.
    pub uri: String,
    /// Its suite.
    pub suite: String,
    /// Its components.
    pub components: Vec<String>,
    /// The file with the key that signs it, by an absolute path.
    pub key: PathBuf,
    /// How the key is encoded.
    pub encoding: Encoding,
}

/// Whose signature container images must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// A registry, or a registry with a path.
    pub images: String,
    /// The public key.
    pub key: PathBuf,
    /// Whether the key is for sigstore; otherwise it is OpenPGP.
    pub sigstore: bool,
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

impl Signature {
    /// Whether it is about the images of a repository, as containers-policy.json(5) matches scopes: at whole parts of the path.
    pub fn is_about(&self, repository: &str) -> bool {
        (repository.strip_prefix(&self.images)).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
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
    /// Reads and checks a definition with everything it includes, as it is for `arch`.
    ///
    /// # Errors
    /// With file and line when a key is unknown or a value malformed; with the file when something is missing, a size
    /// is impossible, or a path named is not there.
    pub fn read(path: &Path, arch: Arch) -> Result<Self> {
        let merged = load(path, &mut Vec::new())?;
        check(path, merged.for_arch(arch))
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
    let suite = merged.distribution.suite.unwrap_or_else(|| DEFAULT_SUITE.into());
    let mut components = (merged.distribution.components).unwrap_or_else(|| vec![DEFAULT_COMPONENT.into()]);
    let firmware = merged.kernel.firmware;
    if !firmware.is_empty() && !components.iter().any(|component| component == FIRMWARE_COMPONENT) {
        components.push(FIRMWARE_COMPONENT.into());
    }
    let kernels: Vec<String> = merged.kernel.package.values().cloned().collect();
    let no_name = |bad: &str, key: &str| {
        wrong(format!(
            "`{bad}` in {key} is no name of Debian: small letters, digits and +-. but no - at its end"
        ))
    };
    let words = [
        ("suite", std::slice::from_ref(&suite)),
        ("[distribution] components", &components),
        ("[kernel] package", &kernels),
    ];
    for (key, values) in words {
        if let Some(bad) = values.iter().find(|value| !package::is_name(value)) {
            return Err(no_name(bad, key));
        }
    }
    let mut packages = Vec::new();
    for (key, values) in [
        ("[packages] install", &merged.packages.install),
        ("[kernel] firmware", &firmware),
    ] {
        for value in values {
            packages.push(Package::parse(value).map_err(|bad| no_name(&bad, key))?);
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
    for file in merged.packages.files.iter().chain(&merged.base.tarball) {
        if !file.is_file() {
            return Err(wrong(format!("{} is not there, or is no file", file.display())));
        }
    }
    let base = match (merged.base.tarball, merged.base.oci) {
        (Some(_), Some(_)) => return Err(wrong("[base] has a tarball and an OCI image; keep one".into())),
        (tarball, None) => tarball.map(Base::Tarball),
        (None, Some(text)) => Some(Base::Oci(Oci::parse(&text).map_err(wrong)?)),
    };
    if base.is_some() && !(merged.packages.install.is_empty() && firmware.is_empty()) {
        return Err(wrong(
            "[base] is the whole tree: [packages] install and [kernel] firmware must be empty".into(),
        ));
    }
    if base.is_some() && !(merged.packages.exclude.is_empty() && merged.packages.keep.is_empty()) {
        return Err(wrong(
            "[packages] exclude and keep are about packages while they are unpacked, and with [base] none are: name the paths in drop".into(),
        ));
    }
    for pattern in &merged.drop {
        if !pattern.starts_with('/') || pattern.trim_matches(['/', '*']).is_empty() {
            return Err(wrong(format!(
                "`{pattern}` in drop must be an absolute path below a folder; * matches any text"
            )));
        }
    }
    let repositories = (merged.repository.into_iter())
        .map(repository)
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    let signatures: Vec<Signature> = (merged.signature.into_iter())
        .map(signature)
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    let containers: Vec<Container> = (merged.container.into_iter())
        .map(Container::parse)
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    check_containers(&containers, &signatures).map_err(wrong)?;
    if suite == WITHOUT_SIGSTORE && signatures.iter().any(|signature| signature.sigstore) {
        return Err(wrong(format!(
            "podman and skopeo of {WITHOUT_SIGSTORE} were built without sigstore: name an OpenPGP key in [[signature]], or a later suite"
        )));
    }
    let accounts = account::sysusers(&merged.users, &merged.groups).map_err(wrong)?;
    let mut owners = BTreeMap::new();
    for (file, owner) in merged.owners {
        let parts = owner
            .split_once(':')
            .filter(|(user, group)| !user.is_empty() && !group.is_empty());
        let Some((user, group)) = parts.filter(|_| file.is_absolute()) else {
            return Err(wrong(format!(
                "[owners] wants an absolute path and \"user:group\", not {} = \"{owner}\"",
                file.display()
            )));
        };
        owners.insert(file, (user.to_owned(), group.to_owned()));
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
    let [enable, disable, mask] = [&merged.units.enable, &merged.units.disable, &merged.units.mask]
        .map(|units| units.iter().map(|unit| Unit::parse(unit)).collect::<Vec<_>>());
    let enabled: BTreeSet<&str> = enable.iter().map(|unit| unit.name.as_str()).collect();
    if let Some(both) = (mask.iter().chain(&disable)).find(|unit| enabled.contains(unit.name.as_str())) {
        return Err(wrong(format!(
            "{} is enabled and also masked or disabled in [units]; keep one",
            both.name
        )));
    }
    let cmdline = merged.kernel.cmdline.unwrap_or_default();
    if cmdline.contains(|c: char| c.is_control()) || cmdline.contains("roothash=") {
        return Err(wrong(
            "[kernel] cmdline must be one line and without roothash=, which the build sets".into(),
        ));
    }
    let disk = DiskSizes::new(
        merged.disk.esp.unwrap_or(DEFAULT_ESP),
        merged.disk.root.unwrap_or(DEFAULT_ROOT),
        merged.disk.state.unwrap_or(DEFAULT_STATE),
    );
    check_sizes(disk).map_err(wrong)?;
    let root_budget = merged.budget.root.unwrap_or(Size(disk.root.0 / 10 * 9));
    // Three must fit: the running one, the other slot's, and the next while it is written under a temporary name.
    let room = Size((disk.esp.0 - ESP_OVERHEAD) / 3);
    let uki_budget = merged.budget.uki.unwrap_or(room);
    for (key, budget, place, room) in [
        ("root", root_budget, "[disk] root has", disk.root),
        ("uki", uki_budget, "a third of the ESP, since three must fit, is", room),
    ] {
        if budget > room || budget.0 == 0 {
            return Err(wrong(format!("[budget] {key} is {budget}, and {place} {room}")));
        }
    }
    let modules_are_explicit = merged.initramfs.load.is_some() || merged.initramfs.modules.is_some();
    let names = |given: Option<Vec<String>>, default: &[&str]| {
        given.unwrap_or_else(|| default.iter().map(|name| (*name).to_owned()).collect())
    };
    Ok(Definition {
        path: path.to_owned(),
        product,
        suite,
        components,
        repositories,
        base,
        packages,
        package_files: merged.packages.files,
        drop: merged.drop,
        exclude: merged.packages.exclude,
        keep: merged.packages.keep,
        kernel: merged.kernel.package,
        cmdline,
        load: names(merged.initramfs.load, &DEFAULT_LOAD),
        modules: names(merged.initramfs.modules, &DEFAULT_MODULES),
        modules_are_explicit,
        overlays: merged.overlays,
        modes,
        owners,
        accounts,
        containers,
        signatures,
        enable,
        disable,
        mask,
        disk,
        root_budget,
        uki_budget,
        formats: merged.image.formats,
    })
}

fn repository(written: fragment::Repository) -> Result<Repository, String> {
    let fragment::Repository {
        uri,
        suite,
        components,
        key,
    } = written;
    let is_address = uri.starts_with("http://") || uri.starts_with("https://");
    if !is_address || uri.contains(|c: char| c.is_whitespace() || c.is_control() || "[]".contains(c)) {
        return Err(format!(
            "`{uri}` in [[repository]] is no address; it begins with https:// or http://"
        ));
    }
    let is_word =
        |word: &String| !word.is_empty() && (word.chars()).all(|c| c.is_ascii_alphanumeric() || "+-._/".contains(c));
    if let Some(bad) = std::iter::once(&suite).chain(&components).find(|word| !is_word(word)) {
        return Err(format!(
            "`{bad}` in [[repository]] {uri} is no name of a suite or component"
        ));
    }
    let encoding = openpgp::encoding(&key)?;
    let key = (key.canonicalize()).map_err(|error| format!("the key {} cannot be read: {error}", key.display()))?;
    if key
        .to_string_lossy()
        .contains(|c: char| c.is_whitespace() || "[]".contains(c))
    {
        return Err(format!(
            "apt takes no key whose path has blanks or brackets: {}",
            key.display()
        ));
    }
    if key.extension().is_none_or(|ending| ending != encoding.ending()) {
        return Err(format!(
            "apt reads the key {} only when its name ends with .{}",
            key.display(),
            encoding.ending()
        ));
    }
    Ok(Repository {
        uri,
        suite,
        components,
        key,
        encoding,
    })
}

fn signature(written: fragment::Signature) -> Result<Signature, String> {
    let fragment::Signature { images, key } = written;
    let is_scope = images.starts_with(|c: char| c.is_ascii_alphanumeric())
        && (images.chars()).all(|c| c.is_ascii_alphanumeric() || "._-:/".contains(c))
        && !images.ends_with('/');
    if !is_scope {
        return Err(format!(
            "`{images}` in [[signature]] is no registry with or without a path, as registry.example.com/team"
        ));
    }
    let text = bounded::read(&key, openpgp::MAX_SIZE)
        .map_err(|error| format!("the key {} cannot be read: {error}", key.display()))?;
    let sigstore = text.starts_with(b"-----BEGIN PUBLIC KEY-----");
    if sigstore {
        SubjectPublicKeyInfoOwned::from_pem(&text)
            .map_err(|error| format!("{} begins as a PEM public key and is none: {error}", key.display()))?;
    } else {
        openpgp::encoding(&key).map_err(|problem| {
            format!("the key of [[signature]] must be a PEM public key or an OpenPGP public key: {problem}")
        })?;
    }
    Ok(Signature { images, key, sigstore })
}

/// Problems that would else show when everything has been fetched.
fn check_containers(containers: &[Container], signatures: &[Signature]) -> Result<(), String> {
    let (mut references, mut quadlets) = (BTreeSet::new(), BTreeSet::new());
    for container in containers {
        let reference = container.reference();
        if !references.insert(reference.clone()) {
            return Err(format!("{reference} is in two [[container]] entries"));
        }
        if !signatures.is_empty() && !signatures.iter().any(|one| one.is_about(&container.repository)) {
            return Err(format!(
                "no [[signature]] is about {}, so it would not start; name its owner's key, or leave it out",
                container.repository
            ));
        }
        let names = container.quadlets.iter().filter_map(|quadlet| quadlet.file_name());
        if let Some(twice) = names.into_iter().find(|name| !quadlets.insert((*name).to_owned())) {
            return Err(format!("two quadlets in [[container]] are called {}", twice.display()));
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(definition: &Definition) -> Vec<String> {
        definition.packages.iter().map(ToString::to_string).collect()
    }

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
        Definition::read(&folder.path().join("a.toml"), Arch::X86_64)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn shortest_definition_gets_defaults() {
        let folder = folder(&[("a.toml", "product = \"p\"\n")]);
        let definition = Definition::read(&folder.path().join("a.toml"), Arch::X86_64).unwrap();
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
        let definition = Definition::read(&folder.path().join("a.toml"), Arch::X86_64).unwrap();
        assert_eq!(definition.product.as_str(), "mine");
        assert_eq!(names(&definition), ["systemd", "podman"]);
        assert_eq!(definition.disk.root, Size(1024 * MIB));
        assert_eq!(definition.overlays, [folder.path().join("base/files")]);
    }

    #[test]
    fn section_of_the_architecture_adds_and_of_others_does_not() {
        let folder = folder(&[
            (
                "b.toml",
                "[arch.aarch64.kernel]\npackage = { aarch64 = \"k-arm\" }\n[arch.x86_64.packages]\ninstall = [\"b\"]\n",
            ),
            (
                "a.toml",
                "include = [\"b.toml\"]\nproduct = \"p\"\n[packages]\ninstall = [\"a\"]\n[arch.x86_64.packages]\ninstall = [\"c\"]\n",
            ),
        ]);
        let read = |arch| Definition::read(&folder.path().join("a.toml"), arch).unwrap();
        assert_eq!(names(&read(Arch::X86_64)), ["a", "b", "c"]);
        assert!(read(Arch::X86_64).kernel_package(Arch::Aarch64).is_err());
        assert_eq!(names(&read(Arch::Aarch64)), ["a"]);
        assert_eq!(read(Arch::Aarch64).kernel_package(Arch::Aarch64).unwrap(), "k-arm");
    }

    #[test]
    fn section_of_the_suite_adds_and_of_others_does_not() {
        let folder = folder(&[
            (
                "b.toml",
                "drop = [\"/x/1\"]\n[suite.bookworm]\ndrop = [\"/x/2\"]\n[suite.bookworm.packages]\ninstall = [\"b\"]\n[suite.trixie.packages]\ninstall = [\"t\"]\n",
            ),
            (
                "a.toml",
                "include = [\"b.toml\"]\nproduct = \"p\"\n[arch.x86_64.packages]\ninstall = [\"x\"]\n[suite.bookworm.packages]\ninstall = [\"c\"]\n",
            ),
            (
                "old.toml",
                "include = [\"a.toml\"]\n[distribution]\nsuite = \"bookworm\"\n",
            ),
        ]);
        let read = |name| Definition::read(&folder.path().join(name), Arch::X86_64).unwrap();
        assert_eq!(names(&read("old.toml")), ["x", "b", "c"]);
        assert_eq!(read("old.toml").drop, ["/x/1", "/x/2"]);
        // Nobody names one: it is the default.
        assert_eq!(names(&read("a.toml")), ["x", "t"]);
        assert_eq!(read("a.toml").drop, ["/x/1"]);
    }

    #[test]
    fn firmware_brings_its_component() {
        let folder = folder(&[("a.toml", "product = \"p\"\n[kernel]\nfirmware = [\"firmware-x\"]\n")]);
        let definition = Definition::read(&folder.path().join("a.toml"), Arch::X86_64).unwrap();
        assert_eq!(definition.components, ["main", "non-free-firmware"]);
        assert_eq!(names(&definition), ["firmware-x"]);
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
                "product = \"p\"\n[packages]\ninstall = [\"podman:arm64\"]",
                "`podman:arm64`",
            ),
            ("product = \"p\"\n[packages]\ninstall = [\"nano-\"]", "`nano-`"),
            ("product = \"p\"\n[packages]\ninstall = [\"a | --rm\"]", "`--rm`"),
            (
                "product = \"p\"\n[packages]\ninstall = [\"a |\"]",
                "`` in [packages] install",
            ),
            (
                "product = \"p\"\n[kernel]\npackage = { x86_64 = \"--foo bar\" }",
                "`--foo bar` in [kernel] package",
            ),
            (
                "product = \"p\"\n[base]\ntarball = \"a.toml\"\n[packages]\nkeep = [\"/usr/share/doc\"]",
                "name the paths in drop",
            ),
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
            ("product = \"p\"\ndrop = [\"/*\"]", "below a folder"),
            ("product = \"p\"\n[owners]\n\"/x\" = \"root\"", "user:group"),
            (
                "product = \"p\"\n[packages]\nfiles = [\"no.deb\"]",
                "no.deb is not there",
            ),
            (
                "product = \"p\"\n[disk]\nesp = \"128 MiB\"\n[budget]\nuki = \"41 MiB\"",
                "three must fit",
            ),
            ("product = \"p\"\n[budget]\nroot = \"3 GiB\"", "[disk] root has"),
            (
                "product = \"p\"\n[[repository]]\nuri = \"https://x\"\nsuite = \"a\"\ncomponents = []\nkey = \"a.toml\"",
                "no OpenPGP key",
            ),
            (
                "product = \"p\"\n[[signature]]\nimages = \"r.example\"\nkey = \"a.toml\"",
                "a PEM public key or",
            ),
            ("product = \"p\"\n[image]\nformats = [\"vmdk\"]", "raw.zst"),
            ("product = \"p\"\n[arch.mips]\n", "a.toml:2:"),
            ("product = \"p\"\n[modes]\n\"/usr/bin/x\" = \"rwx\"", "no octal mode"),
            (
                "product = \"p\"\n[units]\nenable = [\"a.service\"]\nmask = [\"-a.service\"]",
                "keep one",
            ),
        ] {
            assert!(error(text).contains(said), "{text}: {}", error(text));
        }
    }

    #[test]
    fn keys_of_signatures_are_read_to_their_end() {
        // A P-256 key as `cosign` writes it.
        let whole = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAET1qwSUGd/SqdHi1MKMYjkpwRVxkg\nJ2x7XqBR9pBR/RcFra6vVVq++GuFx+KHNmPSmA3QCyS9bXL24ketsLpZGg==\n-----END PUBLIC KEY-----\n";
        let text = "product = \"p\"\n[[signature]]\nimages = \"r.example\"\nkey = \"k.pub\"";
        let read = |key: &str| {
            let folder = folder(&[("a.toml", text), ("k.pub", key)]);
            Definition::read(&folder.path().join("a.toml"), Arch::X86_64)
                .map(|definition| definition.signatures[0].sigstore)
        };
        assert!(read(whole).unwrap());
        for spoilt in [
            whole.replace("MFkwEw", "MFkxEw"),
            whole.replace("-----END PUBLIC KEY-----\n", ""),
            "-----BEGIN PUBLIC KEY-----\ngarbage\n".to_owned(),
        ] {
            let said = read(&spoilt).unwrap_err().to_string();
            assert!(said.contains("begins as a PEM public key and is none"), "{said}");
        }
    }
}
