//! The files that start this host, looked at now and then: the kernel images and the loader, on the EFI system partition.
//!
//! Nothing else vouches for them. FAT has no checksums, and without Secure Boot the firmware starts whatever is there: a kernel
//! image with a few bad bytes may hang at every boot, and the loader would choose it every time. So a [`Copy`] of each is kept on
//! the state partition with its sha256, made when the file is known to be good (right after an install compared it with what
//! was signed) or is first seen. What rots is written anew from the copy, in place and only where it differs: whenever
//! the power is cut, what is left is no worse than before.
//!
//! Rot leaves the time of a file's last change as it is. A file that somebody changed has another one, and is taken as it is now.

mod copy;
mod mend;

use std::fs;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use twinhull_layout::{BootEntry, paths::ENTRIES};
use twinhull_trust::Hex32;

use crate::install::HEAD;
use crate::io::{self as host_io, forget};
use copy::Copy;

/// Folders of the loader: where every firmware looks, and where a boot option points.
const LOADERS: [&str; 2] = ["EFI/BOOT", "EFI/systemd"];

/// Largest file that is kept, in bytes.
const MAX_SIZE: u64 = 256 * 1024 * 1024;

/// Bytes that are compared and written at once: a page, so that nothing has to be read from a bad place to write to it.
const BLOCK: usize = 4096;

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// What was found of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is as it was.
    Whole,
    /// It was seen for the first time; it has a copy now.
    New,
    /// Somebody changed it since; the copy is of what it is now.
    Changed,
    /// It had rotted, and is right again.
    Mended {
        /// Blocks of 4096 bytes that were written anew.
        blocks: u64,
    },
    /// It has rotted and stays so.
    Damaged {
        /// Why it could not be put right.
        why: String,
    },
}

