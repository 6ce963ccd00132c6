//! What is in an erofs image, without mounting it: every file with what an image keeps of it.
//!
//! Reads what the builder writes (`mkfs.erofs` without compression) by the description in the kernel's
//! `Documentation/filesystems/erofs.rst`: superblock, compact and extended inodes, data in blocks of its own with or without the end
//! beside the inode. Images come from elsewhere too, so every offset is compared with the size of the image, and the depth and number
//! of files have a bound.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Doing, Error, Result};
use crate::part::Part;

/// Where the superblock is, in bytes, and its first number.
const SUPERBLOCK: u64 = 1024;
const MAGIC: u32 = 0xE0F5_E1E2;

/// Inodes begin at multiples of this, in bytes.
const INODE_SLOT: u64 = 32;

/// Bytes of an entry of a directory.
const DIRENT: usize = 12;

/// The most that is believed: files of an image, folders in each other, bytes of one directory or link.
const MAX_FILES: usize = 4_000_000;
const MAX_DEPTH: usize = 128;
const MAX_LISTING: u64 = 64 << 20;

/// How often the bytes of an image may be content: hard links give the same to several names.
const MAX_SHARING: u64 = 16;

/// How much of a file is read at once, in bytes.
const PIECE: u64 = 1 << 20;

/// The kinds of files in a mode.
const KIND: u16 = 0o170_000;
const FOLDER: u16 = 0o040_000;
const REGULAR: u16 = 0o100_000;
const LINK: u16 = 0o120_000;

/// One file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Kind and permissions, as `stat(2)` has them.
    pub(crate) mode: u16,
    /// Its owner.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
    /// Bytes of its content; nothing for folders, whose size says something of the image and not of them.
    pub(crate) size: u64,
    /// SHA-256 of its content, or of where a link leads.
    pub(crate) content: [u8; 32],
}

/// Every file of the image `part`, by its path in the image, without the root folder.
///
/// # Errors
/// It cannot be read, is no erofs image, is damaged, or is of a kind that the builder does not write.
pub(crate) fn files(part: &Part) -> Result<BTreeMap<PathBuf, Entry>> {
    let path = part.path();
    let image = Image::open(part).doing("read the root file system", path)?;
    let mut found = BTreeMap::new();
    let mut pending = vec![(PathBuf::from("/"), image.root, 0)];
    let mut bytes = 0;
    while let Some((folder, number, depth)) = pending.pop() {
        let read = image.folder(number, depth);
        for (name, number) in read.doing("read the root file system", path)? {
            let place = folder.join(OsStr::from_bytes(&name));
            let inode = image.inode(number).doing("read the root file system", path)?;
            let entry = image.entry(&inode).doing("read the root file system", path)?;
            if entry.mode & KIND == FOLDER {
                pending.push((place.clone(), number, depth + 1));
            }
            bytes += entry.size;
            let twice = found.insert(place, entry).is_some();
            if twice || found.len() > MAX_FILES || bytes / MAX_SHARING > image.size {
                return Err(Error::Content(format!(
                    "{} names one file twice, or more files than it can hold: it is damaged",
                    path.display()
                )));
            }
        }
    }
    Ok(found)
}

/// What the image `part` has of one file: its content, without following links.
///
/// # Errors
/// As [`files`]; and the file is larger than 64 MiB.
pub(crate) fn file(part: &Part, path: &Path) -> Result<Option<Vec<u8>>> {
    content_at(part, path).doing("read the root file system", part.path())
}

fn content_at(part: &Part, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let image = Image::open(part)?;
    let mut number = image.root;
    for (depth, name) in path.iter().enumerate() {
        let names = image.folder(number, depth)?;
        let found = names.into_iter().find(|(known, _)| known == name.as_bytes());
        let Some((_, next)) = found else { return Ok(None) };
        number = next;
    }
    let inode = image.inode(number)?;
    if inode.mode & KIND != REGULAR || inode.size > MAX_LISTING {
        return Err(damaged(
            "it has something else where a file should be, or one that is too large",
        ));
    }
    let mut content = Vec::new();
    image.content(&inode, |piece| content.extend_from_slice(piece))?;
    Ok(Some(content))
}

/// The time stamp of everything in the image `part`, in seconds since 1970.
///
/// # Errors
/// As [`files`].
pub(crate) fn time(part: &Part) -> Result<u64> {
    let seconds = Image::open(part).and_then(|image| image.bytes(SUPERBLOCK + 24));
    Ok(u64::from_le_bytes(
        seconds.doing("read the root file system", part.path())?,
    ))
}

/// An image that is open.
struct Image<'a> {
    part: &'a Part,
    size: u64,
    /// Bytes of a block.
    block: u64,
    /// Where inodes begin, in bytes.
    inodes: u64,
    root: u64,
}

