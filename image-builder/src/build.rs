//! From a definition to an image: the steps in order, each in a file of its own.

mod disk;
mod esp;
mod fat;
mod kernel;
pub mod manifest;
mod mirrors;
pub mod packages;
mod root;

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use twinhull_layout::{Arch, Version};
use uuid::Uuid;

use crate::definition::Definition;
use crate::definition::size::Size;
use crate::error::{Doing, Error, Result};
use crate::progress::Progress;
use crate::tools::Log;
use crate::work::{IfBusy, Work};
use crate::{initramfs, preflight, tree};
use manifest::Manifest;

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
    /// The log of the tools' output; by default beside the artefacts.
    pub log: Option<PathBuf>,
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
}

/// Builds an image.
///
/// # Errors
/// Before any work: the definition, missing tools, rights, files that are not there, room. Later: whatever a step says.
/// Nothing is left under a final name unless everything succeeded.
pub fn run(options: &Options, progress: &Progress) -> Result<Built> {
    let definition = check(&options.definition, options.arch)?;
    preflight::file(&options.init, "--init")?;
    preflight::file(&options.trust_root, "--trust-root")?;
    for deb in &options.debs {
        preflight::file(deb, "--deb")?;
    }
    preflight::root()?;
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
        log: Log::create(&log)?,
        work: work.path().to_owned(),
    };
    let cached = packages::cache_entry(&context)?.exists() && !options.refresh;
    preflight::room((!cached).then_some(options.cache.as_path()), &options.output)?;
    steps(&context, &name, progress)
}

/// Checks a definition, and whether the tools that a build of it runs are there. Needs no rights.
pub fn check(definition: &Path, arch: Arch) -> Result<Definition> {
    let definition = Definition::read(definition)?;
    definition.kernel_package(arch)?;
    preflight::tools()?;
    Ok(definition)
}

fn steps(context: &Context<'_>, name: &str, progress: &Progress) -> Result<Built> {
    let (options, definition) = (context.options, context.definition);

    let step = progress.step("packages", "fetch and install packages");
    let packages = packages::run(context)?;
    step.done(if packages.cached {
        "from the cache (--refresh fetches anew)"
    } else {
        "fetched and installed"
    });

    let step = progress.step("tree", "make the tree of the image");
    let tree = tree::run(context, &packages)?;
    step.done(&format!("{} packages, kernel {}", tree.packages.len(), tree.kernel));

    let step = progress.step("root", "write the root file system");
    let root = root::file_system(context, &tree.path, packages.time)?;
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
    step.done(&Size(boot.uki.len() as u64).to_string());

    let step = progress.step("disk", "assemble the disk");
    let disk = disk::run(context, &root, &verity, &boot, packages.time)?;
    step.done(&format!("{} with two slots", Size(disk.size)));

    let manifest = Manifest::new(context, &root, &verity, &boot, tree.packages, packages.time);
    let step = progress.step("finish", "flush and move into place");
    let files = into_place(context, name, &root.path, &disk.path, &boot.uki, &manifest)?;
    step.done("everything is in place");
    Ok(Built { manifest, files })
}

/// Moves the finished files to their names; the manifest last, so that whoever finds it finds the rest.
fn into_place(
    context: &Context<'_>,
    name: &str,
    root: &Path,
    disk: &Path,
    uki: &[u8],
    manifest: &Manifest,
) -> Result<Vec<PathBuf>> {
    let output = &context.options.output;
    let target = |ending: &str| output.join(format!("{name}.{ending}"));
    let mut files = Vec::new();
    for (from, ending) in [(root, "root"), (disk, "raw")] {
        let to = target(ending);
        fs::File::open(from)
            .and_then(|file| file.sync_all())
            .doing("flush", from)?;
        fs::rename(from, &to).doing("move into place", &to)?;
        files.push(to);
    }
    for (bytes, ending) in [(uki, "efi"), (manifest.to_json()?.as_bytes(), "json")] {
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
