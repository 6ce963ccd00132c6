//! Boots of a release without a boot counter that did not get as far as the agent.
//!
//! What fails after this program is not seen by it: a damaged systemd, a kernel that panics later. While the agent starts, the host can
//! still be mended by an update; so the agent removes what is counted here, and this program counts.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use twinhull_layout::paths;

use crate::error::InitError;
use crate::{bounded, console, elsewhere};

/// After so many the next is of another release.
const MOST: u32 = 3;

/// Bytes of a number that can be meant.
const LIMIT: u64 = 16;

/// Counts this boot in the state partition mounted at `state`.
///
/// # Errors
/// [`InitError::Unfinished`]: there were too many in a row, and another release is there to be started.
pub(crate) fn count(state: &Path) -> Result<(), InitError> {
    if elsewhere::entry().is_none() {
        return Ok(());
    }
    let folder = state.join(paths::AGENT_STATE.trim_start_matches('/'));
    match one_more(&folder) {
        Ok(before) if before >= MOST => Err(InitError::Unfinished(before)),
        Ok(_) => Ok(()),
        Err(error) => {
            console::warn(&format!("boots that end early are not counted: {error}"));
            Ok(())
        }
    }
}

/// How many were counted before this one; after the most it begins anew. Nothing is counted before the agent has run once.
fn one_more(folder: &Path) -> io::Result<u32> {
    if !fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
        return Ok(0);
    }
    let path = folder.join(paths::UNFINISHED_BOOTS);
    // What cannot be read or is no number is none: at worst it takes one boot more.
    let before = bounded::read_text(&path, LIMIT)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    let now = if before >= MOST { 0 } else { before + 1 };
    let mut file = File::create(path)?;
    writeln!(file, "{now}")?;
    file.sync_all()?;
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fourth_in_a_row_is_one_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let counted: Vec<u32> = (0..9).map(|_| one_more(folder.path()).unwrap()).collect();
        assert_eq!(counted, [0, 1, 2, 3, 0, 1, 2, 3, 0]);
        fs::remove_file(folder.path().join(paths::UNFINISHED_BOOTS)).unwrap();
        assert_eq!(one_more(folder.path()).unwrap(), 0);
    }

    #[test]
    fn what_was_cut_off_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "x", "-1", "99999999999999999999"] {
            fs::write(folder.path().join(paths::UNFINISHED_BOOTS), text).unwrap();
            assert_eq!(one_more(folder.path()).unwrap(), 0, "{text}");
            assert_eq!(one_more(folder.path()).unwrap(), 1, "{text}");
        }
    }

    #[test]
    fn nothing_is_counted_where_no_agent_has_run() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("twinhull-updater");
        assert_eq!(one_more(&nowhere).unwrap(), 0);
        assert!(!nowhere.exists());
    }
}