/// What is written about a file.
struct Inode {
    mode: u16,
    uid: u32,
    gid: u32,
    size: u64,
    /// The first block of its content; for a device, which one.
    start: u32,
    /// Where the end of its content is, in bytes, if it has no block for it.
    tail: Option<u64>,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl<'a> Image<'a> {
    fn open(part: &'a Part) -> io::Result<Self> {
        let mut image = Self {
            part,
            size: part.size(),
            block: 0,
            inodes: 0,
            root: 0,
        };
        let head: [u8; 128] = image.bytes(SUPERBLOCK)?;
        if u32_at(&head, 0) != MAGIC {
            return Err(damaged("it is no erofs image"));
        }
        let bits = head[12];
        if !(9..=16).contains(&bits) {
            return Err(damaged("its blocks have a size that none has"));
        }
        image.block = 1 << bits;
        image.inodes = u64::from(u32_at(&head, 0x28)) << bits;
        image.root = u64::from(u16_at(&head, 14));
        Ok(image)
    }

    /// `N` bytes from `at` on.
    fn bytes<const N: usize>(&self, at: u64) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.part
            .read_exact_at(&mut bytes, at)
            .map_err(|_| damaged("it points past its end"))?;
        Ok(bytes)
    }

    fn inode(&self, number: u64) -> io::Result<Inode> {
        let at = number
            .checked_mul(INODE_SLOT)
            .and_then(|offset| offset.checked_add(self.inodes))
            .filter(|at| *at < self.size)
            .ok_or_else(|| damaged("it has an inode past its end"))?;
        let head: [u8; 32] = self.bytes(at)?;
        let (format, attributes) = (u16_at(&head, 0), u64::from(u16_at(&head, 2)));
        let (length, size, uid, gid) = if format & 1 == 0 {
            (
                32,
                u64::from(u32_at(&head, 8)),
                u16_at(&head, 24).into(),
                u16_at(&head, 26).into(),
            )
        } else {
            let size = u64::from(u32_at(&head, 8)) | u64::from(u32_at(&head, 12)) << 32;
            (64, size, u32_at(&head, 24), u32_at(&head, 28))
        };
        // A header of three numbers, then one number for each.
        let attributes = if attributes == 0 { 0 } else { 12 + (attributes - 1) * 4 };
        let mode = u16_at(&head, 4);
        let tail = match format >> 1 & 7 {
            0 => None,
            2 => Some(at + length + attributes),
            _ if ![FOLDER, REGULAR, LINK].contains(&(mode & KIND)) => None,
            _ => {
                return Err(damaged(
                    "it is compressed or in chunks, which the builder does not write",
                ));
            }
        };
        if size > self.size {
            return Err(damaged("it has a file that is larger than itself"));
        }
        Ok(Inode {
            mode,
            uid,
            gid,
            size,
            start: u32_at(&head, 16),
            tail,
        })
    }

    /// Gives the content of a file to `each`, piece by piece.
    fn content(&self, inode: &Inode, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let blocks = match inode.tail {
            Some(_) => inode.size.saturating_sub(1) / self.block * self.block,
            None => inode.size,
        };
        let mut read = |mut at: u64, mut left: u64| {
            let mut piece = vec![0; usize::try_from(left.min(PIECE)).unwrap_or(0)];
            while left > 0 {
                let wanted = usize::try_from(left.min(PIECE)).unwrap_or(0);
                let read = self.part.read_exact_at(&mut piece[..wanted], at);
                read.map_err(|_| damaged("it has a file past its end"))?;
                each(&piece[..wanted]);
                at += wanted as u64;
                left -= wanted as u64;
            }
            Ok::<_, io::Error>(())
        };
        read(u64::from(inode.start) * self.block, blocks)?;
        read(inode.tail.unwrap_or(0), inode.size - blocks)
    }

    fn entry(&self, inode: &Inode) -> io::Result<Entry> {
        let mut hash = Sha256::new();
        let kind = inode.mode & KIND;
        let size = match kind {
            REGULAR | LINK => {
                self.content(inode, |piece| hash.update(piece))?;
                inode.size
            }
            FOLDER => 0,
            _ => {
                hash.update(inode.start.to_le_bytes());
                0
            }
        };
        Ok(Entry {
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            size,
            content: hash.finalize().into(),
        })
    }

    /// The names in a folder, with the numbers of their inodes.
    fn folder(&self, number: u64, depth: usize) -> io::Result<Vec<(Vec<u8>, u64)>> {
        let inode = self.inode(number)?;
        if inode.mode & KIND != FOLDER || depth > MAX_DEPTH || inode.size > MAX_LISTING {
            return Err(damaged("it has a folder that is none, too large, or too deep"));
        }
        let mut listing = Vec::new();
        self.content(&inode, |piece| listing.extend_from_slice(piece))?;
        let mut names = Vec::new();
        let block = usize::try_from(self.block).unwrap_or(usize::MAX);
        for block in listing.chunks(block) {
            names_in(block, &mut names)?;
        }
        Ok(names)
    }
}

