//! Step 1: the packages, installed into one tree, and the kernel with the boot loader, unpacked into another.
//!
//! The kernel is only unpacked: installing it would pull a generator of initramfs images into the root, and ours is written
//! by step 5. Both trees are kept in the cache under the hash of what shaped them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Context;
use super::inputs;
use super::mirrors::Mirrors;
use crate::error::{Doing, Error, Result};
use crate::tools::mmdebstrap::{self, Request, Variant};
use crate::tools::{apt, tar};
use crate::tree;
use crate::work::{IfBusy, Work};

/// The layout of a cache entry; changed when entries of an earlier build no longer mean the same.
const CACHE_FORMAT: &str = "3";

/// What an entry holds.
pub(super) const ROOT: &str = "root";
const BOOT: &str = "boot";
const BOOT_LIST: &str = "boot.list";
pub(super) const RECORD: &str = "record.json";

/// The package with systemd-boot and systemd-stub.
pub(super) const BOOT_LOADER: &str = "systemd-boot-efi";

/// What is written about an entry, last: with it, the entry is whole.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    time: u64,
    boot_packages: Vec<(String, String)>,
}

/// Installed and unpacked packages. Both trees belong to the cache and are not to be changed.
#[derive(Debug)]
pub struct Packages {
    /// The installed packages.
    pub root: PathBuf,
    /// The unpacked kernel and boot loader.
    pub boot: PathBuf,
    /// Name and version of the packages that the kernel and the boot loader are from.
    pub boot_packages: Vec<(String, String)>,
    /// The time stamp of everything in the image: that of the newest file of a package, in seconds since 1970.
    pub time: u64,
    /// Whether they were in the cache.
    pub cached: bool,
}

/// Where the cache keeps what `context` asks for.
pub fn cache_entry(context: &Context<'_>) -> Result<PathBuf> {
    let definition = context.definition;
    let mut hash = Sha256::new();
    let mut packages: Vec<&str> = definition.packages.iter().map(String::as_str).collect();
    packages.sort_unstable();
    let kernel = definition.kernel_package(context.options.arch)?;
    for part in [
        CACHE_FORMAT,
        &definition.suite,
        &definition.components.join(" "),
        context.options.arch.as_str(),
        kernel,
        &packages.join(" "),
        &definition.exclude.join(" "),
        &definition.keep.join(" "),
    ] {
        hash.update(part);
        hash.update([0]);
    }
    for repository in &definition.repositories {
        hash.update(format!(
            "{} {} {:?}\0",
            repository.uri, repository.suite, repository.components
        ));
        hash.update(inputs::content(&repository.key).doing("read the key", &repository.key)?);
    }
    if let Some(tarball) = &definition.tarball {
        hash.update(inputs::content(tarball).doing("read", tarball)?);
    }
    let name = hex::encode(&hash.finalize()[..12]);
    let folder = if context.options.no_cache {
        &context.work
    } else {
        &context.options.cache
    };
    Ok(folder.join(format!("packages-{name}")))
}

/// Takes both trees from the cache, or makes them.
pub fn run(context: &Context<'_>) -> Result<Packages> {
    let entry = cache_entry(context)?;
    if let Some(found) = cached(&entry)?
        && !context.options.refresh
    {
        return Ok(found);
    }
    let work = Work::take(&entry.with_extension("part"), IfBusy::Wait)?;
    // Another build may have made them while this one waited.
    if let Some(found) = cached(&entry)? {
        if !context.options.refresh {
            return Ok(found);
        }
        fs::remove_dir_all(&entry).doing("remove the outdated packages in", &entry)?;
    }
    let made = work.path().join("made");
    fs::create_dir(&made).doing("make the folder", &made)?;
    install(context, &made)?;
    let record = Record {
        time: newest(&made.join(ROOT))?.max(newest(&made.join(BOOT))?),
        boot_packages: boot_packages(&made)?,
    };
    let path = made.join(RECORD);
    let text = serde_json::to_vec(&record)
        .map_err(|error| Error::Content(format!("cannot write {}: {error}", path.display())))?;
    fs::write(&path, text).doing("write", &path)?;
    fs::rename(&made, &entry).doing("move the packages to", &entry)?;
    Ok(packages(&entry, record, false))
}

/// What the cache has under `entry`.
fn cached(entry: &Path) -> Result<Option<Packages>> {
    let path = entry.join(RECORD);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.doing("read", &path)?,
    };
    let damaged = |error| {
        Error::Content(format!(
            "{} is damaged ({error}); remove {}",
            path.display(),
            entry.display()
        ))
    };
    let record = serde_json::from_slice(&text).map_err(damaged)?;
    Ok(Some(packages(entry, record, true)))
}

