//! Everything that can be known before any work, in a second or two: what a user would else learn after minutes.

use std::path::{Path, PathBuf};

use twinhull_layout::Arch;

use super::indices::{self, Fetch, Names};
use super::lock::Lock;
use super::mirrors::Mirrors;
use super::packages::BOOT_LOADER;
use crate::definition::Definition;
use crate::definition::base::{Base, Oci};
use crate::definition::format::Format;
use crate::definition::package::Package;
use crate::error::{Error, Result};
use crate::keys::BuildKeys;
use crate::preflight;
use crate::tools::{Log, apt, binfmt, dpkg_deb};

/// What is checked, and with what.
#[derive(Debug, Clone)]
pub struct Request {
    /// The definition file.
    pub definition: PathBuf,
    /// The architecture of the image.
    pub arch: Arch,
    /// The folder that keeps indices between runs.
    pub cache: PathBuf,
    /// Package files that the command line adds.
    pub debs: Vec<PathBuf>,
    /// The lock file that will be built from.
    pub lock: Option<PathBuf>,
    /// Debian's main archive, if not the one that apt of this host uses.
    pub mirror: Option<String>,
    /// Debian's security archive, if not the one that apt of this host uses.
    pub security_mirror: Option<String>,
    /// Whether indices may be fetched.
    pub fetch: Fetch,
    /// The static `init` that will be packed.
    pub init: Option<PathBuf>,
    /// The metadata that hosts will trust from the start.
    pub trust_root: Option<PathBuf>,
    /// The folder of keys that will sign.
    pub keys: Option<PathBuf>,
    /// Where signatures of keys will be from that are not in it.
    pub signatures: Option<PathBuf>,
}

/// A definition that is in order.
#[derive(Debug)]
pub struct Checked {
    /// The definition.
    pub definition: Definition,
    /// The lock, if one was named.
    pub lock: Option<Lock>,
    /// Why the names of packages were not looked up, if they were not.
    pub names_unknown: Option<String>,
}

/// Checks the definition, the tools of this host, and that every package exists.
///
/// # Errors
/// All problems at once, except that a file which cannot be read hides what is in it.
pub fn run(request: &Request) -> Result<Checked> {
    let definition = Definition::read(&request.definition, request.arch)?;
    definition.kernel_package(request.arch)?;
    let mut extra: Vec<_> = binfmt::needs(request.arch).into_iter().collect();
    if definition.formats.contains(&Format::Qcow2) {
        extra.push(("qemu-img", "qemu-utils"));
    }
    if matches!(definition.base, Some(Base::Oci(_))) {
        extra.push(("zstd", "zstd"));
    }
    if matches!(definition.base, Some(Base::Oci(Oci::Registry(_)))) {
        extra.push(("skopeo", "skopeo"));
    }
    preflight::tools(&extra)?;
    let lock = (request.lock.as_deref()).map(|path| {
        let lock = Lock::read(path)?;
        lock.fits(path, &definition, request.arch, Arch::host()).map(|()| lock)
    });
    let lock = lock.transpose()?;
    let mut problems = Vec::new();
    for file in definition.package_files.iter().chain(&request.debs) {
        problems.extend(package_file(file, request.arch));
    }
    problems.extend(
        request
            .init
            .iter()
            .filter_map(|init| preflight::init(init, request.arch)),
    );
    problems.extend(request.trust_root.iter().filter_map(|root| preflight::trust_root(root)));
    let signatures = request.signatures.as_deref();
    let keys = (request.keys.iter()).filter_map(|keys| BuildKeys::open(keys, signatures).err());
    problems.extend(keys.map(|error| format!("--keys: {error}")));
    // What a lock names was there when it was written, and is fetched by its hash or found to be gone: the archives are not asked.
    let names_unknown = match lock {
        Some(_) => None,
        None => unknown_names(request, &definition, &mut problems)?,
    };
    if problems.is_empty() {
        Ok(Checked {
            definition,
            lock,
            names_unknown,
        })
    } else {
        Err(Error::Definition {
            path: request.definition.clone(),
            problem: problems.join("\n  "),
        })
    }
}

/// What is wrong with a package file, if anything.
fn package_file(file: &Path, arch: Arch) -> Option<String> {
    if !file.is_file() {
        return Some(format!("{} is not there", file.display()));
    }
    match dpkg_deb::identity(file) {
        Ok((_, of)) if of == "all" || of == arch.debian() => None,
        Ok((name, of)) => Some(format!(
            "{} is {name} for {of}, and the image is for {}",
            file.display(),
            arch.debian()
        )),
        Err(problem) => Some(problem),
    }
}

/// Adds to `problems` what is wrong with the names of packages; says why they were not looked up, if they were not.
fn unknown_names(request: &Request, definition: &Definition, problems: &mut Vec<String>) -> Result<Option<String>> {
    match names(request, definition) {
        Ok(Some(names)) => {
            let kernel = definition.kernel_package(request.arch)?;
            let of_boot = [kernel, BOOT_LOADER].map(Package::named);
            let wanted = definition.packages.iter().chain(&of_boot);
            problems.extend(wanted.filter_map(|package| names.problem(package, &definition.suite, request.arch)));
            Ok(None)
        }
        Ok(None) => Ok(Some("no indices in the cache".to_owned())),
        Err(error @ Error::Untrusted { .. }) => {
            problems.push(error.to_string());
            Ok(None)
        }
        // Nobody wanted them asked: a build comes to that itself.
        Err(error) if request.fetch == Fetch::Never => Ok(Some(error.to_string())),
        Err(error) => {
            problems.push(format!(
                "the archives did not say which packages there are, so those of the definition may not exist: {error}\n  --offline checks everything else without them"
            ));
            Ok(None)
        }
    }
}

fn names(request: &Request, definition: &Definition) -> Result<Option<Names>> {
    let cache = super::absolute(&request.cache)?;
    let log = Log::create(&cache.join(format!("check-{}.log", std::process::id())))?;
    let found = (|| {
        let mirrors = Mirrors::choose(
            &apt::sources(&log)?,
            request.mirror.as_deref(),
            request.security_mirror.as_deref(),
        )?;
        let sources = mirrors.lines(definition)?;
        let lists = indices::lists(&log, &cache, &sources, request.arch, request.fetch)?;
        lists.map(|lists| Names::read(&lists)).transpose()
    })();
    if found.is_ok() {
        // Nobody needs the log of what went well.
        let _ = std::fs::remove_file(log.path());
    }
    found
}
