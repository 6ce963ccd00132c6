//! A definition file as it is written: everything optional, nothing checked but the names of keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use twinhull_layout::{Arch, Product};

use super::size::Size;

/// One file. Lists add up over included files; single values of the including file win.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fragment {
    #[serde(default)]
    pub(super) include: Vec<PathBuf>,
    pub(super) product: Option<Product>,
    #[serde(default)]
    pub(super) overlays: Vec<PathBuf>,
    #[serde(default)]
    pub(super) modes: BTreeMap<PathBuf, String>,
    #[serde(default)]
    pub(super) distribution: Distribution,
    #[serde(default)]
    pub(super) packages: Packages,
    #[serde(default)]
    pub(super) kernel: Kernel,
    #[serde(default)]
    pub(super) initramfs: Initramfs,
    #[serde(default)]
    pub(super) units: Units,
    #[serde(default)]
    pub(super) disk: Disk,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Distribution {
    pub(super) suite: Option<String>,
    pub(super) components: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Packages {
    #[serde(default)]
    pub(super) install: Vec<String>,
    #[serde(default)]
    pub(super) exclude: Vec<String>,
    #[serde(default)]
    pub(super) keep: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kernel {
    #[serde(default)]
    pub(super) package: BTreeMap<Arch, String>,
    pub(super) cmdline: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Initramfs {
    pub(super) load: Option<Vec<String>>,
    pub(super) modules: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Units {
    #[serde(default)]
    pub(super) enable: Vec<String>,
    #[serde(default)]
    pub(super) disable: Vec<String>,
    #[serde(default)]
    pub(super) mask: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Disk {
    pub(super) esp: Option<Size>,
    pub(super) root: Option<Size>,
    pub(super) state: Option<Size>,
}

impl Fragment {
    /// Makes every path of the file relative to `folder`, the folder the file is in.
    pub(super) fn rooted_at(mut self, folder: &Path) -> Self {
        for path in self.overlays.iter_mut().chain(&mut self.include) {
            *path = folder.join(&*path);
        }
        self
    }

    /// Lays this file over `base`, a file it includes.
    pub(super) fn over(self, base: Self) -> Self {
        Self {
            include: Vec::new(),
            product: self.product.or(base.product),
            overlays: joined(base.overlays, self.overlays),
            modes: base.modes.into_iter().chain(self.modes).collect(),
            distribution: Distribution {
                suite: self.distribution.suite.or(base.distribution.suite),
                components: self.distribution.components.or(base.distribution.components),
            },
            packages: Packages {
                install: joined(base.packages.install, self.packages.install),
                exclude: joined(base.packages.exclude, self.packages.exclude),
                keep: joined(base.packages.keep, self.packages.keep),
            },
            kernel: Kernel {
                package: base.kernel.package.into_iter().chain(self.kernel.package).collect(),
                cmdline: self.kernel.cmdline.or(base.kernel.cmdline),
            },
            initramfs: Initramfs {
                load: self.initramfs.load.or(base.initramfs.load),
                modules: self.initramfs.modules.or(base.initramfs.modules),
            },
            units: Units {
                enable: joined(base.units.enable, self.units.enable),
                disable: joined(base.units.disable, self.units.disable),
                mask: joined(base.units.mask, self.units.mask),
            },
            disk: Disk {
                esp: self.disk.esp.or(base.disk.esp),
                root: self.disk.root.or(base.disk.root),
                state: self.disk.state.or(base.disk.state),
            },
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
