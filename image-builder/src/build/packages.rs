//! Step 1: the packages, installed into one tree, and the kernel with the boot loader, unpacked into another.
//!
//! What to take is a lock's to say: that of the command line, or one that is resolved now. The kernel is only unpacked:
//! installing it would pull a generator of initramfs images into the root, and ours is written by step 5. Both trees are kept
//! in the cache under the hash of what shaped them, with the lock they are from; a build makes its image of a view of them ([`View`]).
//! Packed they would take a third of the room there, but unpacking them costs more than all the rest of a build after a change.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use twinhull_layout::Arch;

use super::lock::{Lock, Locked};
use super::mirrors::Mirrors;
use super::view::View;
use super::{Context, archive, fetch, forget, inputs, oci, resolve};
use crate::definition::base::{Base, Oci};
use crate::error::{Doing, Error, Result};
use crate::progress::Step;
use crate::tools::mmdebstrap::{self, Request};
use crate::tools::root::{self, ToolRoot};
use crate::tools::{apt, dpkg, dpkg_deb, tar};
use crate::tree;
use crate::work::{self, Held, IfBusy, Work};

/// The layout of a cache entry; changed when entries of an earlier build no longer mean the same.
const CACHE_FORMAT: &str = "7";

/// The two trees.
const ROOT: &str = "root";
const BOOT: &str = "boot";

/// What an entry holds.
const TREES: &str = "trees";
pub(super) const LOCK: &str = "packages.lock";
pub(super) const RECORD: &str = "record.json";

/// dpkg's list of what is installed.
const DATABASE: &str = "var/lib/dpkg/status";

/// The package with systemd-boot and systemd-stub.
pub(super) const BOOT_LOADER: &str = "systemd-boot-efi";

/// What is written about an entry, last: with it, the entry is whole.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    time: u64,
    /// The hash of dpkg's list of what is installed.
    installed: String,
}

/// Installed and unpacked packages.
#[derive(Debug)]
pub struct Packages {
    /// The installed packages, with the modules of the kernel: this build may change them.
    pub view: View,
    /// The unpacked kernel and boot loader, in the cache: to read.
    pub boot: PathBuf,
    /// The tools that shape the image.
    pub tools: ToolRoot,
    /// What all of them are from.
    pub lock: Lock,
    /// Name and version of the packages that the kernel and the boot loader are from.
    pub boot_packages: Vec<(String, String)>,
    /// The time stamp of everything in the image: that of the newest file of a package, in seconds since 1970.
    pub time: u64,
    /// Whether they were in the cache.
    pub cached: bool,
    /// What is below the view is there as long as this.
    _entry: Held,
}

impl Packages {
    /// The tools, which see the view.
    pub(crate) fn tools_of_tree(&self) -> ToolRoot {
        self.tools.showing(self.view.tree())
    }

    /// Removes the view: the steps after the kernel image do not read it, and where it is a copy the disk needs as much room.
    pub(super) fn discard(&mut self) -> Result<()> {
        self.view.discard()
    }
}

