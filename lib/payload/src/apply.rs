//! Streams a payload into a target.

mod output;
mod place;
mod worker;
mod writing;

use std::io::{self, Read};
use std::thread;

use crate::error::ApplyError;
use crate::fingerprint::fingerprint;
use crate::hash::Sha256Hash;
use crate::header::Header;
use crate::reuse::Reuse;
use crate::segment::Segment;
use crate::source::{ReadAt, Target};
use output::Output;
pub use output::Part;
use place::Place;
use worker::{Job, Worker};
use writing::Writing;

/// What an application did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Bytes of output in segments that the target already held: neither fetched nor decoded.
    pub found: u64,
    /// Bytes of output that were put together.
    pub written: u64,
    /// Those of them that the target already held: compared, and not written again.
    pub kept: u64,
    /// Bytes of blobs that were read.
    pub fetched: u64,
}

/// Why [`Applier::apply_while_needed`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// All of the output is in place.
    End(Applied),
    /// The target (or the image of [`Applier::reuse`]) holds the next segments, and their blobs are worth a new request; or that
    /// image did not hold what it seemed to. Go on with [`Applier::resume`] and a reader from the position after it.
    Held,
}

/// Applies one payload to one target, in order, and knows where it stands: after a failed read it goes on with another
/// reader from [`Applier::position`].
///
/// Before anything of a segment is written, the hash of its blob was compared before decoding, and the hash of its output
/// after. The target is not flushed here.
///
/// One thread decodes and writes a segment while the caller's reads the blob of the next and hands out the one before, so that the
/// network, the disk and a verity tree do not wait for each other. In memory at once: two outputs, two blobs, one reference
/// and the literals of one segment.
pub struct Applier<'a> {
    header: &'a Header,
    base: Option<&'a dyn ReadAt>,
    target: &'a dyn Target,
    /// Before the first segment that is not done.
    place: Place<'a>,
    /// The segment that is not applied any more: the number of segments, but for a piece.
    end: u32,
    done: Applied,
    /// Segments that the base of a full payload holds: an image that happens to be there.
    reuse: Reuse,
    /// What was read of the blob of a segment that is not done: not to be fetched again.
    begun: Option<(u32, Vec<u8>)>,
    /// Buffers to be used again.
    outputs: Vec<Output>,
    blobs: Vec<Vec<u8>>,
}

/// Takes the output in order, segment by segment. This is how a verity tree is built on the way.
pub type Consumer<'c> = dyn FnMut(Part<'_>) -> io::Result<()> + 'c;

/// What to do with a segment.
enum Next {
    /// Make it, from this blob.
    Make(Job),
    /// The target holds its output, which is here.
    Held(Output),
    /// The same, and nothing was read: a new request is worth more.
    Skip,
    /// There is none.
    End,
}

impl<'a> Applier<'a> {
    /// Starts at the first segment. A base is ignored when the payload is full.
    ///
    /// # Errors
    /// [`ApplyError::BaseMissing`] and [`ApplyError::WrongBase`]; the base may be longer than the one the payload was made
    /// against (a partition), what follows is not looked at.
    pub fn new(header: &'a Header, base: Option<&'a dyn ReadAt>, target: &'a dyn Target) -> Result<Self, ApplyError> {
        if header.base_size() > 0 {
            let base = base.ok_or(ApplyError::BaseMissing)?;
            match fingerprint(base, header.base_size()) {
                Ok(found) if found == *header.base_fingerprint() => {}
                Ok(_) => return Err(ApplyError::WrongBase),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(ApplyError::WrongBase),
                // Damaged at a sampled place: the segments that need it will say so, the others need not suffer.
                Err(_) => {}
            }
        }
        Ok(Self {
            header,
            base,
            target,
            place: Place::first(header)?,
            end: header.segment_count(),
            done: Applied::default(),
            reuse: Reuse::default(),
            begun: None,
            outputs: Vec::new(),
            blobs: Vec::new(),
        })
    }

