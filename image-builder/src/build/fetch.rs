//! The package files of a lock: fetched once, verified, kept in the cache by their hash.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::lock::{Locked, MAIN, SECURITY};
use super::mirrors::Mirrors;
use crate::error::{Doing, Error, Result};
use crate::progress::Step;
use crate::tools::{Log, apt};
use crate::work::{IfBusy, Work};

/// How many missing packages an error names.
const NAMED: usize = 12;

/// Where the cache keeps `package`.
pub(super) fn place(cache: &Path, package: &Locked) -> PathBuf {
    cache
        .join("debs")
        .join(format!("{}.deb", package.sha256.to_lowercase()))
}

/// Fetches what the cache does not have, and shows in `step` how far that is.
///
/// # Errors
/// Names every package that no archive has any more, or whose bytes are not those of the lock.
pub(super) fn run<'a>(
    log: &Log,
    cache: &Path,
    mirrors: &dyn Fn() -> Result<Mirrors>,
    packages: impl Iterator<Item = &'a Locked>,
    step: &Step,
) -> Result<()> {
    // The same file may be in two lists.
    let mut missing: BTreeMap<&str, &Locked> = packages
        .filter(|package| !place(cache, package).is_file())
        .map(|package| (package.sha256.as_str(), package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let debs = cache.join("debs");
    fs::create_dir_all(&debs).doing("make the folder", &debs)?;
    // Hosts that have every package already need no archive.
    let mirrors = mirrors()?;
    let work = Work::take(&cache.join("debs.part"), IfBusy::Wait)?;
    // Another build may have fetched them while this one waited.
    missing.retain(|_, package| !place(cache, package).is_file());
    let target = |package: &Locked| work.path().join(format!("{}.deb", package.sha256));
    let wanted: Vec<(String, PathBuf, &str)> = (missing.values())
        .map(|package| (uri(package, &mirrors), target(package), package.sha256.as_str()))
        .collect();
    step.now(&format!("fetch {} packages", wanted.len()));
    let size = missing.values().map(|package| package.size).sum();
    // What it could not fetch is seen below, by name; its log says why.
    let ended = step.watch_bytes(size, || bytes_in(work.path()), || apt::download(log, &wanted));
    let mut gone = Vec::new();
    for package in missing.values() {
        let file = target(package);
        if file.is_file()
            && sha256(&file)
                .doing("read", &file)?
                .eq_ignore_ascii_case(&package.sha256)
        {
            fs::rename(&file, place(cache, package)).doing("keep", &file)?;
        } else {
            gone.push(format!("{} {}", package.name, package.version));
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    let (all, first) = (gone.len(), &gone[..gone.len().min(NAMED)]);
    let further = if all > NAMED {
        format!(" and {} more", all - NAMED)
    } else {
        String::new()
    };
    Err(Error::Gone {
        packages: first.join(", ") + &further,
        reason: ended.err().map(|error| error.to_string()).unwrap_or_default(),
        log: log.path().to_owned(),
    })
}

/// What the files of `folder` hold, in bytes; as far as can be seen.
fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .map(|found| found.len())
        .sum()
}

/// The address of a package today.
fn uri(package: &Locked, mirrors: &Mirrors) -> String {
    let archive = match package.archive.as_str() {
        MAIN => &mirrors.main,
        // An archive that holds everything may do for both.
        SECURITY => mirrors.security.as_ref().unwrap_or(&mirrors.main),
        other => other,
    };
    format!("{}/{}", archive.trim_end_matches('/'), package.path)
}

/// The SHA-256 of a file, in hexadecimal digits.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&piece[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;

    fn package(name: &str, content: &[u8]) -> Locked {
        Locked {
            name: name.into(),
            version: "1:2.0".into(),
            archive: MAIN.into(),
            path: format!("pool/{name}.deb"),
            size: content.len() as u64,
            sha256: hex::encode(Sha256::digest(content)),
        }
    }

    #[test]
    fn what_is_gone_or_changed_is_named_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, cache) = (folder.path().join("archive"), folder.path().join("cache"));
        fs::create_dir_all(archive.join("pool")).unwrap();
        fs::create_dir(&cache).unwrap();
        fs::write(archive.join("pool/there.deb"), "there").unwrap();
        fs::write(archive.join("pool/changed.deb"), "other!").unwrap();
        let log = Log::create(&folder.path().join("log")).unwrap();
        let mirrors = || {
            Ok(Mirrors {
                main: format!("copy:{}", archive.display()),
                security: None,
            })
        };
        let list = [
            package("there", b"there"),
            package("changed", b"before"),
            package("gone", b"gone"),
        ];
        let step = Progress::plain().step("packages", "fetch");
        let error = run(&log, &cache, &mirrors, list.iter(), &step).unwrap_err().to_string();
        assert!(
            error.contains("changed 1:2.0, gone 1:2.0") || error.contains("gone 1:2.0, changed 1:2.0"),
            "{error}"
        );
        assert!(
            !error.contains("there 1:2.0") && error.contains("twinhull lock"),
            "{error}"
        );
        // The one that was there is not fetched again: no archive is asked for.
        let none = || Err(Error::Content("no archive".into()));
        run(&log, &cache, &none, list[..1].iter(), &step).unwrap();
    }
}
