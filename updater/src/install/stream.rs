//! Payloads from the repository into a place on the machine.

use std::io::{self as std_io, BufRead, Read};

use twinhull_payload::{
    Applier, ApplyError, Consumer, Header, Pages, Reached, ReadAt, Sha256Hash, Target, block_map_size,
};
use twinhull_trust::{FetchError, Hex32, PayloadRef};

use super::allowance::Allowance;
use super::prepare::{self, Candidate, Payloads};
use super::{InstallError, Repository};
use crate::io::{Io, sha256};

/// How often a download is taken up again that did not get much further in between.
const ATTEMPTS: u32 = 3;

/// Bytes that are much further.
const PROGRESS: u64 = 64 * 1024;

/// Bytes of a blob that is not wanted from which on a new request is cheaper than reading past it.
const WORTH_A_REQUEST: u64 = 256 * 1024;

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
    image: &'a dyn ReadAt,
    size: u64,
    /// Bytes that were read of it.
    position: u64,
    pages: Pages,
    /// Bytes of these that were taken.
    taken: usize,
}

impl<'a> FromStart<'a> {
    pub(super) fn new(image: &'a dyn ReadAt, size: u64) -> Self {
        Self {
            image,
            size,
            position: 0,
            pages: Pages::default(),
            taken: 0,
        }
    }

    /// Bytes that were read.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }
}

impl BufRead for FromStart<'_> {
    fn fill_buf(&mut self) -> std_io::Result<&[u8]> {
        if self.taken == self.pages.len() {
            let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
            self.pages.resize(left.min(CHUNK));
            self.taken = 0;
            if let Err(error) = self.image.read_at(self.position, &mut self.pages) {
                self.pages.resize(0);
                return Err(error);
            }
            self.position += self.pages.len() as u64;
        }
        Ok(&self.pages[self.taken..])
    }

    fn consume(&mut self, amount: usize) {
        self.taken = self.pages.len().min(self.taken + amount);
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std_io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// sha256 of the file `name` in the folder of boot entries, read as `image`.
pub(super) fn hash(io: &dyn Io, name: &str, image: &dyn ReadAt) -> Result<Hex32, InstallError> {
    let failed = || InstallError::esp(format!("read {name}"));
    let mut reader = FromStart::new(image, io.entry_size(name).map_err(failed())?);
    sha256(&mut reader).map_err(failed())
}

/// Fetches and verifies the header of a payload.
pub(super) fn header(repository: &mut dyn Repository, payload: &PayloadRef) -> Result<Header, InstallError> {
    let mut reader = repository
        .open_part(&payload.path, 0, payload.header_size)
        .map_err(fetching(payload))?;
    let expected = Sha256Hash(*payload.header_sha256.as_bytes());
    Header::read(&mut reader, &expected, payload.header_size).map_err(|source| InstallError::Header {
        path: payload.path.clone(),
        source,
    })
}

fn fetching(payload: &PayloadRef) -> impl FnOnce(FetchError) -> InstallError {
    let path = payload.path.clone();
    move |source| InstallError::Fetch { path, source }
}

fn applying(payload: &PayloadRef) -> impl Fn(ApplyError) -> InstallError {
    let path = payload.path.clone();
    move |source| InstallError::Apply {
        path: path.clone(),
        source,
    }
}

/// Brings the output of the chosen payload to `target`; what is there already is not fetched again, and what the base cannot
/// give any more comes from the full payload. Gives the bytes that came over the network.
pub(super) fn apply(
    repository: &mut dyn Repository,
    payloads: &mut Payloads,
    allowance: &mut Allowance,
    base: Image<'_>,
    target: &dyn Target,
    consumer: &mut Consumer<'_>,
) -> Result<u64, InstallError> {
    let reuse = payloads.reuse.take();
    let Candidate { payload, header } = &payloads.chosen;
    let failed = applying(payload);
    let from: Option<&dyn ReadAt> = payload.base.map(|_| &base as &dyn ReadAt);
    let mut applier = Applier::new(header, from, target).map_err(&failed)?;
    let mut full = None;
    let mut attempts = 0;
    let mut fetched = payload.header_size;
    if let Some(reuse) = reuse {
        fetched += block_map_size(header.output_size());
        applier.reuse(&base, reuse);
    }
    loop {
        applier.resume(consumer).map_err(&failed)?;
        let position = applier.position();
        let outcome = if position == payload.size {
            // Nothing is left to fetch, and no server can be asked for what comes after the end.
            applier.apply_while_needed(&mut std_io::empty(), WORTH_A_REQUEST, consumer)
        } else {
            let mut reader = repository.open(&payload.path, position).map_err(fetching(payload))?;
            applier.apply_while_needed(&mut reader, WORTH_A_REQUEST, consumer)
        };
        match outcome {
            Ok(Reached::End(done)) => return Ok(fetched + done.fetched),
            Ok(Reached::Held) => {}
            Err(error @ (ApplyError::ReadPayload { .. } | ApplyError::Truncated { .. })) => {
                attempts = if applier.position() >= position + PROGRESS {
                    1
                } else {
                    attempts + 1
                };
                if attempts >= ATTEMPTS {
                    return Err(failed(error));
                }
                tracing::info!("{}: {error}; going on from there", payload.path);
            }
            Err(error) => {
                let (Some(reference), true) = (&payloads.full, is_about_base(&error)) else {
                    return Err(failed(error));
                };
                let (offset, size) = applier.next_output();
                tracing::warn!(
                    "{}: {error}; taking bytes {offset} to {} from the full payload",
                    payload.path,
                    offset + u64::from(size)
                );
                if full.is_none() {
                    allowance.ask(reference.header_size, &reference.path)?;
                    fetched += reference.header_size;
                    full = Some(prepare::candidate(repository, reference, header.output_size())?);
                }
                let Some(full) = &full else {
                    return Err(failed(error));
                };
                fetched += fill(repository, full, allowance, target, offset, size)?;
                let before = applier.output_position();
                applier.resume(consumer).map_err(&failed)?;
                if applier.output_position() == before {
                    // Both are signed, yet they disagree.
                    return Err(failed(error));
                }
            }
        }
    }
}

/// Fills `size` bytes at `offset` of `target` from a full payload, with one request for so much of it. Everything before
/// `offset` is in place.
fn fill(
    repository: &mut dyn Repository,
    full: &Candidate,
    allowance: &mut Allowance,
    target: &dyn Target,
    offset: u64,
    size: u32,
) -> Result<u64, InstallError> {
    let failed = applying(&full.payload);
    let (mut piece, end) = Applier::piece(&full.header, None, target, offset, size).map_err(&failed)?;
    allowance.ask(end - piece.position(), &full.payload.path)?;
    let mut attempts = 0;
    loop {
        let position = piece.position();
        let mut reader = repository
            .open_part(&full.payload.path, position, end - position)
            .map_err(fetching(&full.payload))?;
        match piece.apply(&mut reader, &mut |_| Ok(())) {
            Ok(done) => return Ok(done.fetched),
            Err(error @ (ApplyError::ReadPayload { .. } | ApplyError::Truncated { .. })) => {
                attempts = if piece.position() >= position + PROGRESS {
                    1
                } else {
                    attempts + 1
                };
                if attempts >= ATTEMPTS {
                    return Err(failed(error));
                }
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Whether the payload is good and what it starts from is not.
fn is_about_base(error: &ApplyError) -> bool {
    matches!(error, ApplyError::ReadBase { .. } | ApplyError::Output { .. })
}