    /// Starts at the first segment that puts out something of the `size` bytes at `offset`, and ends with the last one. All
    /// output before `offset` must be in the target: this is for a full payload that fills what a delta could not.
    ///
    /// Gives the applier and where its blobs end, in bytes from the start of the payload: a reader from
    /// [`Applier::position`] must end there.
    ///
    /// # Errors
    /// As [`Applier::new`].
    pub fn piece(
        header: &'a Header,
        base: Option<&'a dyn ReadAt>,
        target: &'a dyn Target,
        offset: u64,
        size: u32,
    ) -> Result<(Self, u64), ApplyError> {
        let mut applier = Self::new(header, base, target)?;
        while applier.place.next().is_some() && applier.place.output_end() <= offset {
            applier.place.step()?;
        }
        let mut after = applier.place.clone();
        while after.next().is_some() && after.output().0 < offset + u64::from(size) {
            after.step()?;
        }
        applier.end = after.index;
        Ok((applier, after.position))
    }

    /// Takes segments of a full payload from `image`, where they were found by its block map. Of a delta nothing changes. Use
    /// [`Applier::resume`] and [`Applier::apply_while_needed`] in turns then: the first puts together what need not be fetched.
    pub fn reuse(&mut self, image: &'a dyn ReadAt, found: Reuse) {
        if self.header.base_size() == 0 {
            self.base = Some(image);
            self.reuse = found;
        }
    }

    /// Where to go on reading, in bytes from the start of the payload: what to ask a server for. The size of the payload once
    /// all blobs are read.
    pub fn position(&self) -> u64 {
        let begun = self.begun.as_ref().filter(|(index, _)| *index == self.place.index);
        self.place.position + begun.map_or(0, |(_, blob)| blob.len() as u64)
    }

    /// Where the output of the next segment begins, and its bytes; none at the end.
    pub fn next_output(&self) -> (u64, u32) {
        self.place.output()
    }

    /// Bytes of output done so far, from the start.
    pub const fn output_position(&self) -> u64 {
        self.done.found + self.done.written
    }

