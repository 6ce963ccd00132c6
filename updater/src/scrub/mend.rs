//! A file that has rotted is put right.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::copy::Copy;
use super::{BLOCK, Finding, ScrubError, failed, from_medium, hash};

/// Writes what `copy` has into `original`, in place and where it differs. Both have the same size.
///
/// Only wrong bytes are replaced, by right ones, in a file whose place on the medium stays as it is: so a cut of the power at any
/// moment leaves fewer wrong ones. The copy's record says that this is going on, so that the next look goes on with it.
pub(super) fn mend(original: &Path, copy: &mut Copy) -> Result<Finding, ScrubError> {
    let Some(record) = copy.record() else {
        return Ok(Finding::New);
    };
    copy.note(record.modified, true)?;
    let right = File::open(copy.path()).map_err(failed("open", copy.path()))?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(original)
        .map_err(failed("open", original))?;
    let (mut found, mut wanted) = ([0; BLOCK], [0; BLOCK]);
    let mut blocks = 0;
    for offset in (0..record.size).step_by(BLOCK) {
        let count = usize::try_from(record.size - offset).unwrap_or(BLOCK).min(BLOCK);
        let (found, wanted) = (&mut found[..count], &mut wanted[..count]);
        right
            .read_exact_at(wanted, offset)
            .map_err(failed("read", copy.path()))?;
        // A place that cannot be read can often still be written.
        if file.read_exact_at(found, offset).is_err() || found != wanted {
            file.write_all_at(wanted, offset).map_err(failed("write", original))?;
            blocks += 1;
        }
    }
    let time = UNIX_EPOCH + Duration::from_secs(record.modified);
    file.set_modified(time).map_err(failed("set the time of", original))?;
    from_medium(original)?;
    if hash(original)? != record.sha256 {
        let why = "what is written to it does not stay: the disk is failing";
        return Ok(Finding::Damaged { why: why.to_owned() });
    }
    copy.note(record.modified, false)?;
    Ok(Finding::Mended { blocks })
}