fn packages(entry: &Path, record: Record, cached: bool) -> Packages {
    // The convention of reproducible builds: who sets this variable wants that time in everything.
    let fixed = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    Packages {
        root: entry.join(ROOT),
        boot: entry.join(BOOT),
        boot_packages: record.boot_packages,
        time: fixed.unwrap_or(record.time),
        cached,
    }
}

fn install(context: &Context<'_>, made: &Path) -> Result<()> {
    let (definition, options) = (context.definition, context.options);
    let mirrors = Mirrors::choose(
        &apt::sources(&context.log)?,
        options.mirror.as_deref(),
        options.security_mirror.as_deref(),
    )?;
    let sources = mirrors.lines(definition)?;
    let listed: Vec<&str> = definition.packages.iter().map(String::as_str).collect();
    let request = Request {
        variant: Variant::Installed,
        arch: options.arch,
        suite: &definition.suite,
        sources: &sources,
        packages: &listed,
        exclude: &definition.exclude,
        keep: &definition.keep,
    };
    let root = made.join(ROOT);
    if let Some(tarball) = &definition.tarball {
        fs::create_dir(&root).doing("make the folder", &root)?;
        tar::unpack(&context.log, tarball, &root)?;
    } else {
        mmdebstrap::run(&context.log, &request, &root)?;
    }
    let kernel = definition.kernel_package(options.arch)?;
    let list = made.join(BOOT_LIST);
    let request = Request {
        variant: Variant::Unpacked { list: &list },
        packages: &[kernel, BOOT_LOADER],
        ..request
    };
    mmdebstrap::run(&context.log, &request, &made.join(BOOT))?;
    // Once, here, and not in every build.
    tree::modules::decompress(&context.log, &made.join(BOOT))
}

/// The packages of which something enters the image out of the unpacked tree: kernel and boot loader. The others there are
/// only what these would need if they were installed.
fn boot_packages(made: &Path) -> Result<Vec<(String, String)>> {
    let list = made.join(BOOT_LIST);
    let text = fs::read_to_string(&list).doing("read", &list)?;
    let found = text
        .lines()
        .filter_map(package_file)
        .filter(|(name, _)| name.starts_with("linux-image-") || name == BOOT_LOADER);
    Ok(found.collect())
}

/// Name and version out of the name of a package file, as `linux-image-amd64_6.12.1-1_amd64.deb`, where `%3a` is a colon.
fn package_file(name: &str) -> Option<(String, String)> {
    let mut parts = name.strip_suffix(".deb")?.splitn(3, '_');
    Some((parts.next()?.to_owned(), parts.next()?.replace("%3a", ":")))
}

/// The newest time stamp among the files that packages brought. Files that their scripts wrote do not count: they carry
/// the time of this very build.
fn newest(tree: &Path) -> Result<u64> {
    let info = tree.join("var/lib/dpkg/info");
    let mut newest = 0;
    // An unpacked tree has no list of files; nobody ran a script in it either, so its kernel's own time counts.
    let Ok(lists) = fs::read_dir(&info) else {
        return newest_in(&tree.join("boot"));
    };
    for list in lists {
        let path = list.doing("read", &info)?.path();
        if path.extension().is_none_or(|extension| extension != "list") {
            continue;
        }
        let files = fs::read_to_string(&path).doing("read", &path)?;
        for file in files.lines().filter(|file| file.starts_with("/usr/")) {
            if let Ok(found) = tree.join(&file[1..]).symlink_metadata()
                && found.is_file()
            {
                newest = newest.max(u64::try_from(found.mtime()).unwrap_or(0));
            }
        }
    }
    Ok(newest)
}

fn newest_in(folder: &Path) -> Result<u64> {
    let mut newest = 0;
    for entry in fs::read_dir(folder).doing("read", folder)? {
        let found = entry.and_then(|entry| entry.metadata()).doing("read", folder)?;
        newest = newest.max(u64::try_from(found.mtime()).unwrap_or(0));
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_package_files_give_name_and_version() {
        assert_eq!(
            package_file("linux-image-6.12_6.12.1-1_amd64.deb"),
            Some(("linux-image-6.12".into(), "6.12.1-1".into()))
        );
        assert_eq!(package_file("x_1%3a2.3_all.deb"), Some(("x".into(), "1:2.3".into())));
        assert_eq!(package_file("lock"), None);
    }

    #[test]
    fn entry_without_its_record_is_not_used() {
        let entry = tempfile::tempdir().unwrap();
        fs::create_dir(entry.path().join(ROOT)).unwrap();
        assert!(cached(entry.path()).unwrap().is_none());
        fs::write(entry.path().join(RECORD), "{").unwrap();
        assert!(cached(entry.path()).unwrap_err().to_string().contains("; remove "));
    }
}
