//! From a definition to an image: the steps in order, each in a file of its own.

mod archive;
pub mod check;
pub(crate) mod containers;
mod disk;
mod esp;
mod fat;
pub(crate) mod fetch;
mod forget;
mod formats;
pub mod indices;
mod inputs;
mod kernel;
pub mod lock;
pub mod locking;
pub mod manifest;
mod mirrors;
mod oci;
pub mod packages;
mod record;
pub(crate) mod resolve;
mod root;
mod sparse;
pub(crate) mod view;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use twinhull_layout::{Arch, Version};
use uuid::Uuid;

use crate::definition::Definition;
use crate::definition::size::Size;
use crate::error::{Doing, Error, Result};
use crate::keys::BuildKeys;
use crate::progress::Progress;
use crate::tools::{Log, binfmt};
use crate::work::{IfBusy, Work};
use crate::{initramfs, preflight, sbom, tree};
use lock::Lock;
use manifest::Manifest;
use record::Record;

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The definition file.
    pub definition: PathBuf,
    /// The version of the image.
    pub version: Version,
    /// The architecture of the image.
    pub arch: Arch,
    /// The metadata that hosts trust from the start.
    pub trust_root: PathBuf,
    /// The folder that gets the artefacts.
    pub output: PathBuf,
    /// The folder that keeps packages between builds.
    pub cache: PathBuf,
    /// Package files to install beside the packages of the definition.
    pub debs: Vec<PathBuf>,
    /// The static `init` of the image's architecture.
    pub init: PathBuf,
    /// The folder of keys to sign with.
    pub keys: Option<PathBuf>,
    /// The folder that signatures made elsewhere are taken from, and what is to be signed goes to.
    pub signatures: Option<PathBuf>,
    /// The lock file to build from; without it, packages are resolved now.
    pub lock: Option<PathBuf>,
    /// The log of the tools' output; by default beside the artefacts.
    pub log: Option<PathBuf>,
    /// Whether to make everything anew and compare it with what the cache gave.
    pub no_cache: bool,
    /// Whether to fetch packages anew although the cache has them.
    pub refresh: bool,
    /// Debian's main archive, if not the one that apt of this host uses.
    pub mirror: Option<String>,
    /// Debian's security archive, if not the one that apt of this host uses.
    pub security_mirror: Option<String>,
}

/// What every step gets.
#[derive(Debug)]
pub struct Context<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// What to build.
    pub definition: &'a Definition,
    /// Which packages to take, if a lock file says it.
    pub lock: Option<Lock>,
    /// What to sign with; nothing for an image without Secure Boot.
    pub keys: Option<BuildKeys>,
    /// Where the tools' output goes.
    pub log: Log,
    /// A folder beside the artefacts for everything unfinished; removed at the end, whatever the end is.
    pub work: PathBuf,
}

impl Context<'_> {
    /// An identifier that follows from what is built, so that the same build gives the same bytes.
    fn identifier(&self, what: &str) -> Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.digest(what)[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// A hash over what is built and `what`.
    fn digest(&self, what: &str) -> [u8; 32] {
        let Options { version, arch, .. } = self.options;
        Sha256::digest(format!("{what}\0{}\0{version}\0{arch}", self.definition.product)).into()
    }

    /// A file of the working folder.
    fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }
}

/// What a build left in the output folder.
#[derive(Debug)]
pub struct Built {
    /// What the image is.
    pub manifest: Manifest,
    /// The files, the manifest last.
    pub files: Vec<PathBuf>,
    /// Whether they were there already.
    pub unchanged: bool,
}

