//! A host that nobody made a delta for: what its running root holds is not fetched.

use std::path::Path;

use twinhull_updater::install::{MaxFetch, install};

use crate::oracle;
use crate::recorder::{Machine, Recorder};
use crate::world::{Files, Image, noise, release, version};

const BLOCK: usize = twinhull_verity::BLOCK_SIZE;
/// Blocks of a segment of a full payload.
const SEGMENT: usize = 1024;

/// A release of three segments, and one before it whose blocks lie elsewhere; those of the second segment are not all there.
fn images() -> [Image; 2] {
    let old = noise(1, 3 * SEGMENT * BLOCK);
    let mut new = old.clone();
    new.rotate_left(5 * BLOCK);
    new[(SEGMENT + 7) * BLOCK] ^= 1;
    [Image::new("1.0.0", old, 2), Image::new("1.1.0", new, 3)]
}

/// Installs the second image on a host that runs the first, with the full payload alone, from `damage`d files. Gives the bytes fetched and
/// those of the payload.
fn installed(damage: impl FnOnce(&mut Files), max_fetch: MaxFetch) -> Result<(u64, u64), String> {
    let images = images();
    let [old, new] = &images;
    let (document, content) = release(new, None);
    let mut files = Files::new(content);
    files.max_fetch = max_fetch;
    damage(&mut files);
    let io = Recorder::new(Machine::new(old, None), old);
    let done = install(&io, &mut files, &old.running(), &document, &mut |_| ());
    let done = done.map_err(|error| format!("{}: {error}", error.code()))?;
    assert_eq!(oracle::boots(&io.machine(), &images), Ok(version("1.1.0")));
    Ok((done.fetched, document.root.payloads[0].size))
}

fn limit(bytes: u64) -> MaxFetch {
    MaxFetch {
        bytes: Some(bytes),
        go_on: false,
    }
}

#[test]
fn only_what_the_running_root_does_not_hold_is_fetched_and_counted() {
    let (fetched, full) = installed(|_| (), MaxFetch::default()).unwrap();
    assert!((full / 3..full / 2).contains(&fetched), "{fetched} of {full}");
    assert!(installed(|_| (), limit(full / 2)).is_ok());
    let error = installed(|_| (), limit(full / 4)).unwrap_err();
    assert!(error.starts_with("max-fetch: "), "{error}");
}

#[test]
fn without_its_block_map_all_is_fetched_if_that_is_allowed() {
    fn lose(files: &mut Files) {
        let is_map = |path: &str| Path::new(path).extension().is_some_and(|extension| extension == "map");
        files.content.retain(|path, _| !is_map(path));
    }
    let (fetched, full) = installed(lose, MaxFetch::default()).unwrap();
    assert!(fetched >= full, "{fetched} of {full}");
    let error = installed(lose, limit(full / 2)).unwrap_err();
    assert!(error.starts_with("max-fetch: "), "{error}");
}
