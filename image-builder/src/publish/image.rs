//! The images of a build, and the payloads that carry them.

use std::fs;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use twinhull_payload::{MakeOptions, make, make_block_map};
use twinhull_trust::{Hex32, PayloadRef};
use twinhull_verity::{BLOCK_SIZE, Salt, TreeBuilder};

use crate::build::manifest::Manifest;
use crate::definition::size::Size;
use crate::error::{Doing, Error, Result};
use crate::part::Part;
use crate::progress::Progress;

/// The image that is the root file system.
pub(super) const ROOT: &str = "root";

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// A part of a build whose content is what its manifest says.
#[derive(Debug)]
pub(super) struct Image {
    part: Part,
    /// What a host knows it by: the root hash, or the hash of the file.
    id: Hex32,
    version: String,
    /// That of its verity tree.
    salt: Salt,
}

impl Image {
    /// Opens the root of the build with the manifest at `manifest_path` and checks it against the root hash.
    pub(super) fn root(manifest_path: &Path, manifest: &Manifest) -> Result<Self> {
        let part = Part::root(manifest_path, manifest)?;
        let failed = |error: String| Error::Content(format!("cannot check {}: {error}", part.path().display()));
        let salt: Salt = manifest
            .root
            .salt
            .parse()
            .map_err(|error: twinhull_verity::SaltError| failed(error.to_string()))?;
        let mut tree = TreeBuilder::new(manifest.root.size / BLOCK_SIZE as u64, salt)
            .map_err(|error| failed(error.to_string()))?;
        each_piece(&part, |bytes| tree.write_all(bytes))?;
        let tree = tree.finish().map_err(|error| failed(error.to_string()))?;
        if *tree.root_hash() != manifest.root.root_hash {
            return Err(part.changed());
        }
        let id = Hex32::from(*manifest.root.root_hash.as_bytes());
        Ok(Self {
            part,
            id,
            version: manifest.version.to_string(),
            salt,
        })
    }

    /// Opens `NAME.efi` beside a manifest and checks its hash.
    pub(super) fn uki(manifest_path: &Path, manifest: &Manifest) -> Result<Self> {
        let part = Part::uki(manifest_path, manifest)?;
        let mut hash = Sha256::new();
        each_piece(&part, |bytes| {
            hash.update(bytes);
            Ok(())
        })?;
        let hash: [u8; 32] = hash.finalize().into();
        if hex::encode(hash) != manifest.uki.sha256 {
            return Err(part.changed());
        }
        Ok(Self {
            part,
            id: Hex32::from(hash),
            version: manifest.version.to_string(),
            salt: Salt::ZERO,
        })
    }
}

fn each_piece(part: &Part, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<()> {
    let (mut reader, mut piece) = (part.reader(), vec![0; PIECE]);
    loop {
        match reader.read(&mut piece).doing("read", part.path())? {
            0 => return Ok(()),
            read => take(&piece[..read]).doing("check", part.path())?,
        }
    }
}

/// The payloads made so far, each in its place in the repository.
#[derive(Debug)]
pub(super) struct Payloads {
    folder: PathBuf,
    options: MakeOptions,
    made: Vec<(&'static str, String, PayloadRef)>,
}

impl Payloads {
    pub(super) fn new(repository: &Path, options: MakeOptions) -> Self {
        Self {
            folder: repository.join("payloads"),
            options,
            made: Vec::new(),
        }
    }

    /// Makes the payload of `image`: a full one, or a delta from `base`. A delta that saves nothing is dropped.
    pub(super) fn add(
        &mut self,
        name: &'static str,
        image: &Image,
        base: Option<&Image>,
        level: i32,
        progress: &Progress,
    ) -> Result<()> {
        let what = base.map_or_else(|| name.to_owned(), |base| format!("{name} from {}", base.version));
        let step = progress.step("payload", &what);
        let mut file = self.file()?;
        let source = base.map(|base| &base.part as &dyn twinhull_payload::Source);
        let mut out = BufWriter::with_capacity(PIECE, file.as_file_mut());
        let options = MakeOptions {
            level,
            salt: image.salt,
            ..self.options.clone()
        };
        let made = make(&image.part, source, &options, &mut out, &mut |done, total| {
            step.advance(done, total);
        });
        let made = made.map_err(|error| {
            Error::Content(format!(
                "cannot make the payload of {}: {error}",
                image.part.path().display()
            ))
        })?;
        out.flush().doing("write a payload in", &self.folder)?;
        drop(out);

        let full = self
            .made
            .iter()
            .find(|(of, _, payload)| *of == name && payload.base.is_none())
            .map(|(_, _, payload)| payload.size);
        if base.is_some() && full.is_some_and(|full| made.size >= full) {
            step.done(&format!("{what}: dropped, it is no smaller than the full one"));
            return Ok(());
        }
        let header_sha256 = Hex32::from(made.header_sha256.0);
        let relative = format!("payloads/{header_sha256}.thp");
        self.keep(file, &format!("{header_sha256}.thp"))?;
        // A kernel image is one file whose parts are not found by block.
        let map_sha256 = if base.is_none() && name == ROOT {
            Some(self.add_map(image)?)
        } else {
            None
        };
        step.done(&format!("{what}: {}", Size(made.size)));
        let payload = PayloadRef {
            path: relative,
            size: made.size,
            header_size: made.header_size,
            header_sha256,
            base: base.map(|base| base.id),
            map_sha256,
        };
        self.made.push((name, what, payload));
        Ok(())
    }

    /// Writes the block map of `image` and gives its hash.
    fn add_map(&self, image: &Image) -> Result<Hex32> {
        let mut file = self.file()?;
        let mut out = BufWriter::with_capacity(PIECE, file.as_file_mut());
        let hash = make_block_map(&image.part, &mut out);
        let hash = hash.map_err(|error| {
            Error::Content(format!(
                "cannot make the block map of {}: {error}",
                image.part.path().display()
            ))
        })?;
        out.flush().doing("write a block map in", &self.folder)?;
        drop(out);
        let hash = Hex32::from(hash.0);
        self.keep(file, &format!("{hash}.map"))?;
        Ok(hash)
    }

    /// A file to be kept.
    fn file(&self) -> Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(".payload-")
            .tempfile_in(&self.folder)
            .doing("make a file in", &self.folder)
    }

    /// Gives `file`, which is complete, the name `name`, durably.
    fn keep(&self, file: NamedTempFile, name: &str) -> Result<()> {
        let target = self.folder.join(name);
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))
            .doing("set the mode of", file.path())?;
        file.as_file().sync_all().doing("flush", file.path())?;
        file.persist(&target)
            .map_err(|error| error.error)
            .doing("move into place", &target)?;
        Ok(twinhull_durable::flush_directory_of(&target)?)
    }

    /// Those of the image `name`.
    pub(super) fn of(&self, name: &str) -> Vec<PayloadRef> {
        self.made
            .iter()
            .filter(|(of, _, _)| *of == name)
            .map(|(_, _, payload)| payload.clone())
            .collect()
    }

    /// What each is, and its size.
    pub(super) fn summary(&self) -> Vec<(String, Size)> {
        self.made
            .iter()
            .map(|(_, what, payload)| (what.clone(), Size(payload.size)))
            .collect()
    }
}
