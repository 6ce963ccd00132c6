//! Where payloads come from.

use std::io::Read;

use twinhull_trust::{FetchError, Fetcher};

/// The release repository: metadata from the start, payloads from any byte on.
pub trait Repository: Fetcher {
    /// Opens the file at `path`, relative to the base of the repository, from byte `from` on.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`].
    fn open(&mut self, path: &str, from: u64) -> Result<Box<dyn Read + '_>, FetchError>;
}
