//! The kernel command line: which content `/` has.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use twinhull_layout::RootHash;

use crate::paths::Paths;

/// Longest command line that is read, in bytes; the kernel's own bound is 2 KiB to 4 KiB.
const MAX_SIZE: u64 = 16 * 1024;

/// The kernel command line does not name a root hash.
#[derive(Debug, thiserror::Error)]
pub enum CommandLineError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// It has no `roothash=`, or one of another form.
    #[error("the kernel command line has no valid roothash=: this host was not booted from a Twinhull image")]
    NoRootHash,
}

pub(super) fn root_hash(paths: &Paths) -> Result<RootHash, CommandLineError> {
    let path = paths.at("/proc/cmdline");
    let mut text = String::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_SIZE).read_to_string(&mut text))
        .map_err(|source| CommandLineError::Read { path, source })?;
    parse(&text).ok_or(CommandLineError::NoRootHash)
}

/// The root hash a command line names. Several would leave open which one counts, so they are refused.
pub(crate) fn parse(text: &str) -> Option<RootHash> {
    let mut found = text
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("roothash="));
    let hash = found.next()?.parse().ok()?;
    found.next().is_none().then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_root_hash_is_taken() {
        let hash = "ab".repeat(32);
        assert_eq!(parse(&format!("quiet roothash={hash} x\n")).unwrap().to_string(), hash);
        assert_eq!(parse("quiet"), None);
        assert_eq!(parse("roothash=12"), None);
        assert_eq!(parse(&format!("roothash={hash} roothash={hash}")), None);
    }
}
