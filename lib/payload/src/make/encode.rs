//! Codes the literals of one segment, the smallest way.

use twinhull_verity::Salt;
use zstd::zstd_safe::{self, CCtx, CParameter};

use super::align::align;
use super::scan::Anchors;
use super::vote::vote;
use crate::codec;
use crate::codec::bsdiff::Streams;
use crate::error::MakeError;
use crate::hash::Sha256Hash;
use crate::leaves;
use crate::limits::{BLOCK, MAX_CONTROL, MAX_WINDOW_LOG};
use crate::segment::{Codec, Coding, Origin, Range, RunKind, Segment, clip};
use crate::source::{ReadAt, Source};

/// Shortest match that zstd searches for over the whole reference, and how densely (one position in 2^3): such values halve
/// what a low level leaves, since it finds little of the reference otherwise.
const LONG_MATCH: u32 = 32;
const LONG_MATCH_RATE_LOG: u32 = 3;

/// Level from which bsdiff is tried too, where zstd leaves at least one byte of this many.
const BSDIFF_LEVEL: i32 = 10;
const BSDIFF_WORTHWHILE: usize = 100;

/// What all segments share.
pub(super) struct Encoder<'a> {
    pub(super) new: &'a dyn Source,
    pub(super) base: Option<&'a dyn Source>,
    pub(super) base_size: u64,
    pub(super) output_size: u64,
    pub(super) anchors: &'a Anchors,
    pub(super) level: i32,
    pub(super) salt: Salt,
}

/// A segment with its blob.
pub(super) struct Encoded {
    pub(super) segment: Segment,
    /// Over its leaves.
    pub(super) output_hash: Sha256Hash,
    pub(super) blob_sha256: Sha256Hash,
    pub(super) blob: Vec<u8>,
}

impl Encoder<'_> {
    /// Reads the output of `planned` and codes its literals.
    pub(super) fn encode(&self, index: usize, planned: &Segment) -> Result<Encoded, MakeError> {
        let mut segment = planned.clone();
        let mut output = vec![0; segment.size(self.output_size) as usize];
        self.read(Origin::Output, segment.offset(), &mut output)?;
        let literals = literals(&segment, &output);
        let mut blob = Vec::new();
        if !literals.is_empty() {
            let (coding, bytes) = self.smallest(index, &segment, literals)?;
            segment.coding = Some(coding);
            blob = bytes;
        }
        Ok(Encoded {
            segment,
            output_hash: leaves::hash(&self.salt, &output, &mut Vec::new()),
            blob_sha256: Sha256Hash::of(&blob),
            blob,
        })
    }

    fn smallest(&self, index: usize, segment: &Segment, literals: Vec<u8>) -> Result<(Coding, Vec<u8>), MakeError> {
        let mut ranges = vote(self.anchors, &literals, segment.offset(), self.base_size);
        let reference = self.reference(&ranges)?;
        let failed = |code| MakeError::Compress {
            segment: index,
            reason: zstd_safe::get_error_name(code),
        };
        let mut best = (Codec::Raw, Vec::new());
        let mut best_size = literals.len();
        for codec in [Codec::ZstdPrefix, Codec::Zstd, Codec::Bsdiff] {
            let saved = best_size < literals.len() / 4;
            let pointless = match codec {
                // Where a reference saved a lot, going without cannot be better; and in a full payload it is more of the same.
                Codec::Raw | Codec::Zstd => saved || (self.base_size == 0 && best.0 == Codec::ZstdPrefix),
                Codec::ZstdPrefix => reference.is_empty(),
                Codec::Bsdiff => {
                    reference.is_empty() || self.level < BSDIFF_LEVEL || best_size < literals.len() / BSDIFF_WORTHWHILE
                }
            };
            if pointless {
                continue;
            }
            let blob = match codec {
                Codec::Bsdiff => {
                    let streams = align(&reference, &literals);
                    if streams.control.len() > MAX_CONTROL as usize {
                        continue;
                    }
                    compress_streams(self.level, &streams)
                }
                Codec::ZstdPrefix => compress(self.level, &reference, &literals),
                Codec::Raw | Codec::Zstd => compress(self.level, &[], &literals),
            };
            let blob = blob.map_err(failed)?;
            if blob.len() < best_size {
                best_size = blob.len();
                best = (codec, blob);
            }
        }
        let (codec, blob) = best;
        let blob = if codec == Codec::Raw {
            literals
        } else {
            checked(index, codec, blob, &reference, &literals)?
        };
        if !codec.takes_reference() {
            ranges.clear();
        }
        let blob_size = u32::try_from(blob.len()).unwrap_or(u32::MAX);
        Ok((
            Coding {
                codec,
                blob_size,
                reference: ranges,
            },
            blob,
        ))
    }

    fn reference(&self, ranges: &[Range]) -> Result<Vec<u8>, MakeError> {
        let mut reference = Vec::new();
        for range in ranges {
            let limit = if range.origin == Origin::Base {
                self.base_size
            } else {
                self.output_size
            };
            let at = reference.len();
            reference.resize(at + clip(range.first, range.blocks, limit) as usize, 0);
            self.read(range.origin, range.first * u64::from(BLOCK), &mut reference[at..])?;
        }
        Ok(reference)
    }

    fn read(&self, origin: Origin, offset: u64, buffer: &mut [u8]) -> Result<(), MakeError> {
        let (image, source) = match (origin, self.base) {
            (Origin::Base, Some(base)) => ("base", base),
            _ => ("new image", self.new),
        };
        ReadAt::read_at(source, offset, buffer).map_err(|source| MakeError::Read { image, offset, source })
    }
}

