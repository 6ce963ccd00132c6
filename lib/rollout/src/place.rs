//! A host's place in the queue for one release.

use sha2::{Digest, Sha256};
use twinhull_layout::Version;

/// Separates this use of sha256 from all others.
const DOMAIN: &[u8] = b"twinhull place 1\0";

/// Where a host stands among all hosts, for one release: 0 is first, `u64::MAX` last.
///
/// A hash of the host's id and the version, so that places are spread evenly, differ for each release (nobody is always the
/// canary), and do not depend on how hosts are named or numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(
    /// The place.
    pub u64,
);

impl Place {
    /// The place of the host `id` for `version`.
    #[must_use]
    pub fn of(id: &str, version: &Version) -> Self {
        let hash = Sha256::new()
            .chain_update(DOMAIN)
            .chain_update(id.as_bytes())
            .chain_update([0])
            .chain_update(version.to_string().as_bytes())
            .finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self(u64::from_be_bytes(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_even_and_differ_for_each_release() {
        let (one, two): (Version, Version) = ("1.0.0".parse().unwrap(), "1.0.1".parse().unwrap());
        let mut tenths = [0_u32; 10];
        let mut early_twice = 0;
        for number in 0..20_000 {
            // Names as alike as can be.
            let id = format!("host-{number:05}");
            let place = Place::of(&id, &one);
            tenths[usize::try_from((u128::from(place.0) * 10) >> 64).unwrap()] += 1;
            let early = |place: Place| place.0 < u64::MAX / 10;
            early_twice += u32::from(early(place) && early(Place::of(&id, &two)));
        }
        assert!(tenths.iter().all(|count| (1800..2200).contains(count)), "{tenths:?}");
        assert!((140..260).contains(&early_twice), "{early_twice}");
    }
}
