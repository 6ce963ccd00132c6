//! What a build depends on, as one hash: of contents, never of times. Equal inputs give equal images, so a build whose
//! inputs are those of an earlier one has nothing to do.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::packages::{LOCK, RECORD};
use super::{Context, Options, sparse};
use crate::error::{Doing, Result};
use crate::{preflight, tools};

/// Changed when a build of equal inputs gives something else for a reason that is in none of them.
const FORMAT: &str = "1";

/// How much of a file is looked at as one piece, in bytes.
const PIECE: u32 = 64 * 1024;

/// What a build is known by.
#[derive(Debug)]
pub(super) struct Keys {
    /// The hash of everything that shapes the image.
    pub(super) exact: String,
    /// The hash of all that was asked for, and of which packages that came to; not of what their installation gave. Whatever builds
    /// have it in common should be equal.
    pub(super) comparable: String,
}

/// Both keys of a build; `packages` is the entry of the cache with its packages.
pub(super) fn keys(context: &Context<'_>, packages: &Path) -> Result<Keys> {
    let asked_for = asked_for(context, packages)?;
    let with = |told_by: &str| -> Result<String> {
        let path = packages.join(told_by);
        let mut hash = asked_for.clone();
        part(&mut hash, &content(&path).doing("read", &path)?);
        Ok(hex::encode(&hash.finalize()[..16]))
    };
    Ok(Keys {
        // The cache may have been filled anew since, and an installation may give something else.
        exact: with(RECORD)?,
        comparable: with(LOCK)?,
    })
}

/// Adds one part to a hash, apart from the next.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// The hash of all that was asked for, to which what that came to is yet to be added.
fn asked_for(context: &Context<'_>, packages: &Path) -> Result<Sha256> {
    let (options, definition) = (context.options, context.definition);
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| part(&mut hash, bytes);
    part(FORMAT.as_bytes());
    part(packages.file_name().unwrap_or_default().as_encoded_bytes());
    part(format!("{definition:?}").as_bytes());
    part(format!("{:?}", shaping(options)).as_bytes());
    part(std::env::var("SOURCE_DATE_EPOCH").unwrap_or_default().as_bytes());
    // This very program and those it runs: another version of either may write another image.
    let mut files = vec![PathBuf::from("/proc/self/exe")];
    files.extend(preflight::programs().filter_map(tools::find));
    files.extend([options.init.clone(), options.trust_root.clone()]);
    files.extend(options.debs.iter().chain(&definition.package_files).cloned());
    files.extend(definition.signatures.iter().map(|signature| signature.key.clone()));
    files.extend((definition.containers.iter()).flat_map(|container| container.quadlets.iter().cloned()));
    for file in files {
        part(&content(&file).doing("read", &file)?);
    }
    // Equal certificates mean equal keys, and equal keys sign equal bytes.
    if let Some(keys) = &context.keys {
        part(keys.database.certificate.der());
        part(keys.verity.certificate.der());
        for (name, content) in &keys.enrolment {
            part(name.as_bytes());
            part(content);
        }
    }
    for overlay in &definition.overlays {
        for (path, is_executable) in walk(overlay)? {
            part(
                path.strip_prefix(overlay)
                    .unwrap_or(&path)
                    .as_os_str()
                    .as_encoded_bytes(),
            );
            part(&[u8::from(is_executable)]);
            if path.is_symlink() {
                let target = std::fs::read_link(&path).doing("read the link", &path)?;
                part(target.as_os_str().as_encoded_bytes());
            } else if path.is_file() {
                part(&content(&path).doing("read", &path)?);
            }
        }
    }
    Ok(hash)
}

/// The options without those that say where things are and what is shown. A new one counts until it is named here.
fn shaping(options: &Options) -> Options {
    Options {
        definition: PathBuf::new(),
        keys: None,
        // Wherever they are made, they are the same bytes.
        signatures: None,
        output: PathBuf::new(),
        cache: PathBuf::new(),
        log: None,
        refresh: false,
        no_cache: false,
        // What it says is in the name of the packages.
        lock: None,
        mirror: None,
        security_mirror: None,
        ..options.clone()
    }
}

/// Everything below `folder`, sorted, and whether each may be executed.
fn walk(folder: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).doing("list", &folder)? {
            let path = entry.doing("list", &folder)?.path();
            let meta = path.symlink_metadata().doing("look at", &path)?;
            if meta.is_dir() {
                pending.push(path.clone());
            }
            found.push((path, meta.permissions().mode() & 0o111 != 0));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The hash of a file's content. Holes cost nothing, and count as the zeros they are.
pub(super) fn content(path: &Path) -> io::Result<[u8; 32]> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut hash = Sha256::new();
    hash.update(size.to_le_bytes());
    let mut piece = vec![0; PIECE as usize];
    let piece_size = u64::from(PIECE);
    let mut at = 0;
    while let Some((start, end)) = sparse::data(&file, at, size)? {
        // Whole pieces, so that the extents of one copy give the same as those of another.
        let mut offset = start.max(at) / piece_size * piece_size;
        while offset < end {
            let wanted = usize::try_from(piece_size.min(size - offset)).unwrap_or(0);
            file.read_exact_at(&mut piece[..wanted], offset)?;
            if piece[..wanted].iter().any(|byte| *byte != 0) {
                hash.update(offset.to_le_bytes());
                hash.update(&piece[..wanted]);
            }
            offset += piece_size;
        }
        at = offset;
    }
    Ok(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn holes_and_written_zeros_are_the_same_and_one_byte_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let size = 3 * PIECE as usize + 17;
        let mut bytes = vec![0; size];
        bytes[2 * PIECE as usize + 5] = 1;
        fs::write(path("full"), &bytes).unwrap();
        let sparse = File::create_new(path("sparse")).unwrap();
        sparse.set_len(size as u64).unwrap();
        sparse.write_all_at(&[1], 2 * u64::from(PIECE) + 5).unwrap();
        assert_eq!(content(&path("full")).unwrap(), content(&path("sparse")).unwrap());
        // The last, partial piece counts as well.
        sparse.write_all_at(&[1], size as u64 - 1).unwrap();
        assert_ne!(content(&path("full")).unwrap(), content(&path("sparse")).unwrap());
        sparse.set_len(size as u64 + 1).unwrap();
        fs::write(path("full"), [bytes, vec![0]].concat()).unwrap();
        assert_ne!(content(&path("full")).unwrap(), content(&path("sparse")).unwrap());
    }

    #[test]
    fn what_an_installation_gave_does_not_keep_builds_from_being_compared() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [("a.toml", "product = \"p\"\n"), ("init", ""), ("root.json", "")] {
            fs::write(path(name), text).unwrap();
        }
        let options = crate::build::tests::options(folder.path());
        let context = crate::build::tests::context(&options);
        let entry = path("packages-1");
        fs::create_dir(&entry).unwrap();
        let with = |lock: &str, record: &str| {
            fs::write(entry.join(LOCK), lock).unwrap();
            fs::write(entry.join(RECORD), record).unwrap();
            let Keys { exact, comparable } = keys(&context, &entry).unwrap();
            (exact, comparable)
        };
        let first = with("lock", "installed");
        let installed_otherwise = with("lock", "installed otherwise");
        assert_ne!(first.0, installed_otherwise.0);
        assert_eq!(first.1, installed_otherwise.1);
        assert_ne!(first.1, with("other packages", "installed").1);
    }

    #[test]
    fn the_bit_for_execution_of_an_overlay_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/x");
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(&file, "").unwrap();
        let before = walk(folder.path()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(before.len(), 2);
        assert_ne!(walk(folder.path()).unwrap(), before);
    }
}
