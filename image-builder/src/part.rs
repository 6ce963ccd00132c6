//! A part of a file: the kernel image of a build, which is a whole one, or its root file system, which is a partition of the disk.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use twinhull_layout::Table;
use twinhull_layout::table::Partition;

use crate::build::manifest::Manifest;
use crate::error::{Doing, Error, Result};

/// Bytes of a sector of the disks that are built. Disks with larger ones need an image of their own.
pub(crate) const SECTOR: u64 = 512;

/// A part of a file that is open for reading.
#[derive(Debug)]
pub(crate) struct Part {
    path: PathBuf,
    file: File,
    start: u64,
    size: u64,
}

impl Part {
    /// The whole file at `path`.
    pub(crate) fn whole(path: &Path) -> Result<Self> {
        let file = File::open(path).doing("open", path)?;
        let size = file.metadata().doing("look at", path)?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            start: 0,
            size,
        })
    }

    /// The root file system of the build whose manifest is `manifest`, at `path`: the file `NAME.root` beside it if there is one, which
    /// only the form `split` gives, or what `NAME.raw` holds of it.
    ///
    /// # Errors
    /// There is neither; its size, or what the partition table says, is not what the manifest says. Its content is not looked at.
    pub(crate) fn root(path: &Path, manifest: &Manifest) -> Result<Self> {
        let alone = beside(path, manifest, "root");
        if alone.exists() {
            return Self::whole(&alone)?.with_size(manifest.root.size);
        }
        let mut part = Self::whole(&beside(path, manifest, "raw"))?;
        let table = Table::read(&part.file, SECTOR).map_err(|error| {
            Error::Content(format!(
                "cannot read the partitions of {}: {error}",
                part.path.display()
            ))
        })?;
        let slot = table.slot_holding(&manifest.root.root_hash, manifest.arch);
        let partition = (slot.ok().flatten()).and_then(|slot| table.partition(slot.root_number()));
        match partition {
            Some(partition) if manifest.root.size <= partition.size => {
                (part.start, part.size) = (partition.start, manifest.root.size);
                Ok(part)
            }
            _ => Err(part.changed()),
        }
    }

    /// The kernel image of the build whose manifest is `manifest`, at `path`.
    ///
    /// # Errors
    /// `NAME.efi` is not there, or of another size.
    pub(crate) fn uki(path: &Path, manifest: &Manifest) -> Result<Self> {
        Self::whole(&beside(path, manifest, "efi"))?.with_size(manifest.uki.size)
    }

    /// The partition `partition` of the disk `file`, which is at `path`.
    ///
    /// # Errors
    /// The disk cannot be opened a second time.
    pub(crate) fn partition(path: &Path, file: &File, partition: &Partition) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: file.try_clone().doing("open", path)?,
            start: partition.start,
            size: partition.size,
        })
    }

    fn with_size(self, size: u64) -> Result<Self> {
        if self.size == size {
            Ok(self)
        } else {
            Err(self.changed())
        }
    }

    /// The error of a part that is not what its manifest says.
    pub(crate) fn changed(&self) -> Error {
        Error::Content(format!(
            "{} is not what the manifest beside it describes: it was changed after the build, or belongs to another; build again",
            self.path.display()
        ))
    }

    /// The file that it is in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of it.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buffer` from `at` on, counted from where the part begins.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let end = at.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buffer, self.start + at)
    }

    /// Reads it from its beginning to its end.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader::new(&self.file, self.start, self.size)
    }
}

impl twinhull_payload::ReadAt for Part {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

impl twinhull_payload::Source for Part {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

/// Reads a part of a file.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    file: &'a File,
    position: u64,
    end: u64,
}

impl<'a> Reader<'a> {
    fn new(file: &'a File, start: u64, size: u64) -> Self {
        Self {
            file,
            position: start,
            end: start.saturating_add(size),
        }
    }