/// The names in one block of a folder: entries of fixed size, then the names, the last of which ends with the block or a zero.
fn names_in(block: &[u8], names: &mut Vec<(Vec<u8>, u64)>) -> io::Result<()> {
    let wrong = || damaged("it has a folder whose names are not where they should be");
    if block.len() < DIRENT {
        return Err(wrong());
    }
    let count = usize::from(u16_at(block, 8)) / DIRENT;
    if count == 0 || count * DIRENT > block.len() {
        return Err(wrong());
    }
    for index in 0..count {
        let entry = &block[index * DIRENT..][..DIRENT];
        let start = usize::from(u16_at(entry, 8));
        let end = if index + 1 < count {
            usize::from(u16_at(block, (index + 1) * DIRENT + 8))
        } else {
            block.len()
        };
        let name = block.get(start..end).ok_or_else(wrong)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name.is_empty() || name.contains(&b'/') {
            return Err(wrong());
        }
        if name != b"." && name != b".." {
            let number = u64::from(u32_at(entry, 0)) | u64::from(u32_at(entry, 4)) << 32;
            names.push((name.to_vec(), number));
        }
    }
    Ok(())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::process::Command;

    /// A tree with a bit of everything, and the image that `mkfs.erofs` makes of it; none without that program.
    fn image(folder: &Path) -> Option<(PathBuf, PathBuf)> {
        let (tree, image) = (folder.join("tree"), folder.join("image"));
        fs::create_dir_all(tree.join("usr/many")).unwrap();
        // More names than one block has room for.
        for number in 0..400 {
            fs::write(tree.join(format!("usr/many/a-name-of-some-length-{number}")), [7; 3]).unwrap();
        }
        fs::write(tree.join("large"), vec![5; 3 * 4096 + 17]).unwrap();
        fs::write(tree.join("whole"), vec![6; 2 * 4096]).unwrap();
        fs::write(tree.join("empty"), "").unwrap();
        fs::set_permissions(tree.join("whole"), fs::Permissions::from_mode(0o4711)).unwrap();
        symlink("usr/many", tree.join("link")).unwrap();
        let made = Command::new("mkfs.erofs")
            .args(["--quiet", "-T1234567890"])
            .arg(&image)
            .arg(&tree)
            .output();
        let Ok(made) = made else {
            crate::skip::skip("no mkfs.erofs here");
            return None;
        };
        assert!(made.status.success(), "{made:?}");
        Some((tree, image))
    }

    #[test]
    fn all_that_went_in_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let Some((tree, image)) = image(folder.path()) else {
            return;
        };
        let found = files(&Part::whole(&image).unwrap()).unwrap();
        assert_eq!(found.len(), 400 + 6);
        for (path, entry) in &found {
            let path = tree.join(path.strip_prefix("/").unwrap());
            let meta = path.symlink_metadata().unwrap();
            assert_eq!(u32::from(entry.mode), meta.mode(), "{}", path.display());
            assert_eq!((entry.uid, entry.gid), (meta.uid(), meta.gid()));
            let content = if meta.is_file() {
                fs::read(&path).unwrap()
            } else if meta.is_symlink() {
                b"usr/many".to_vec()
            } else {
                Vec::new()
            };
            assert_eq!(entry.size, content.len() as u64, "{}", path.display());
            assert_eq!(entry.content, *Sha256::digest(&content), "{}", path.display());
        }
    }

    #[test]
    fn one_file_and_the_time_are_found_without_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let Some((tree, image)) = image(folder.path()) else {
            return;
        };
        let part = Part::whole(&image).unwrap();
        assert_eq!(time(&part).unwrap(), 1_234_567_890);
        for name in ["large", "empty", "usr/many/a-name-of-some-length-399"] {
            let content = file(&part, Path::new(name)).unwrap();
            assert_eq!(content, Some(fs::read(tree.join(name)).unwrap()), "{name}");
        }
        assert_eq!(file(&part, Path::new("usr/nothing")).unwrap(), None);
        for other in ["link", "usr", "large/x"] {
            assert!(file(&part, Path::new(other)).is_err(), "{other}");
        }
    }

    #[test]
    fn damage_is_an_error_or_another_file_and_never_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let Some((_, image)) = image(folder.path()) else { return };
        let whole = fs::read(&image).unwrap();
        let broken = folder.path().join("broken");
        let mut refused = 0;
        // The superblock, and inodes and names behind it.
        for at in (1024..1152).chain((4096..whole.len()).step_by(211)) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xFF;
            fs::write(&broken, bytes).unwrap();
            refused += u32::from(files(&Part::whole(&broken).unwrap()).is_err());
        }
        assert!(refused > 5, "{refused}");
        for length in [0, 1024, 1100, 4096, whole.len() / 2] {
            fs::write(&broken, &whole[..length]).unwrap();
            assert!(files(&Part::whole(&broken).unwrap()).is_err(), "{length}");
        }
    }
}
