//! A definition file as it is written: everything optional, nothing checked but the names of keys.
//!
//! The comments of the fields are the documentation of the file: `reference` makes the page and the man page from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use twinhull_layout::{Arch, Product};

use super::size::Size;

/// The file as a whole.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fragment {
    /// Definition files that this one builds on. Lists add up, single values of the including file win.
    #[serde(default)]
    pub(super) include: Vec<PathBuf>,
    /// The product that the image is a release of: small letters, digits and `-`. The only key that must be given.
    #[schemars(with = "Option<String>")]
    pub(super) product: Option<Product>,
    /// Folders whose files are laid over the tree, in order. Files belong to root; executable ones get mode 0755, others
    /// 0644.
    #[serde(default)]
    pub(super) overlays: Vec<PathBuf>,
    /// Octal modes of files in the image that differ from that, by absolute path: `"/usr/bin/x" = "4755"`.
    #[serde(default)]
    pub(super) modes: BTreeMap<PathBuf, String>,
    /// Owners of files in the image other than root, by absolute path: `"/usr/lib/x" = "user:group"`. Both must be
    /// accounts of the image.
    #[serde(default)]
    pub(super) owners: BTreeMap<PathBuf, String>,
    /// Paths that do not enter the image, whatever package brings them; `*` matches any text, `/` included. Files of
    /// overlays stay.
    #[serde(default)]
    pub(super) drop: Vec<String>,
    /// What the packages are taken from.
    #[serde(default)]
    pub(super) distribution: Distribution,
    /// Package archives beside the distribution's own.
    #[serde(default)]
    pub(super) repository: Vec<Repository>,
    /// What the tree begins with instead of the distribution's packages.
    #[serde(default)]
    pub(super) base: Base,
    /// The packages of the image.
    #[serde(default)]
    pub(super) packages: Packages,
    /// The kernel, its firmware and its command line.
    #[serde(default)]
    pub(super) kernel: Kernel,
    /// What `init` can load before the root is there.
    #[serde(default)]
    pub(super) initramfs: Initramfs,
    /// Which units start by themselves.
    #[serde(default)]
    pub(super) units: Units,
    /// System users, by name.
    #[serde(default)]
    pub(super) users: BTreeMap<String, User>,
    /// System groups, by name.
    #[serde(default)]
    pub(super) groups: BTreeMap<String, Group>,
    /// Container images that come with the release: they start without a registry. For podman they are in a read-only store of the
    /// image, for containerd in archives that a unit imports at boot; which of the two follows from the packages. With `[[signature]]`
    /// entries, the build takes only what they allow.
    #[serde(default)]
    pub(super) container: Vec<Container>,
    /// Which signatures container images must carry. With one entry or more, images that no entry names do not start.
    #[serde(default)]
    pub(super) signature: Vec<Signature>,
    /// Sizes of the partitions. They are for the life of a host: a slot can never grow.
    #[serde(default)]
    pub(super) disk: Disk,
    /// What an image may take, so that later releases still fit.
    #[serde(default)]
    pub(super) budget: Budget,
    /// What a build writes.
    #[serde(default)]
    pub(super) image: Image,
    /// What holds for one architecture only, `x86_64` or `aarch64`; it is laid over the rest.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Section>")]
    pub(super) arch: BTreeMap<Arch, Section>,
    /// What holds for one suite only, as `bookworm`; it is laid over the rest, that of the architecture included.
    #[serde(default)]
    pub(super) suite: BTreeMap<String, Section>,
}