/// Builds an image.
///
/// # Errors
/// Before any work: the definition, missing tools, rights, files that are not there, room. Later: whatever a step says.
/// Nothing is left under a final name unless everything succeeded.
pub fn run(options: &Options, progress: &Progress) -> Result<Built> {
    let check::Checked { definition, lock, .. } = check::run(&check::Request {
        definition: options.definition.clone(),
        arch: options.arch,
        cache: options.cache.clone(),
        debs: options.debs.clone(),
        lock: options.lock.clone(),
        mirror: options.mirror.clone(),
        security_mirror: options.security_mirror.clone(),
        fetch: indices::Fetch::Never,
        init: Some(options.init.clone()),
        trust_root: Some(options.trust_root.clone()),
        // Opened below, once: a token may ask for something each time.
        keys: None,
        signatures: None,
    })?;
    preflight::root()?;
    let keys = (options.keys.as_deref())
        .map(|keys| BuildKeys::open(keys, options.signatures.as_deref()))
        .transpose()?;
    let cache = absolute(&options.cache)?;
    let output = absolute(&options.output)?;
    let options = &Options {
        output,
        cache,
        ..options.clone()
    };
    let name = manifest::name(&definition.product, &options.version, options.arch);
    let log = options
        .log
        .clone()
        .unwrap_or_else(|| options.output.join(format!("{name}.log")));
    let work = Work::take(&options.output.join(format!(".{name}.work")), IfBusy::Fail)?;
    let context = Context {
        options,
        definition: &definition,
        lock,
        keys,
        log: Log::create(&log)?,
        work: work.path().to_owned(),
    };
    let entry = packages::cache_entry(&context)?;
    let cached = entry.exists() && !options.refresh;
    if cached && let Some(built) = unchanged(&context, &entry, progress)? {
        return Ok(built);
    }
    emulation(&context, progress)?;
    preflight::room((!cached).then_some(options.cache.as_path()), &options.output)?;
    let built = steps(&context, progress)?;
    let record = Record::of(&built.files)?;
    let inputs::Keys { exact, comparable } = inputs::keys(&context, &entry)?;
    if options.no_cache {
        let step = progress.step("compare", "compare with the build from the cache");
        step.done(compare(
            Record::read(&options.cache, &comparable)?.as_ref(),
            &record,
            &options.output,
        )?);
    }
    for key in [exact, comparable] {
        record.keep(&options.cache, &key)?;
    }
    forget(&options.cache, progress);
    Ok(built)
}

/// Has the cache forget what nobody uses. The image is finished, whatever becomes of that.
fn forget(cache: &Path, progress: &Progress) {
    let step = progress.step("cache", "forget what no build has used for a month");
    step.done(&match forget::run(cache, SystemTime::now()) {
        Ok(0) => "everything in it was used within a month".to_owned(),
        Ok(forgotten) => format!("{forgotten} entries that nobody has used for a month are removed"),
        Err(error) => format!("not tidied: {error}"),
    });
}

/// Has the host run the programs of the image, when they are for another processor.
fn emulation(context: &Context<'_>, progress: &Progress) -> Result<()> {
    if context.options.arch == Arch::host() {
        return Ok(());
    }
    let step = progress.step("emulation", "see whether this host runs programs of the image");
    let done = binfmt::prepare(&context.log, context.options.arch)?;
    step.done(
        done.as_deref()
            .unwrap_or("the kernel runs programs of the image with QEMU"),
    );
    Ok(())
}

/// What an earlier build of the same inputs left in the output folder, if it is all there and as it was made.
fn unchanged(context: &Context<'_>, entry: &Path, progress: &Progress) -> Result<Option<Built>> {
    let options = context.options;
    let step = progress.step("inputs", "compare with earlier builds");
    let record = Record::read(&options.cache, &inputs::keys(context, entry)?.exact)?;
    let files = match record {
        Some(record) => record.intact(&options.output)?,
        None => None,
    };
    let Some(files) = files else {
        step.done("something is new");
        return Ok(None);
    };
    forget::used(entry);
    step.done("nothing has changed, and the artefacts are as they were made");
    let manifest = files
        .iter()
        // The bill of materials is JSON as well; the manifest comes last.
        .rfind(|file| file.extension().is_some_and(|ending| ending == "json"));
    let manifest = manifest.ok_or_else(|| Error::Content("the record of the build names no manifest".into()))?;
    Ok(Some(Built {
        manifest: Manifest::read(manifest)?,
        files,
        unchanged: true,
    }))
}

