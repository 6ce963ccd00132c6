//! `twinhull lock`: writes down what a build would take today.

use std::path::PathBuf;

use twinhull_layout::Arch;

use super::lock::Lock;
use super::mirrors::Mirrors;
use super::{absolute, resolve};
use crate::definition::Definition;
use crate::error::Result;
use crate::preflight;
use crate::tools::{Log, apt};

/// What is locked, and with what.
#[derive(Debug, Clone)]
pub struct Request {
    /// The definition file.
    pub definition: PathBuf,
    /// The architecture of the image.
    pub arch: Arch,
    /// The folder that keeps indices between runs.
    pub cache: PathBuf,
    /// Where the lock goes; by default beside the definition.
    pub output: Option<PathBuf>,
    /// Debian's main archive, if not the one that apt of this host uses.
    pub mirror: Option<String>,
    /// Debian's security archive, if not the one that apt of this host uses.
    pub security_mirror: Option<String>,
}

/// A lock that was written.
#[derive(Debug)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub lock: Lock,
    /// What was in it before, if it was there and could be read.
    pub before: Option<Lock>,
}

/// Resolves the definition by fresh indices and writes the lock.
///
/// # Errors
/// The definition is not in order, an archive cannot be reached, a package is not there, the file cannot be written.
pub fn run(request: &Request) -> Result<Written> {
    let definition = Definition::read(&request.definition, request.arch)?;
    definition.kernel_package(request.arch)?;
    preflight::tools(&[])?;
    let cache = absolute(&request.cache)?;
    let log = Log::create(&cache.join(format!("lock-{}.log", std::process::id())))?;
    let mirrors = Mirrors::choose(
        &apt::sources(&log)?,
        request.mirror.as_deref(),
        request.security_mirror.as_deref(),
    )?;
    let lock = resolve::run(&resolve::Request {
        log: &log,
        cache: &cache,
        definition: &definition,
        arch: request.arch,
        mirrors: &mirrors,
    })?;
    let path =
        (request.output.clone()).unwrap_or_else(|| request.definition.with_extension(format!("{}.lock", request.arch)));
    let before = path.is_file().then(|| Lock::read(&path).ok()).flatten();
    twinhull_durable::replace(&path, lock.to_text().as_bytes(), 0o644)?;
    // Nobody needs the log of what went well.
    let _ = std::fs::remove_file(log.path());
    Ok(Written { path, lock, before })
}
