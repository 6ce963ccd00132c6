//! What a host that nobody made a delta for has got anyway: blocks of the new root, anywhere in the running one.

use twinhull_payload::{BlockIndex, Reuse, Sha256Hash, block_map_size};

use super::Repository;
use super::prepare::Candidate;
use super::stream::Image;
use crate::io::Io;

/// Looks for the blocks of the full payload `chosen` in the running root, a partition of `size` bytes. `None` if it is a delta, has no
/// block map, or that cannot be had: then all of it is fetched, as far as `updates.max_fetch_mib` allows.
pub(super) fn find(io: &dyn Io, repository: &mut dyn Repository, chosen: &Candidate, size: u64) -> Option<Reuse> {
    let (path, expected) = (chosen.payload.map_path()?, chosen.payload.map_sha256?);
    if chosen.payload.base.is_some() {
        return None;
    }
    let length = block_map_size(chosen.header.output_size());
    let index = BlockIndex::of(&Image::Root(io), size);
    let found = repository
        .open_part(&path, 0, length)
        .map_err(|error| error.to_string())
        .and_then(|mut map| {
            let expected = Sha256Hash(*expected.as_bytes());
            Reuse::find(&chosen.header, &index, &mut map, &expected).map_err(|error| error.to_string())
        });
    match found {
        Ok(reuse) => {
            tracing::info!(
                "no delta starts from what runs here; of the full payload's {} bytes the running root saves {}",
                chosen.payload.size,
                reuse.saved()
            );
            Some(reuse)
        }
        Err(error) => {
            tracing::warn!("{path}: {error}; what the running root holds will be fetched again");
            None
        }
    }
}