/// Says what came of a comparison of a build without the cache with an earlier one of the same inputs and packages; fails when they
/// differ.
fn compare(earlier: Option<&Record>, anew: &Record, output: &Path) -> Result<&'static str> {
    let Some(earlier) = earlier else {
        return Ok("nothing to compare with: no build with the cache had these inputs and packages");
    };
    match anew.difference(earlier) {
        None => Ok("equal to the cached build"),
        Some(name) => Err(Error::Content(format!(
            "{name} was built without the cache and differs from what the same inputs gave with it; the new one is in {}",
            output.display()
        ))),
    }
}

fn steps(context: &Context<'_>, progress: &Progress) -> Result<Built> {
    let (options, definition) = (context.options, context.definition);

    let step = progress.step("packages", "look what the cache has");
    let mut packages = packages::run(context, &step)?;
    step.done(match (packages.cached, &options.lock) {
        (true, None) => "from the cache (--refresh fetches anew)",
        (true, Some(_)) => "those of the lock, from the cache",
        (false, None) => "resolved, fetched and installed",
        (false, Some(_)) => "those of the lock, fetched and installed",
    });

    let containers = if definition.containers.is_empty() {
        Vec::new()
    } else {
        let step = progress.step("containers", "fetch container images");
        let containers = containers::run(context, &packages.tools)?;
        step.done(&format!(
            "{}, {}",
            containers.len(),
            if definition.signatures.is_empty() {
                "by their digests (no [[signature]] says whose they must be)"
            } else {
                "signed as [[signature]] wants it"
            }
        ));
        containers
    };

    let step = progress.step("tree", "make the tree of the image");
    let tree = tree::run(context, &packages, &containers)?;
    step.done(&format!("{} packages, kernel {}", tree.packages.len(), tree.kernel));

    let step = progress.step("root", "write the root file system");
    let root = root::file_system(context, &packages.tools_of_tree(), &tree.path, packages.time)?;
    step.done(&format!(
        "erofs of {}, {} of the slot",
        Size(root.size),
        percent(root.size, definition.disk.root.0)
    ));

    let step = progress.step("verity", "compute the tree of hashes");
    let verity = root::verity(context, &root)?;
    step.done(&format!("root hash {}…", &verity.root_hash().to_string()[..16]));

    let step = progress.step("initramfs", "pack init and modules");
    let initramfs = initramfs::run(definition, &tree, &options.init)?;
    step.done(&format!(
        "{} modules, {}",
        initramfs.modules,
        Size(initramfs.bytes.len() as u64)
    ));

    let step = progress.step("uki", "assemble the unified kernel image");
    let boot = kernel::run(context, &packages, &tree, &initramfs, verity.root_hash())?;
    let signed = match &context.keys {
        Some(keys) => format!("signed by {}", keys.database.certificate.subject()),
        None => "not signed (--keys)".to_owned(),
    };
    step.done(&format!("{}, {signed}", Size(boot.uki.len() as u64)));
    packages.discard()?;

    let step = progress.step("disk", "assemble the disk");
    let disk = disk::run(context, &packages, &root, &verity, &boot)?;
    step.done(&format!("{} with two slots", Size(disk.size)));

    let mut formats = Vec::new();
    for format in &definition.formats {
        let step = progress.step("format", format.name());
        let mut sizes = Vec::new();
        for (file, ending) in formats::run(context, &disk.path, root.size, *format, &step)? {
            let size = file.metadata().doing("look at", &file)?.len();
            sizes.push(format!("{ending} of {}", Size(size)));
            formats.push((file, ending));
        }
        step.done(&sizes.join(", "));
    }

    let manifest = Manifest::new(context, &root, &verity, &boot, tree.packages, packages.time);
    let step = progress.step("finish", "flush and move into place");
    let files = into_place(context, &packages, &disk.path, &formats, &boot.uki, &manifest)?;
    step.done("everything is in place");
    Ok(Built {
        manifest,
        files,
        unchanged: false,
    })
}