/// Decodes what was coded: an error here would reach every host.
fn checked(index: usize, codec: Codec, blob: Vec<u8>, reference: &[u8], literals: &[u8]) -> Result<Vec<u8>, MakeError> {
    let mut decoded = vec![0; literals.len()];
    match codec::decode(codec, &blob, reference, &mut decoded) {
        Ok(()) if decoded == literals => Ok(blob),
        _ => Err(MakeError::RoundTrip { segment: index }),
    }
}

/// The blocks of the literal runs, joined.
fn literals(segment: &Segment, output: &[u8]) -> Vec<u8> {
    let mut literals = Vec::new();
    let mut rest = output;
    for run in &segment.runs {
        let (here, after) = rest.split_at(rest.len().min((run.blocks * BLOCK) as usize));
        if run.kind == RunKind::Literal {
            literals.extend_from_slice(here);
        }
        rest = after;
    }
    literals
}

/// One zstd frame that says its content size. The bytes depend on the arguments alone.
fn compress(level: i32, prefix: &[u8], literals: &[u8]) -> Result<Vec<u8>, zstd_safe::ErrorCode> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level))?;
    context.set_parameter(CParameter::ContentSizeFlag(true))?;
    // All that can be referred to lies in the window, at low levels too.
    let window_log = (prefix.len() + literals.len()).next_power_of_two().trailing_zeros();
    context.set_parameter(CParameter::WindowLog(window_log.clamp(10, MAX_WINDOW_LOG)))?;
    context.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    context.set_parameter(CParameter::LdmMinMatch(LONG_MATCH))?;
    context.set_parameter(CParameter::LdmHashRateLog(LONG_MATCH_RATE_LOG))?;
    if !prefix.is_empty() {
        context.set_parameter(CParameter::DeterministicRefPrefix(true))?;
        context.ref_prefix(prefix)?;
    }
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(literals.len()));
    context.compress2(&mut frame, literals)?;
    Ok(frame)
}

/// The three frames of a bsdiff.
fn compress_streams(level: i32, streams: &Streams) -> Result<Vec<u8>, zstd_safe::ErrorCode> {
    let mut blob = compress(level, &[], &streams.control)?;
    blob.append(&mut compress(level, &[], &streams.difference)?);
    blob.append(&mut compress(level, &[], &streams.extra)?);
    Ok(blob)
}