/// Where the cache keeps what `context` asks for.
pub fn cache_entry(context: &Context<'_>) -> Result<PathBuf> {
    let definition = context.definition;
    let mut hash = Sha256::new();
    for part in [
        CACHE_FORMAT,
        context.options.arch.as_str(),
        Arch::host().as_str(),
        &definition.exclude.join(" "),
        &definition.keep.join(" "),
    ] {
        hash.update(part);
        hash.update([0]);
    }
    if let Some(lock) = &context.lock {
        hash.update(lock.to_text());
    } else {
        let mut packages: Vec<String> = definition.packages.iter().map(ToString::to_string).collect();
        packages.sort_unstable();
        for part in [
            &definition.suite,
            &definition.components.join(" "),
            definition.kernel_package(context.options.arch)?,
            &packages.join(" "),
            // Another version of this program may need other tools.
            &root::packages(definition).join(" "),
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
    }
    match &definition.base {
        Some(Base::Tarball(file) | Base::Oci(Oci::Archive(file))) => {
            hash.update(inputs::content(file).doing("read", file)?);
        }
        // The index names everything else by its hash.
        Some(Base::Oci(Oci::Layout(folder))) => {
            let index = folder.join("index.json");
            hash.update(inputs::content(&index).doing("read", &index)?);
        }
        Some(Base::Oci(Oci::Registry(reference))) => hash.update(reference),
        None => {}
    }
    let name = hex::encode(&hash.finalize()[..12]);
    let folder = if context.options.no_cache {
        &context.work
    } else {
        &context.options.cache
    };
    Ok(folder.join(format!("{}{name}", forget::PACKAGES)))
}

/// Takes both trees from the cache, or makes them; `step` shows what of that is going on.
pub fn run(context: &Context<'_>, step: &Step) -> Result<Packages> {
    let entry = cache_entry(context)?;
    if !context.options.refresh
        && let Some(found) = cached(context, &entry, step)?
    {
        return Ok(found);
    }
    step.now("wait for another build that has these packages in work");
    let work = Work::take(&entry.with_extension("part"), IfBusy::Wait)?;
    // Another build may have made them while this one waited.
    if entry.join(RECORD).exists() {
        if !context.options.refresh
            && let Some(found) = cached(context, &entry, step)?
        {
            return Ok(found);
        }
        // Another build may be reading them.
        work::remove(&entry)?;
    }
    step.now("find out which packages that takes");
    let lock = match &context.lock {
        Some(lock) => lock.clone(),
        None => resolve::run(&resolve::Request {
            log: &context.log,
            cache: &context.options.cache,
            definition: context.definition,
            arch: context.options.arch,
            mirrors: &mirrors(context)?,
        })?,
    };
    fetched(context, lock.all(), step)?;
    let tools = tools(context, &lock, step)?;
    let made = work.path().join("made");
    let trees = made.join(TREES);
    fs::create_dir_all(&trees).doing("make the folder", &trees)?;
    install(context, &lock, &tools, work.path(), &trees, step)?;
    let list = trees.join(ROOT).join(DATABASE);
    let record = Record {
        time: newest(&trees.join(ROOT))?.max(newest(&trees.join(BOOT))?),
        installed: fetch::sha256(&list).doing("read", &list)?,
    };
    let path = made.join(LOCK);
    fs::write(&path, lock.to_text()).doing("write", &path)?;
    let path = made.join(RECORD);
    let text = serde_json::to_vec(&record)
        .map_err(|error| Error::Content(format!("cannot write {}: {error}", path.display())))?;
    fs::write(&path, text).doing("write", &path)?;
    // Before others find it.
    let held = Held::take(&made)?.ok_or_else(|| Error::Content(format!("{} vanished", made.display())))?;
    fs::rename(&made, &entry).doing("move the packages to", &entry)?;
    packages(context, &entry, held, &record, lock, tools, false)
}

/// What the cache has under `entry`.
fn cached(context: &Context<'_>, entry: &Path, step: &Step) -> Result<Option<Packages>> {
    let Some(held) = Held::take(entry)? else {
        return Ok(None);
    };
    let Some(record) = record(entry)? else { return Ok(None) };
    forget::used(entry);
    let lock = Lock::read(&entry.join(LOCK))?;
    let tools = tools(context, &lock, step)?;
    packages(context, entry, held, &record, lock, tools, true).map(Some)
}

/// What is written about `entry`, if it is whole.
fn record(entry: &Path) -> Result<Option<Record>> {
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
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

fn packages(
    context: &Context<'_>,
    entry: &Path,
    held: Held,
    record: &Record,
    lock: Lock,
    tools: ToolRoot,
    cached: bool,
) -> Result<Packages> {
    let trees = entry.join(TREES);
    // The convention of reproducible builds: who sets this variable wants that time in everything.
    let fixed = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    // Debian's packages have no marks of an overlay; a base may, and the layers of container images do.
    let plain = context.definition.base.is_none() && context.definition.containers.is_empty();
    let view = if plain { View::overlay } else { View::copy };
    Ok(Packages {
        view: view(&context.log, &trees.join(ROOT), &context.file("packages"))?,
        boot: trees.join(BOOT),
        boot_packages: (lock.boot.iter())
            .map(|package| (package.name.clone(), package.version.clone()))
            .collect(),
        tools,
        lock,
        time: fixed.unwrap_or(record.time),
        cached,
        _entry: held,
    })
}

fn mirrors(context: &Context<'_>) -> Result<Mirrors> {
    let options = context.options;
    Mirrors::choose(
        &apt::sources(&context.log)?,
        options.mirror.as_deref(),
        options.security_mirror.as_deref(),
    )
}

/// Has the package files in the cache.
fn fetched<'a>(context: &Context<'_>, packages: impl Iterator<Item = &'a Locked>, step: &Step) -> Result<()> {
    let mirrors = || mirrors(context);
    fetch::run(&context.log, &context.options.cache, &mirrors, packages, step)
}

/// The tree of the tools of `lock`, out of the cache if it has one.
fn tools(context: &Context<'_>, lock: &Lock, step: &Step) -> Result<ToolRoot> {
    let cache = &context.options.cache;
    let mut hash = Sha256::new();
    hash.update(CACHE_FORMAT);
    for package in &lock.tools {
        hash.update(&package.sha256);
    }
    let name = format!("{}{}", forget::TOOLS, hex::encode(&hash.finalize()[..12]));
    let tree = if context.options.no_cache { &context.work } else { cache }.join(name);
    if !tree.exists() {
        fetched(context, lock.tools.iter(), step)?;
        step.now("unpack the tools");
        let work = Work::take(&tree.with_extension("part"), IfBusy::Wait)?;
        // Another build may have made it while this one waited.
        if !tree.exists() {
            let made = work.path().join("made");
            unpack(context, &lock.tools, &made)?;
            root::complete(&made)?;
            fs::rename(&made, &tree).doing("move the tools to", &tree)?;
        }
    }
    forget::used(&tree);
    Ok(ToolRoot::new(&tree, vec![cache.clone(), context.work.clone()]))
}

/// Unpacks packages over each other.
fn unpack(context: &Context<'_>, packages: &[Locked], to: &Path) -> Result<()> {
    fs::create_dir_all(to).doing("make the folder", to)?;
    // It brings the links from /bin to /usr/bin and the like, which must be there before the files.
    let (first, rest): (Vec<&Locked>, Vec<&Locked>) = packages.iter().partition(|package| package.name == "base-files");
    for package in first.into_iter().chain(rest) {
        dpkg_deb::extract(&context.log, &fetch::place(&context.options.cache, package), to)?;
    }
    Ok(())
}

/// Makes both trees in the folder `trees`; `work` is a folder beside the cache for what that takes.
fn install(context: &Context<'_>, lock: &Lock, tools: &ToolRoot, work: &Path, trees: &Path, step: &Step) -> Result<()> {
    let (definition, options) = (context.definition, context.options);
    let root = trees.join(ROOT);
    if let Some(base) = &definition.base {
        fs::create_dir(&root).doing("make the folder", &root)?;
        step.now("unpack the base");
        match base {
            Base::Tarball(tarball) => tar::unpack(&context.log, tarball, &root)?,
            Base::Oci(image) => oci::unpack(&context.log, image, options.arch, &work.join("oci"), &root)?,
        }
    } else {
        let source = archive::make(
            &context.log,
            &options.cache,
            &lock.root,
            &lock.suite,
            &work.join("archive"),
        )?;
        let names: Vec<&str> = lock.root.iter().map(|package| package.name.as_str()).collect();
        let request = Request {
            arch: options.arch,
            suite: &lock.suite,
            source: &source,
            packages: &names,
            exclude: &definition.exclude,
            keep: &definition.keep,
        };
        step.now(&format!("install {} packages", names.len()));
        // Each is unpacked and then configured.
        step.watch_things(
            2 * names.len() as u64,
            || dpkg::steps(&root),
            || mmdebstrap::run(&context.log, tools, &request, &root),
        )?;
        as_locked(&lock.root, &tree::packages(&root)?)?;
    }
    step.now("unpack the kernel and the boot loader");
    let boot = trees.join(BOOT);
    unpack(context, &lock.boot, &boot)?;
    // Once, here, and not in every build.
    tree::modules::decompress(&context.log, tools, &boot)?;
    tree::modules::install(&context.log, &boot, &root)
}

/// Fails when something else is installed than the lock says.
fn as_locked(lock: &[Locked], installed: &[(String, String)]) -> Result<()> {
    let wanted: BTreeSet<(&str, &str)> = (lock.iter())
        .map(|package| (package.name.as_str(), package.version.as_str()))
        .collect();
    let found: BTreeSet<(&str, &str)> = (installed.iter())
        .map(|(name, version)| (name.as_str(), version.as_str()))
        .collect();
    match wanted.symmetric_difference(&found).next() {
        None => Ok(()),
        Some((name, version)) => Err(Error::Content(format!(
            "{name} {version} is {} the lock and {} the tree: the packages of the lock contradict each other",
            if wanted.contains(&(*name, *version)) {
                "in"
            } else {
                "not in"
            },
            if found.contains(&(*name, *version)) {
                "in"
            } else {
                "not in"
            },
        ))),
    }
}

/// The newest time stamp among the files that packages brought. Files that their scripts wrote do not count: they carry
/// the time of this very build.
fn newest(tree: &Path) -> Result<u64> {
    let info = tree.join("var/lib/dpkg/info");
    let mut newest = 0;
    // An unpacked tree has no list of files; nobody ran a script in it either, so its kernel's own time counts.
    let Ok(lists) = fs::read_dir(&info) else {
        let kernel = tree::modules::kernel(tree)?;
        let found = kernel.metadata().doing("look at", &kernel)?;
        return Ok(u64::try_from(found.mtime()).unwrap_or(0));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_beside_the_lock_or_not_at_all_is_found() {
        let locked = Locked {
            name: "podman".into(),
            version: "5".into(),
            archive: "debian".into(),
            path: "pool/podman.deb".into(),
            size: 1,
            sha256: "00".repeat(32),
        };
        let tree = |version: &str| vec![("podman".to_owned(), version.to_owned())];
        assert!(as_locked(std::slice::from_ref(&locked), &tree("5")).is_ok());
        assert!(as_locked(std::slice::from_ref(&locked), &tree("6")).is_err());
        assert!(as_locked(std::slice::from_ref(&locked), &[]).is_err());
        assert!(as_locked(&[], &tree("5")).is_err());
    }

    #[test]
    fn entry_without_its_record_is_not_used() {
        let entry = tempfile::tempdir().unwrap();
        fs::create_dir(entry.path().join(TREES)).unwrap();
        assert!(record(entry.path()).unwrap().is_none());
        fs::write(entry.path().join(RECORD), "{").unwrap();
        assert!(record(entry.path()).unwrap_err().to_string().contains("; remove "));
    }
}