/// Moves the finished files to their names; the manifest last, so that whoever finds it finds the rest.
fn into_place(
    context: &Context<'_>,
    packages: &packages::Packages,
    disk: &Path,
    formats: &[(PathBuf, &'static str)],
    uki: &[u8],
    manifest: &Manifest,
) -> Result<Vec<PathBuf>> {
    let output = &context.options.output;
    let name = manifest.name();
    let target = |ending: &str| output.join(format!("{name}.{ending}"));
    let mut files = Vec::new();
    let further = formats.iter().map(|(file, ending)| (file.as_path(), *ending));
    for (from, ending) in std::iter::once((disk, "raw")).chain(further) {
        let to = target(ending);
        fs::File::open(from)
            .and_then(|file| file.sync_all())
            .doing("flush", from)?;
        fs::rename(from, &to).doing("move into place", &to)?;
        files.push(to);
    }
    let lock = packages.lock.to_text();
    let list = sbom::list(manifest);
    let fetched: Vec<&lock::Locked> = packages.lock.root.iter().chain(&packages.lock.boot).collect();
    let origins = sbom::Origins {
        suite: &context.definition.suite,
        fetched: &fetched,
        containers: &context.definition.containers,
    };
    let bill = sbom::spdx(manifest, origins)?;
    for (bytes, ending) in [
        (uki, "efi"),
        (lock.as_bytes(), "lock"),
        (list.as_bytes(), "packages"),
        (bill.as_bytes(), "spdx.json"),
        (manifest.to_json()?.as_bytes(), "json"),
    ] {
        let to = target(ending);
        twinhull_durable::replace(&to, bytes, 0o644)?;
        files.push(to);
    }
    Ok(files)
}

/// The folder as an absolute path; made when it is not there.
fn absolute(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).doing("make the folder", folder)?;
    folder.canonicalize().doing("find", folder)
}

/// How many processors a step may use, at least one.
fn processors() -> u32 {
    let there = thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(there).unwrap_or(u32::MAX)
}

fn percent(part: u64, whole: u64) -> String {
    format!("{} %", part.saturating_mul(100) / whole.max(1))
}

/// Fails when `size` passes `budget`.
fn fits(what: &str, size: u64, budget: Size, hint: &'static str) -> Result<()> {
    if size <= budget.0 {
        return Ok(());
    }
    Err(Error::Budget {
        what: what.into(),
        size: Size(size),
        budget,
        hint,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Options of a build with everything in `folder`.
    pub(crate) fn options(folder: &Path) -> Options {
        let path = |name: &str| folder.join(name);
        Options {
            definition: path("a.toml"),
            version: "1.0.0".parse().unwrap(),
            arch: Arch::X86_64,
            trust_root: path("root.json"),
            output: path("out"),
            cache: path("cache"),
            debs: Vec::new(),
            init: path("init"),
            keys: None,
            signatures: None,
            lock: None,
            log: None,
            no_cache: false,
            refresh: false,
            mirror: None,
            security_mirror: None,
        }
    }

    /// What the steps of that build get. The file of the definition must be there.
    pub(crate) fn context(options: &Options) -> Context<'_> {
        let definition = Definition::read(&options.definition, options.arch).unwrap();
        let folder = options.definition.parent().unwrap();
        Context {
            options,
            // It lives as long as the test program.
            definition: Box::leak(Box::new(definition)),
            lock: None,
            keys: None,
            log: Log::create(&folder.join("log")).unwrap(),
            work: folder.join("work"),
        }
    }

    #[test]
    fn no_comparison_is_told_from_an_equal_build() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.raw");
        let record = |content: &str| {
            fs::write(&file, content).unwrap();
            Record::of(std::slice::from_ref(&file)).unwrap()
        };
        let (one, same, other) = (record("1"), record("1"), record("2"));
        let said = |earlier| compare(earlier, &one, folder.path());
        assert!(said(None).unwrap().starts_with("nothing to compare with"));
        assert_eq!(said(Some(&same)).unwrap(), "equal to the cached build");
        assert!(
            said(Some(&other))
                .unwrap_err()
                .to_string()
                .starts_with("a.raw was built")
        );
    }
}