/// A file could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// Something about the file or its copy.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A copy or what is known of it cannot be kept.
    #[error(transparent)]
    Keep(#[from] twinhull_durable::Error),
    /// It is no kernel image and no loader.
    #[error("{} has {size} bytes; more than {MAX_SIZE} are not kept", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ScrubError + 'a {
    move |source| ScrubError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Looks at every file that starts this host, on the EFI system partition mounted at `esp`; `copies` is the folder of their
/// copies. Gives each by its path below `esp`. Copies of releases that are gone are removed, and what a check of the file system
/// left behind.
pub fn scrub(esp: &Path, copies: &Path) -> Vec<(String, Result<Finding, ScrubError>)> {
    let mut found = Vec::new();
    for folder in [ENTRIES].into_iter().chain(LOADERS) {
        match names(&esp.join(folder)) {
            Ok(names) => {
                let paths = names.iter().map(|name| format!("{folder}/{name}"));
                let starting = paths.filter(|path| starts_host(esp, path));
                found.extend(starting.map(|path| {
                    let finding = file(esp, copies, &path);
                    (path, finding)
                }));
            }
            Err(error) => found.push((folder.to_owned(), Err(error))),
        }
    }
    let mut failures = Vec::new();
    for folder in LOADERS {
        match gone(esp, copies, folder) {
            Ok(gone) => found.extend(gone.into_iter().map(|(path, finding)| (path, Ok(finding)))),
            Err(error) => failures.push(error),
        }
    }
    failures.extend(
        [tidy(esp, copies), remove_salvaged(esp)]
            .into_iter()
            .filter_map(Result::err),
    );
    found.extend(failures.into_iter().map(|error| (".".to_owned(), Err(error))));
    found
}

/// Looks at one file, by its path below `esp`.
///
/// # Errors
/// See [`ScrubError`].
pub fn file(esp: &Path, copies: &Path, path: &str) -> Result<Finding, ScrubError> {
    let original = esp.join(path);
    // Otherwise what is in memory would be found, which is what was written and not what is there.
    let (size, modified) = from_medium(&original)?;
    let mut copy = Copy::at(copies, &key(path))?;
    let Some(record) = copy.record() else {
        copy.keep(&original, modified)?;
        return Ok(Finding::New);
    };
    // What cannot be read is not what it was.
    if hash(&original).is_ok_and(|found| found == record.sha256) {
        if record.mending || record.modified != modified {
            copy.note(modified, false)?;
        }
        if !copy.is_whole() {
            tracing::warn!("the copy of {path} has rotted, and is made anew");
            copy.keep(&original, modified)?;
        }
        return Ok(Finding::Whole);
    }
    // One that was being mended when the power went has the time of that.
    if !record.mending && record.modified != modified {
        copy.keep(&original, modified)?;
        return Ok(Finding::Changed);
    }
    if !copy.is_whole() {
        let why = "its copy on the state partition has rotted as well";
        return Ok(Finding::Damaged { why: why.to_owned() });
    }
    if size != record.size {
        let why = format!("it has {size} bytes and should have {}", record.size);
        return Ok(Finding::Damaged { why });
    }
    mend::mend(&original, &mut copy)
}

/// Forgets the copy of the release of `entry`: another file of that name is about to be written.
///
/// # Errors
/// The folder of copies cannot be written.
pub fn forget_release(copies: &Path, entry: &BootEntry) -> Result<(), ScrubError> {
    Copy::at(copies, &key_of_release(entry))?.remove()
}

/// Under which name the copy of a file is kept: entries come and go under several names, which differ in their boot counter.
fn key(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.parse::<BootEntry>() {
        Ok(entry) if path.starts_with(ENTRIES) => key_of_release(&entry),
        _ => path.to_owned(),
    }
}

/// The same of an entry of a release.
fn key_of_release(entry: &BootEntry) -> String {
    let entry = BootEntry::blessed(entry.product.clone(), entry.version.clone());
    format!("{ENTRIES}/{entry}")
}

/// Whether the firmware starts the file, or the loader before others. An entry without a first sector was taken away on purpose,
/// or is not finished; and one that is bad is the loader's last resort.
fn starts_host(esp: &Path, path: &str) -> bool {
    let Some(name) = path.strip_prefix(ENTRIES) else {
        return path.to_lowercase().ends_with(".efi");
    };
    let Ok(entry) = name.trim_start_matches('/').parse::<BootEntry>() else {
        return false;
    };
    let mut head = [0; HEAD];
    let taken_away = fs::File::open(esp.join(path))
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok_and(|()| head == [0; HEAD]);
    !entry.is_bad() && !taken_away
}

/// The loaders that have a copy and are no longer there.
fn gone(esp: &Path, copies: &Path, folder: &str) -> Result<Vec<(String, Finding)>, ScrubError> {
    let kept = copy::copied(&copies.join(folder))?.into_iter();
    let gone = kept.filter(|name| !esp.join(folder).join(name).exists());
    let told = gone.map(|name| {
        let path = format!("{folder}/{name}");
        let why = format!("it is gone; its copy is {}", copies.join(&path).display());
        (path, Finding::Damaged { why })
    });
    Ok(told.collect())
}

/// Removes the copies of releases that have no file any more.
fn tidy(esp: &Path, copies: &Path) -> Result<(), ScrubError> {
    let there: Vec<String> = names(&esp.join(ENTRIES))?
        .iter()
        .map(|name| key(&format!("{ENTRIES}/{name}")))
        .collect();
    for name in copy::copied(&copies.join(ENTRIES))? {
        let path = format!("{ENTRIES}/{name}");
        if !there.contains(&path) {
            Copy::at(copies, &path)?.remove()?;
        }
    }
    Ok(())
}

/// Removes what `fsck.vfat` salvaged at the boot after a power cut: clusters that belonged to a file which was being written or
/// removed. Nobody reads them, and each may be as large as a kernel image.
fn remove_salvaged(esp: &Path) -> Result<(), ScrubError> {
    for name in names(esp)?.iter().filter(|name| is_salvaged(name)) {
        let path = esp.join(name);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        tracing::info!("removed {name} from the EFI system partition: left by a file system check after a power cut");
    }
    Ok(())
}

/// Whether `fsck.vfat(8)` gives such names to clusters that it finds.
fn is_salvaged(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let number = name.strip_prefix("FSCK").and_then(|rest| rest.strip_suffix(".REC"));
    number.is_some_and(|number| number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn names(folder: &Path) -> Result<Vec<String>, ScrubError> {
    match host_io::names(folder) {
        Ok(mut names) => {
            names.sort();
            Ok(names)
        }
        // An image may have one loader only.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("list", folder)(error)),
    }
}

/// Makes the next read of `path` come from the medium. Gives its size in bytes, and when it was changed, in seconds.
fn from_medium(path: &Path) -> Result<(u64, u64), ScrubError> {
    let file = fs::File::open(path).map_err(failed("open", path))?;
    file.sync_all().map_err(failed("flush", path))?;
    let metadata = file.metadata().map_err(failed("look at", path))?;
    let size = metadata.len();
    if size > MAX_SIZE {
        return Err(ScrubError::TooLarge {
            path: path.to_owned(),
            size,
        });
    }
    forget(&file, 0, size).map_err(failed("read from the medium", path))?;
    let modified = metadata.modified().map_err(failed("look at", path))?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok((size, since.as_secs()))
}

/// sha256 of a file.
fn hash(path: &Path) -> Result<Hex32, ScrubError> {
    let file = fs::File::open(path).map_err(failed("open", path))?;
    host_io::sha256(&mut BufReader::with_capacity(CHUNK, file)).map_err(failed("read", path))
}

#[cfg(test)]
mod tests;
