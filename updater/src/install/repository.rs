//! Where payloads come from.

use std::io::Read;

use twinhull_trust::{FetchError, Fetcher};

use super::MaxFetch;

/// The release repository: metadata from the start, payloads from any byte on.
pub trait Repository: Fetcher {
    /// Opens the file at `path`, relative to the base of the repository, from byte `from` on.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`].
    fn open(&mut self, path: &str, from: u64) -> Result<Box<dyn Read + '_>, FetchError>;

    /// Opens `length` bytes of it, and asks the server for no more.
    ///
    /// # Errors
    /// As [`Repository::open`].
    fn open_part(&mut self, path: &str, from: u64, length: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        Ok(Box::new(self.open(path, from)?.take(length)))
    }

    /// How much of it one release may cost.
    fn max_fetch(&self) -> MaxFetch {
        MaxFetch::default()
    }
}