/// What may differ between architectures, and between suites.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    /// More folders to lay over the tree.
    #[serde(default)]
    pub(super) overlays: Vec<PathBuf>,
    /// More paths that do not enter the image.
    #[serde(default)]
    pub(super) drop: Vec<String>,
    /// More packages.
    #[serde(default)]
    pub(super) packages: Packages,
    /// The kernel there.
    #[serde(default)]
    pub(super) kernel: Kernel,
    /// Modules there.
    #[serde(default)]
    pub(super) initramfs: Initramfs,
    /// Units there.
    #[serde(default)]
    pub(super) units: Units,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Distribution {
    /// The suite of Debian. Images of `bookworm`, `trixie` and `sid` are known to boot; any other name is looked for in the archives.
    #[schemars(extend("x-default" = super::DEFAULT_SUITE))]
    pub(super) suite: Option<String>,
    /// The components of the archive. `non-free-firmware` is added when `[kernel] firmware` names packages.
    #[schemars(extend("x-default" = super::DEFAULT_COMPONENT))]
    pub(super) components: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Repository {
    /// The address of the archive, `http://` or `https://`.
    pub(super) uri: String,
    /// Its suite.
    pub(super) suite: String,
    /// Its components.
    pub(super) components: Vec<String>,
    /// The file with the OpenPGP key that signs it, armoured or binary. No package of an archive without a valid signature
    /// is installed.
    pub(super) key: PathBuf,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    /// An archive of a whole root file system, as `tar` reads it. The kernel and the boot loader still come from the
    /// distribution; `install`, `exclude` and `keep` of `[packages]` must be empty.
    #[schemars(extend("x-default" = "the distribution's essential packages"))]
    pub(super) tarball: Option<PathBuf>,
    /// An OCI image instead: a folder in the image layout, an archive of one, or `docker://REGISTRY/NAME@sha256:…`. Its layers are
    /// the tree; the same holds as for a tarball.
    #[schemars(extend("x-default" = "none"))]
    pub(super) oci: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Packages {
    /// Packages to install, beside what Debian calls essential. What they only recommend is not installed. Of `"a | b"` the first
    /// that the archives have is taken.
    #[serde(default)]
    pub(super) install: Vec<String>,
    /// Package files to install after them.
    #[serde(default)]
    pub(super) files: Vec<PathBuf>,
    /// Paths that dpkg does not unpack (`path-exclude` of dpkg.cfg(5)); `*` and `?` match.
    #[serde(default)]
    pub(super) exclude: Vec<String>,
    /// Paths that it unpacks although `exclude` names them.
    #[serde(default)]
    pub(super) keep: Vec<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Kernel {
    /// The kernel package of each architecture, `x86_64` and `aarch64`. The one that is built for must be given.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(super) package: BTreeMap<Arch, String>,
    /// Firmware packages.
    #[serde(default)]
    pub(super) firmware: Vec<String>,
    /// What is added to the kernel command line.
    pub(super) cmdline: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Initramfs {
    /// Modules that `init` loads on every machine. Each must exist when this or `modules` is given.
    #[schemars(extend("x-default" = super::DEFAULT_LOAD))]
    pub(super) load: Option<Vec<String>>,
    /// Modules that `init` loads when the hardware asks for them.
    #[schemars(extend("x-default" = super::DEFAULT_MODULES))]
    pub(super) modules: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Units {
    /// Units that start by themselves. Nothing else does but what systemd itself enables. Each must be in the image, here and below;
    /// one that begins with `-` need not.
    #[serde(default)]
    pub(super) enable: Vec<String>,
    /// Units that systemd would enable and that stay off.
    #[serde(default)]
    pub(super) disable: Vec<String>,
    /// Units that cannot be started at all.
    #[serde(default)]
    pub(super) mask: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    /// Its number, below 1000.
    #[schemars(extend("x-default" = "the first free one"))]
    pub(super) id: Option<u32>,
    /// What it is for.
    pub(super) comment: Option<String>,
    /// Its home, an absolute path.
    #[schemars(extend("x-default" = "/"))]
    pub(super) home: Option<PathBuf>,
    /// Its shell, an absolute path.
    #[schemars(extend("x-default" = "/usr/sbin/nologin"))]
    pub(super) shell: Option<PathBuf>,
    /// Groups it is a member of, beside its own.
    #[serde(default)]
    pub(super) groups: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// Its number, below 1000.
    #[schemars(extend("x-default" = "the first free one"))]
    pub(super) id: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Container {
    /// The image: `REGISTRY/NAME@sha256:…`, its digest being that of its manifest, or of an index of manifests for several
    /// architectures.
    pub(super) image: String,
    /// Files for podman's quadlet (`podman-systemd.unit(5)`) that start it. `Image=` in them must be this image.
    #[serde(default)]
    pub(super) quadlets: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Signature {
    /// The images it is about: a registry, or a registry with a path, as `registry.example.com/team`.
    pub(super) images: String,
    /// The file with the public key of their owner: PEM for sigstore (as `cosign` makes it), OpenPGP otherwise.
    pub(super) key: PathBuf,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Disk {
    /// The EFI system partition. Three kernels with their initramfs must fit.
    #[schemars(with = "Option<String>", extend("x-default" = super::DEFAULT_ESP.to_string()))]
    pub(super) esp: Option<Size>,
    /// The root partition of each slot.
    #[schemars(with = "Option<String>", extend("x-default" = super::DEFAULT_ROOT.to_string()))]
    pub(super) root: Option<Size>,
    /// The state partition as shipped; it grows to the end of the disk at first boot.
    #[schemars(with = "Option<String>", extend("x-default" = super::DEFAULT_STATE.to_string()))]
    pub(super) state: Option<Size>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Budget {
    /// The largest root file system. The rest of the slot is the reserve for later releases.
    #[schemars(with = "Option<String>", extend("x-default" = "nine tenths of `[disk] root`"))]
    pub(super) root: Option<Size>,
    /// The largest unified kernel image.
    #[schemars(with = "Option<String>", extend("x-default" = "a third of the ESP"))]
    pub(super) uki: Option<Size>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Image {
    /// Further forms of the disk, beside the sparse file: `raw.zst`, `qcow2` (which needs `qemu-img`), and `split`: the partitions
    /// as files of their own.
    #[serde(default)]
    pub(super) formats: Vec<super::format::Format>,
}

impl Fragment {
    /// Makes every path of the file relative to `folder`, the folder the file is in.
    pub(super) fn rooted_at(mut self, folder: &Path) -> Self {
        let sections = (self.arch.values_mut().chain(self.suite.values_mut()))
            .flat_map(|section| section.overlays.iter_mut().chain(&mut section.packages.files));
        for path in (self.overlays.iter_mut())
            .chain(&mut self.include)
            .chain(&mut self.packages.files)
            .chain(&mut self.base.tarball)
            .chain(self.repository.iter_mut().map(|repository| &mut repository.key))
            .chain(self.signature.iter_mut().map(|signature| &mut signature.key))
            .chain((self.container.iter_mut()).flat_map(|container| &mut container.quadlets))
            .chain(sections)
        {
            *path = folder.join(&*path);
        }
        if let Some(image) = &mut self.base.oci
            && !image.starts_with(super::base::REGISTRY)
        {
            *image = folder.join(&*image).to_string_lossy().into_owned();
        }
        self
    }

    /// Lays this file over `base`, a file it includes.
    pub(super) fn over(self, base: Self) -> Self {
        Self {
            include: Vec::new(),
            product: self.product.or(base.product),
            overlays: joined(base.overlays, self.overlays),
            modes: merged(base.modes, self.modes),
            owners: merged(base.owners, self.owners),
            drop: joined(base.drop, self.drop),
            distribution: Distribution {
                suite: self.distribution.suite.or(base.distribution.suite),
                components: self.distribution.components.or(base.distribution.components),
            },
            repository: joined(base.repository, self.repository),
            base: Base {
                tarball: self.base.tarball.or(base.base.tarball),
                oci: self.base.oci.or(base.base.oci),
            },
            packages: self.packages.over(base.packages),
            kernel: self.kernel.over(base.kernel),
            initramfs: self.initramfs.over(base.initramfs),
            units: self.units.over(base.units),
            users: merged(base.users, self.users),
            groups: merged(base.groups, self.groups),
            container: joined(base.container, self.container),
            signature: joined(base.signature, self.signature),
            disk: Disk {
                esp: self.disk.esp.or(base.disk.esp),
                root: self.disk.root.or(base.disk.root),
                state: self.disk.state.or(base.disk.state),
            },
            budget: Budget {
                root: self.budget.root.or(base.budget.root),
                uki: self.budget.uki.or(base.budget.uki),
            },
            image: Image {
                formats: joined(base.image.formats, self.image.formats),
            },
            arch: laid_over(base.arch, self.arch),
            suite: laid_over(base.suite, self.suite),
        }
    }

    /// This file with the sections of `arch` and of its suite laid over it.
    pub(super) fn for_arch(mut self, arch: Arch) -> Self {
        let suite = self.distribution.suite.as_deref().unwrap_or(super::DEFAULT_SUITE);
        let sections = [self.arch.remove(&arch), self.suite.remove(suite)];
        sections
            .into_iter()
            .flatten()
            .fold(self, |below, section| section.alone().over(below))
    }
}

/// The sections `over`, each laid over the one of its name in `base`.
fn laid_over<Name: Ord>(mut base: BTreeMap<Name, Section>, over: BTreeMap<Name, Section>) -> BTreeMap<Name, Section> {
    for (name, section) in over {
        let below = base.remove(&name).unwrap_or_default();
        base.insert(name, section.over(below));
    }
    base
}

impl Section {
    /// A file that says no more than this.
    fn alone(self) -> Fragment {
        Fragment {
            overlays: self.overlays,
            drop: self.drop,
            packages: self.packages,
            kernel: self.kernel,
            initramfs: self.initramfs,
            units: self.units,
            ..Fragment::default()
        }
    }

    fn over(self, base: Self) -> Self {
        Self {
            overlays: joined(base.overlays, self.overlays),
            drop: joined(base.drop, self.drop),
            packages: self.packages.over(base.packages),
            kernel: self.kernel.over(base.kernel),
            initramfs: self.initramfs.over(base.initramfs),
            units: self.units.over(base.units),
        }
    }
}

impl Packages {
    fn over(self, base: Self) -> Self {
        Self {
            install: joined(base.install, self.install),
            files: joined(base.files, self.files),
            exclude: joined(base.exclude, self.exclude),
            keep: joined(base.keep, self.keep),
        }
    }
}

impl Kernel {
    fn over(self, base: Self) -> Self {
        Self {
            package: merged(base.package, self.package),
            firmware: joined(base.firmware, self.firmware),
            cmdline: self.cmdline.or(base.cmdline),
        }
    }
}

impl Initramfs {
    fn over(self, base: Self) -> Self {
        Self {
            load: self.load.or(base.load),
            modules: self.modules.or(base.modules),
        }
    }
}

impl Units {
    fn over(self, base: Self) -> Self {
        Self {
            enable: joined(base.enable, self.enable),
            disable: joined(base.disable, self.disable),
            mask: joined(base.mask, self.mask),
        }
    }
}

fn joined<T: PartialEq>(mut base: Vec<T>, more: Vec<T>) -> Vec<T> {
    for item in more {
        if !base.contains(&item) {
            base.push(item);
        }
    }
    base
}

fn merged<K: Ord, V>(base: BTreeMap<K, V>, more: BTreeMap<K, V>) -> BTreeMap<K, V> {
    base.into_iter().chain(more).collect()
}
