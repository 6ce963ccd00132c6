//! Payloads from the repository into a place on the machine.

use std::io::{self as std_io, Read};

use sha2::{Digest, Sha256};
use twinhull_payload::{Applier, ApplyError, Header, ReadAt, Sha256Hash, Target};
use twinhull_trust::{Hex32, PayloadRef};

use super::prepare::Candidate;
use super::{InstallError, Repository};
use crate::io::Io;

/// How often a download is taken up again that did not get any further in between.
const ATTEMPTS: u32 = 3;

/// Bytes that are read at once where nothing else sets the size.
const CHUNK: usize = 1024 * 1024;

/// A part of the machine that payloads are read from or written to.
#[derive(Clone, Copy)]
pub(super) enum Image<'a> {
    /// A part of the boot disk: first byte and size.
    Disk(&'a dyn Io, u64, u64),
    /// The running root, through dm-verity.
    Root(&'a dyn Io),
    /// A file in the folder of boot entries.
    Entry(&'a dyn Io, &'a str),
}

impl Image<'_> {
    /// The byte of the disk for byte `offset` of a part of it, if all of it lies in there.
    fn place(start: u64, size: u64, offset: u64, length: usize) -> std_io::Result<u64> {
        let end = offset.checked_add(length as u64);
        if end.is_some_and(|end| end <= size) {
            Ok(start + offset)
        } else {
            Err(std_io::Error::new(
                std_io::ErrorKind::UnexpectedEof,
                "beyond the end of the partition",
            ))
        }
    }
}

impl ReadAt for Image<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std_io::Result<()> {
        match self {
            Self::Disk(io, start, size) => io.read_disk(Self::place(*start, *size, offset, buffer.len())?, buffer),
            Self::Root(io) => io.read_root(offset, buffer),
            Self::Entry(io, name) => io.read_entry(name, offset, buffer),
        }
    }
}

impl Target for Image<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std_io::Result<()> {
        match self {
            Self::Disk(io, start, size) => io.write_disk(Self::place(*start, *size, offset, bytes.len())?, bytes),
            Self::Root(_) => Err(std_io::Error::from(std_io::ErrorKind::ReadOnlyFilesystem)),
            Self::Entry(io, name) => io.write_entry(name, offset, bytes),
        }
    }
}

/// Reads an image from front to back, and only `size` bytes of it.
pub(super) struct FromStart<'a> {
    pub(super) image: &'a dyn ReadAt,
    pub(super) position: u64,
    pub(super) size: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std_io::Result<usize> {
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        self.image.read_at(self.position, &mut buffer[..count])?;
        self.position += count as u64;
        Ok(count)
    }
}

/// sha256 of the file `name` in the folder of boot entries, read as `image`.
pub(super) fn hash(io: &dyn Io, name: &str, image: &dyn ReadAt) -> Result<Hex32, InstallError> {
    let failed = || InstallError::esp(format!("read {name}"));
    let mut reader = FromStart {
        image,
        position: 0,
        size: io.entry_size(name).map_err(failed())?,
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer).map_err(failed())? {
            0 => return Ok(Hex32::from(<[u8; 32]>::from(hash.finalize()))),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// Fetches and verifies the header of a payload.
pub(super) fn header(repository: &mut dyn Repository, payload: &PayloadRef) -> Result<Header, InstallError> {
    let mut reader = open(repository, payload, 0)?;
    let expected = Sha256Hash(*payload.header_sha256.as_bytes());
    Header::read(&mut reader, &expected, payload.header_size).map_err(|source| InstallError::Header {
        path: payload.path.clone(),
        source,
    })
}

fn open<'r>(
    repository: &'r mut dyn Repository,
    payload: &PayloadRef,
    from: u64,
) -> Result<Box<dyn Read + 'r>, InstallError> {
    repository
        .open(&payload.path, from)
        .map_err(|source| InstallError::Fetch {
            path: payload.path.clone(),
            source,
        })
}

/// What takes the output of a payload in order: offset and bytes.
pub(super) type Consumer<'c> = dyn FnMut(u64, &[u8]) -> std_io::Result<()> + 'c;

/// Brings one payload's output to `target`, and what is there already is not fetched again. Gives the bytes that came over
/// the network.
pub(super) fn apply(
    repository: &mut dyn Repository,
    candidate: &Candidate,
    base: Image<'_>,
    target: &dyn Target,
    consumer: &mut Consumer<'_>,
) -> Result<u64, InstallError> {
    let Candidate { payload, header } = candidate;
    let failed = |source| InstallError::Apply {
        path: payload.path.clone(),
        source,
    };
    let base: Option<&dyn ReadAt> = payload.base.map(|_| &base as &dyn ReadAt);
    let mut applier = Applier::new(header, base, target).map_err(failed)?;
    applier.resume(consumer).map_err(failed)?;
    let mut attempts = 0;
    loop {
        let position = applier.position();
        let outcome = if position == payload.size {
            // Nothing is left to fetch, and no server can be asked for what comes after the end.
            applier.apply(&mut std_io::empty(), consumer)
        } else {
            let mut reader = open(repository, payload, position)?;
            applier.apply(&mut reader, consumer)
        };
        match outcome {
            Ok(done) => return Ok(done.fetched),
            Err(error @ (ApplyError::ReadPayload { .. } | ApplyError::Truncated { .. })) => {
                attempts = if applier.position() > position { 1 } else { attempts + 1 };
                if attempts >= ATTEMPTS {
                    return Err(failed(error));
                }
                tracing::info!("{}: {error}; going on from there", payload.path);
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Does `work` with the first candidate, and with the next only if the base of the first is at fault.
pub(super) fn first_that_works<T>(
    candidates: &[Candidate],
    mut work: impl FnMut(&Candidate) -> Result<T, InstallError>,
) -> Result<T, InstallError> {
    let mut outcome = Err(InstallError::NoPayload { what: "this image" });
    for candidate in candidates {
        outcome = work(candidate);
        match &outcome {
            Err(InstallError::Apply { path, source }) if candidate.payload.base.is_some() && is_about_base(source) => {
                tracing::warn!("{path}: {source}; trying the full payload");
            }
            _ => break,
        }
    }
    outcome
}

/// Whether the payload is good and what it starts from is not.
fn is_about_base(error: &ApplyError) -> bool {
    matches!(
        error,
        ApplyError::BaseMissing | ApplyError::WrongBase | ApplyError::ReadBase { .. } | ApplyError::Output { .. }
    )
}
