//! From blob to literals. Called only with blobs whose hash was compared.

pub(crate) mod bsdiff;

use zstd::zstd_safe::{self, DCtx};

use crate::Codec;

/// Why a blob did not decode. Its hash was right, so the maker or the reference is to blame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("zstd: {0}")]
    Zstd(&'static str),
    #[error("it holds another number of bytes than announced")]
    Size,
    #[error("it refers to places outside of its streams or the reference")]
    Control,
}

/// Decodes `blob` into all of `literals`.
pub(crate) fn decode(codec: Codec, blob: &[u8], reference: &[u8], literals: &mut [u8]) -> Result<(), DecodeError> {
    match codec {
        Codec::Raw => {
            if blob.len() != literals.len() {
                return Err(DecodeError::Size);
            }
            literals.copy_from_slice(blob);
            Ok(())
        }
        Codec::Zstd => decode_zstd(blob, &[], literals),
        Codec::ZstdPrefix => decode_zstd(blob, reference, literals),
        Codec::Bsdiff => bsdiff::decode(blob, reference, literals),
    }
}

/// In one go from buffer to buffer: no window is allocated, whatever the frame asks for.
fn decode_zstd(frame: &[u8], prefix: &[u8], literals: &mut [u8]) -> Result<(), DecodeError> {
    let announced = zstd_safe::get_frame_content_size(frame).map_err(|_| DecodeError::Size)?;
    let one_frame = zstd_safe::find_frame_compressed_size(frame).map_err(zstd_error)? == frame.len();
    if announced != Some(literals.len() as u64) || !one_frame {
        return Err(DecodeError::Size);
    }
    let mut context = DCtx::create();
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(zstd_error)?;
    }
    let written = context.decompress(literals, frame).map_err(zstd_error)?;
    if written == literals.len() {
        Ok(())
    } else {
        Err(DecodeError::Size)
    }
}

fn zstd_error(code: zstd_safe::ErrorCode) -> DecodeError {
    DecodeError::Zstd(zstd_safe::get_error_name(code))
}
