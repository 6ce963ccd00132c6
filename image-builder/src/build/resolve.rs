//! From what a definition asks for to a lock: apt decides which packages that takes, by the indices it has verified.

use std::path::Path;

use twinhull_layout::Arch;

use super::indices::{self, Fetch, Names};
use super::lock::{Lock, Locked, MAIN, SECURITY};
use super::mirrors::Mirrors;
use super::packages::BOOT_LOADER;
use crate::definition::Definition;
use crate::definition::package::Package;
use crate::error::{Error, Result};
use crate::preflight;
use crate::tools::apt::{self, Item};
use crate::tools::{Log, root};
use crate::work::{IfBusy, Work};

/// What the kernel and the boot loader are resolved from, and for whom.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) log: &'a Log,
    pub(super) cache: &'a Path,
    pub(super) definition: &'a Definition,
    pub(super) arch: Arch,
    pub(super) mirrors: &'a Mirrors,
}

/// Fetches the indices and resolves them.
pub(super) fn run(request: &Request<'_>) -> Result<Lock> {
    let Request {
        log,
        cache,
        definition,
        arch,
        mirrors,
    } = *request;
    let sources = mirrors.lines(definition)?;
    let host = Arch::host();
    let work = Work::take(
        &cache.join(format!("resolve-{}.part", std::process::id())),
        IfBusy::Wait,
    )?;
    let resolve = |arch: Arch, lists: &Path, wanted: &[&str]| {
        let folder = work.path().join(arch.as_str());
        let keyring = Path::new(preflight::KEYRING.0);
        let items = apt::resolve(log, &folder, lists, &sources, arch, keyring, wanted)?;
        locked(items, mirrors, definition)
    };
    let lists = |arch| {
        indices::lists(log, cache, &sources, arch, Fetch::Always)?
            .ok_or_else(|| Error::Content("the indices of the archives vanished from the cache".into()))
    };
    let of_image = lists(arch)?;
    let root = if definition.base.is_some() {
        Vec::new()
    } else {
        let named = chosen(&definition.packages, &of_image)?;
        let wanted: Vec<&str> = std::iter::once(apt::ESSENTIAL).chain(named).collect();
        resolve(arch, &of_image, &wanted)?
    };
    let kernel = definition.kernel_package(arch)?;
    let mut boot = resolve(arch, &of_image, &[kernel, BOOT_LOADER])?;
    boot.retain(|package| is_boot(&package.name, kernel));
    let of_host = if arch == host { of_image } else { lists(host)? };
    let tools = resolve(host, &of_host, &root::packages(definition))?;
    Lock::new(definition, arch, host, [root, boot, tools])
}

/// The name of each of `packages`: where one of several is enough, the first that the indices in the folder `lists` have.
fn chosen<'a>(packages: &'a [Package], lists: &Path) -> Result<Vec<&'a str>> {
    let is_choice = packages.iter().any(|package| package.names().nth(1).is_some());
    let known = is_choice.then(|| Names::read(lists)).transpose()?.unwrap_or_default();
    let choose = |package: &'a Package| {
        let found = package.names().find(|name| known.has(name));
        // Of those that are all absent, apt says so.
        found.or_else(|| package.names().next())
    };
    Ok(packages.iter().filter_map(choose).collect())
}

/// Whether something of a package enters the image out of the unpacked tree. The others are what these would need if they
/// were installed.
pub(crate) fn is_boot(name: &str, kernel: &str) -> bool {
    name == kernel
        || name == BOOT_LOADER
        || ["linux-image-", "linux-modules-", "linux-binary-", "linux-base-"]
            .iter()
            .any(|start| name.starts_with(start))
}

/// Names the archive of each item instead of the mirror.
fn locked(items: Vec<Item>, mirrors: &Mirrors, definition: &Definition) -> Result<Vec<Locked>> {
    let debian = [
        Some((MAIN, &mirrors.main)),
        mirrors.security.as_ref().map(|uri| (SECURITY, uri)),
    ];
    let further = definition.repositories.iter().map(|one| (one.uri.as_str(), &one.uri));
    let archives: Vec<(&str, &String)> = debian.into_iter().flatten().chain(further).collect();
    (items.into_iter())
        .map(|item| {
            let place = archives.iter().find_map(|(name, uri)| {
                let path = item.uri.strip_prefix(uri.trim_end_matches('/'))?.strip_prefix('/')?;
                Some(((*name).to_owned(), path.to_owned()))
            });
            let (archive, path) =
                place.ok_or_else(|| Error::Content(format!("apt names {}, which is in no archive", item.uri)))?;
            Ok(Locked {
                name: item.name,
                version: item.version,
                archive,
                path,
                size: item.size,
                sha256: item.sha256,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_packages_the_first_is_taken_that_the_suite_has() {
        let lists = tempfile::tempdir().unwrap();
        std::fs::write(
            lists.path().join("a_main_binary-amd64_Packages"),
            "Package: systemd\n\nPackage: nano\n",
        )
        .unwrap();
        let packages =
            ["systemd-repart | systemd", "nano | systemd", "vim", "a | b"].map(|text| Package::parse(text).unwrap());
        // Those that are not there are for apt to refuse, by their first name.
        assert_eq!(
            chosen(&packages, lists.path()).unwrap(),
            ["systemd", "nano", "vim", "a"]
        );
    }

    #[test]
    fn only_kernel_and_loader_are_unpacked() {
        let kernel = "linux-image-cloud-amd64";
        assert!(is_boot("linux-image-6.12.57+deb13-cloud-amd64", kernel) && is_boot(BOOT_LOADER, kernel));
        assert!(!is_boot("initramfs-tools", kernel) && !is_boot("linux-base", kernel));
        // Of Debian after 13: the list of what is built in is there.
        assert!(is_boot("linux-base-7.2.13+deb14-cloud-amd64", kernel));
        assert!(is_boot("kernel-of-ours", "kernel-of-ours"));
    }
}