    /// Passes over the segments that the target already holds, from the first on, up to the first that differs; and puts those
    /// together that [`Applier::reuse`] gave.
    ///
    /// Meant for a target that an earlier application was cut off in; harmless on any other. Costs one read and one hash
    /// of what is found.
    ///
    /// # Errors
    /// [`ApplyError::Consumer`] and [`ApplyError::WriteTarget`]. A target that cannot be read counts as one that differs.
    pub fn resume(&mut self, consumer: &mut Consumer<'_>) -> Result<(), ApplyError> {
        let mut worker = Worker::new(self.header, self.base, self.target);
        while self.place.index < self.end {
            let place = self.place.clone();
            if let Some(output) = self.held(&place) {
                self.pass_held(output, consumer)?;
                continue;
            }
            let Some(mut job) = self.reused(&place) else { break };
            match worker.write(&mut job) {
                Ok(kept) => self.pass_written(job, kept, consumer)?,
                Err(error) => {
                    self.give_up_reuse(&job, error)?;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Applies the segments from [`Applier::position`] to the end. `payload` begins at that byte and must end with the
    /// payload. Blobs of segments that the target already holds are read and passed over.
    ///
    /// # Errors
    /// After [`ApplyError::ReadPayload`], [`ApplyError::Truncated`] and [`ApplyError::Blob`] the call can be repeated with another
    /// reader from the new position; other errors stay.
    ///
    /// With [`Applier::reuse`], blobs that are not needed are read and passed over too.
    pub fn apply(&mut self, payload: &mut impl Read, consumer: &mut Consumer<'_>) -> Result<Applied, ApplyError> {
        match self.apply_while_needed(payload, u64::MAX, consumer)? {
            Reached::End(done) => Ok(done),
            // The blob that is needed after all has gone by.
            Reached::Held => Err(ApplyError::Truncated {
                position: self.position(),
            }),
        }
    }

    /// As [`Applier::apply`], but comes back before segments that the target already holds, from a blob of more than
    /// `worth_a_request` bytes on: they need not be fetched.
    ///
    /// # Errors
    /// As [`Applier::apply`].
    pub fn apply_while_needed(
        &mut self,
        payload: &mut impl Read,
        worth_a_request: u64,
        consumer: &mut Consumer<'_>,
    ) -> Result<Reached, ApplyError> {
        let worker = Worker::new(self.header, self.base, self.target);
        thread::scope(|scope| {
            let mut writing = Writing::start(scope, worker).map_err(ApplyError::Thread)?;
            self.run(&mut writing, payload, worth_a_request, consumer)
        })
    }

    /// While one segment is written, the blob of the next is read; then, while that one is written, the one before is handed out.
    fn run(
        &mut self,
        writing: &mut Writing,
        payload: &mut impl Read,
        worth_a_request: u64,
        consumer: &mut Consumer<'_>,
    ) -> Result<Reached, ApplyError> {
        let mut ahead = self.place.clone();
        // The reader begins where this place is.
        self.begun.take_if(|(index, _)| *index != ahead.index);
        loop {
            let next = self.read_next(&ahead, payload, worth_a_request);
            // An error of the segment before comes first, whatever was read after it.
            let written = match writing.finish()? {
                Some((job, Err(error))) => {
                    if let Ok(Next::Make(read)) = next {
                        self.begun = Some((read.index, read.blob));
                    }
                    self.give_up_reuse(&job, error)?;
                    return Ok(Reached::Held);
                }
                Some((job, Ok(kept))) => Some((job, kept)),
                None => None,
            };
            let next = match next {
                Ok(Next::Make(job)) => {
                    writing.begin(job)?;
                    ahead.step()?;
                    None
                }
                other => Some(other),
            };
            if let Some((job, kept)) = written {
                self.pass_written(job, kept, consumer)?;
            }
            match next.transpose()? {
                None | Some(Next::Make(_)) => {}
                Some(Next::Held(output)) => {
                    self.done.fetched += self.place.blob_size();
                    self.pass_held(output, consumer)?;
                    ahead.step()?;
                }
                Some(Next::Skip) => return Ok(Reached::Held),
                Some(Next::End) => break,
            }
        }
        let position = self.place.position;
        match payload.take(1).read_to_end(&mut Vec::new()) {
            Ok(0) => Ok(Reached::End(self.done)),
            Ok(_) => Err(ApplyError::TrailingBytes),
            Err(source) => Err(ApplyError::ReadPayload { position, source }),
        }
    }

    /// Reads the blob of the segment after `ahead`, if there is one and it is needed.
    fn read_next(
        &mut self,
        ahead: &Place<'_>,
        payload: &mut impl Read,
        worth_a_request: u64,
    ) -> Result<Next, ApplyError> {
        let Some((segment, hashes)) = ahead.next().filter(|_| ahead.index < self.end) else {
            return Ok(Next::End);
        };
        let size = ahead.blob_size();
        // Copies cost nothing to make again; their blocks are compared before they are written.
        let held = if size > 0 { self.held(ahead) } else { None };
        let reused = if held.is_none() { self.reused(ahead) } else { None };
        if (held.is_some() || reused.is_some()) && size > worth_a_request {
            return Ok(Next::Skip);
        }
        let mut blob = match self.begun.take() {
            Some((_, blob)) => blob,
            None => self.blobs.pop().unwrap_or_default(),
        };
        blob.reserve_exact(usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(blob.len()));
        let read = payload.take(size - blob.len() as u64).read_to_end(&mut blob);
        let position = ahead.position + blob.len() as u64;
        if let Err(source) = read {
            self.begun = Some((ahead.index, blob));
            return Err(ApplyError::ReadPayload { position, source });
        }
        if (blob.len() as u64) < size {
            self.begun = Some((ahead.index, blob));
            return Err(ApplyError::Truncated { position });
        }
        if let Some(output) = held {
            self.keep_blob(blob);
            return Ok(Next::Held(output));
        }
        if let Some(job) = reused {
            self.done.fetched += size;
            self.keep_blob(blob);
            return Ok(Next::Make(job));
        }
        let found = Sha256Hash::of(&blob);
        if size > 0 && found != hashes.blob {
            return Err(ApplyError::Blob {
                segment: ahead.index,
                position: ahead.position,
                expected: hashes.blob,
                found,
            });
        }
        Ok(Next::Make(Job {
            segment: segment.clone(),
            hashes: *hashes,
            index: ahead.index,
            blob,
            output: self.outputs.pop().unwrap_or_default(),
            reused: false,
        }))
    }

    /// The segment after `place` as one that needs no blob, if that was found.
    fn reused(&mut self, place: &Place<'_>) -> Option<Job> {
        let runs = self.reuse.runs(place.index)?;
        let (segment, hashes) = place.next()?;
        Some(Job {
            segment: Segment {
                first_block: segment.first_block,
                runs: runs.clone(),
                coding: None,
            },
            hashes: *hashes,
            index: place.index,
            blob: Vec::new(),
            output: self.outputs.pop().unwrap_or_default(),
            reused: true,
        })
    }

    /// After `job` failed with `error`: if it was to be made of what the base seemed to hold, it will be fetched.
    fn give_up_reuse(&mut self, job: &Job, error: ApplyError) -> Result<(), ApplyError> {
        if job.reused && !matches!(error, ApplyError::WriteTarget { .. }) {
            self.reuse.forget(job.index);
            Ok(())
        } else {
            Err(error)
        }
    }

    /// The output of the segment after `place`, if the target holds it.
    fn held(&mut self, place: &Place<'_>) -> Option<Output> {
        let (_, hashes) = place.next()?;
        let (offset, size) = place.output();
        let mut output = self.outputs.pop().unwrap_or_default();
        output.bytes.resize(size as usize);
        let read = self.target.read_at(offset, &mut output.bytes);
        if read.is_ok() && output.hash(self.header.salt()) == hashes.output {
            return Some(output);
        }
        self.outputs.push(output);
        None
    }

    fn pass_held(&mut self, output: Output, consumer: &mut Consumer<'_>) -> Result<(), ApplyError> {
        self.done.found += output.bytes.len() as u64;
        self.pass(output, consumer)
    }

    fn pass_written(&mut self, job: Job, kept: u64, consumer: &mut Consumer<'_>) -> Result<(), ApplyError> {
        self.done.kept += kept;
        self.done.written += job.output.bytes.len() as u64;
        self.done.fetched += job.segment.blob_size();
        self.keep_blob(job.blob);
        self.pass(job.output, consumer)
    }

    /// Moves past the next segment, whose output is `output`, then hands that out.
    fn pass(&mut self, output: Output, consumer: &mut Consumer<'_>) -> Result<(), ApplyError> {
        let (offset, _) = self.place.output();
        self.place.step()?;
        consumer(output.part(offset)).map_err(|source| ApplyError::Consumer { offset, source })?;
        self.outputs.push(output);
        Ok(())
    }

    fn keep_blob(&mut self, mut blob: Vec<u8>) {
        blob.clear();
        self.blobs.push(blob);
    }
}

/// Applies a whole payload whose header was just read from the same reader.
///
/// # Errors
/// As [`Applier::new`] and [`Applier::apply`].
pub fn apply(
    header: &Header,
    blobs: &mut impl Read,
    base: Option<&dyn ReadAt>,
    target: &dyn Target,
    consumer: &mut Consumer<'_>,
) -> Result<Applied, ApplyError> {
    Applier::new(header, base, target)?.apply(blobs, consumer)
}