    /// What `partition` of `disk` holds.
    pub(crate) fn of(disk: &'a File, partition: &Partition) -> Self {
        Self::new(disk, partition.start, partition.size)
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..wanted], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

fn beside(path: &Path, manifest: &Manifest, ending: &str) -> PathBuf {
    path.with_file_name(format!("{}.{ending}", manifest.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::manifest::{RootImage, UkiImage};
    use std::fs;
    use twinhull_layout::{Arch, RootHash, Slot, partition};
    use twinhull_payload::Source;

    const ARCH: Arch = Arch::X86_64;
    const SIZE: u64 = 8192;

    fn manifest(root_hash: RootHash) -> Manifest {
        Manifest {
            product: "p".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            arch: ARCH,
            time: 0,
            root: RootImage {
                size: SIZE,
                root_hash,
                salt: "00".repeat(32),
                verity_size: 4096,
                signature: None,
            },
            uki: UkiImage {
                size: 0,
                sha256: String::new(),
            },
            packages: Vec::new(),
        }
    }

    /// A disk that has only the partitions of slot A, the second of which begins with `content`.
    fn disk(path: &Path, root_hash: &RootHash, content: &[u8]) {
        let part = |number: u32, kind| Partition {
            number,
            kind,
            id: uuid::Uuid::from_u128(u128::from(number)),
            start: u64::from(number) << 20,
            size: 1 << 20,
            attributes: 0,
            label: partition::EMPTY_LABEL.to_owned(),
        };
        let mut partitions = vec![part(1, partition::ESP), part(8, partition::STATE)];
        for slot in Slot::ALL {
            partitions.push(part(slot.root_number(), partition::root(ARCH)));
            partitions.push(part(slot.verity_number(), partition::root_verity(ARCH)));
            partitions.push(part(slot.signature_number(), partition::root_verity_signature(ARCH)));
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .unwrap();
        let size = 16 << 20;
        file.set_len(size).unwrap();
        let mut table = Table::create(size, SECTOR, uuid::Uuid::from_u128(9), partitions).unwrap();
        table.assign(Slot::A, &"1.0.0".parse().unwrap(), root_hash);
        table.write(&file).unwrap();
        file.write_all_at(content, 2 << 20).unwrap();
    }

    #[test]
    fn root_is_what_the_disk_holds_of_it_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let (hash, path) = (RootHash::from([7; 32]), folder.path().join("p_1.0.0_x86_64.json"));
        let manifest = manifest(hash);
        assert!(Part::root(&path, &manifest).is_err(), "there is no disk");
        let raw = path.with_extension("raw");
        disk(&raw, &hash, &[5; 9000]);
        let part = Part::root(&path, &manifest).unwrap();
        let mut content = Vec::new();
        part.reader().read_to_end(&mut content).unwrap();
        assert_eq!(content, [5; 8192]);
        assert_eq!((Source::size(&part).unwrap(), part.path()), (SIZE, raw.as_path()));
        let mut end = [0; 10];
        part.read_exact_at(&mut end, SIZE - 10).unwrap();
        assert_eq!(end, [5; 10]);
        assert!(part.read_exact_at(&mut end, SIZE - 9).is_err());
        assert!(part.read_exact_at(&mut end, u64::MAX).is_err());
    }

    #[test]
    fn disk_of_another_release_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p_1.0.0_x86_64.json");
        disk(&path.with_extension("raw"), &RootHash::from([7; 32]), &[]);
        let other = manifest(RootHash::from([8; 32]));
        let error = Part::root(&path, &other).unwrap_err().to_string();
        assert!(error.contains("p_1.0.0_x86_64.raw is not what the manifest"), "{error}");
        // A root that is longer than its partition.
        let mut longer = manifest(RootHash::from([7; 32]));
        longer.root.size = 2 << 20;
        assert!(Part::root(&path, &longer).is_err());
    }

    #[test]
    fn root_in_a_file_of_its_own_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p_1.0.0_x86_64.json");
        let (hash, root) = (RootHash::from([7; 32]), path.with_extension("root"));
        disk(&path.with_extension("raw"), &hash, &[5; 9000]);
        fs::write(&root, [6; 8192]).unwrap();
        assert_eq!(Part::root(&path, &manifest(hash)).unwrap().path(), root);
        fs::write(&root, [6; 8191]).unwrap();
        assert!(Part::root(&path, &manifest(hash)).is_err());
    }
}
