//! Where bytes come from, and how many of them are taken.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use crate::TrustError;

/// Reads files of a repository: over HTTP, from a folder, from memory. The client checks everything it gets.
pub trait Fetcher {
    /// Opens the file at `path`, relative to the base of the repository, for example `metadata/timestamp.json`. The path
    /// is already percent-encoded as the path of a URL, and it never climbs out of the base.
    ///
    /// At most `max` bytes are wanted; giving more is no harm, they are refused. A fetcher should give up by itself when
    /// no byte arrives for a while: the client can only judge the pace of bytes that come.
    ///
    /// # Errors
    /// [`FetchError::NotFound`] only if the repository says that there is no such file.
    fn fetch(&mut self, path: &str, max: u64) -> Result<Box<dyn Read + '_>, FetchError>;

    /// Tells that these files will be asked for next, in this order, whatever the answers are: a fetcher may ask for all of
    /// them at once, so that they cost one round trip. The client still takes the answers in its own order. Most fetchers
    /// need not care.
    fn expect(&mut self, next: &[Expected<'_>]) {
        let _ = next;
    }

    /// As [`Fetcher::fetch`], but the file need not be sent again if its `tag` is still this one (HTTP: `ETag` and
    /// `If-None-Match`). A fetcher that knows no tags always sends it.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`].
    fn fetch_unless(&mut self, path: &str, max: u64, tag: Option<&str>) -> Result<Answer<'_>, FetchError> {
        let _ = tag;
        let content = self.fetch(path, max)?;
        Ok(Answer::Content { content, tag: None })
    }
}

/// A file that will be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected<'a> {
    /// Its path.
    pub path: &'a str,
    /// The tag with which [`Fetcher::fetch_unless`] will be called.
    pub tag: Option<&'a str>,
}

/// What came of [`Fetcher::fetch_unless`].
pub enum Answer<'a> {
    /// The file is still the one with this tag.
    Same,
    /// The file.
    Content {
        /// Its bytes.
        content: Box<dyn Read + 'a>,
        /// Its tag, if it has one.
        tag: Option<String>,
    },
}

/// The bytes of a file, and its tag if it has one.
pub(crate) type Tagged = (Vec<u8>, Option<String>);

/// Longer tags are not kept.
const MAX_TAG: usize = 256;

/// As [`read_bounded`], with a tag; `None` if the file is still the one with this tag.
///
/// # Errors
/// As [`read_bounded`].
pub(crate) fn read_unless(
    fetcher: &mut dyn Fetcher,
    path: &str,
    max: u64,
    tag: Option<&str>,
) -> Result<Option<Tagged>, TrustError> {
    let started = Instant::now();
    let failed = |source| TrustError::Fetch {
        path: path.to_owned(),
        source,
    };
    match fetcher.fetch_unless(path, max, tag).map_err(failed)? {
        Answer::Same if tag.is_some() => Ok(None),
        Answer::Same => Err(failed(FetchError::Other(
            "it is said not to have changed, but nobody asked for that".to_owned(),
        ))),
        Answer::Content { mut content, tag } => {
            let bytes = take(&mut content, path, max, Pace::default(), &mut || started.elapsed())?;
            let plain = |tag: &String| tag.len() <= MAX_TAG && tag.bytes().all(|byte| byte.is_ascii_graphic());
            Ok(Some((bytes, tag.filter(plain))))
        }
    }
}

/// Why a file of a repository could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The repository has no such file.
    #[error("the repository has no such file")]
    NotFound,
    /// Anything else: no connection, a server error, a time-out. The text is for people.
    #[error("{0}")]
    Other(String),
}

/// How slow a download may be on average before it counts as an attack (TUF 1.0.x section 2.1.3, slow retrieval).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Bytes per second.
    minimum: u64,
    /// How long a download may be slow: connections start slowly, and small files end before this.
    grace: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            minimum: 1024,
            grace: Duration::from_secs(30),
        }
    }
}

impl Pace {
    fn too_slow(self, bytes: u64, elapsed: Duration) -> bool {
        elapsed > self.grace && bytes < elapsed.as_secs().saturating_mul(self.minimum)
    }
}

/// Takes the whole file at `path`, but at most `max` bytes of it.
///
/// # Errors
/// The fetcher's; more than `max` bytes; too few bytes a second.
pub(crate) fn read_bounded(fetcher: &mut dyn Fetcher, path: &str, max: u64) -> Result<Vec<u8>, TrustError> {
    let started = Instant::now();
    let failed = |source| TrustError::Fetch {
        path: path.to_owned(),
        source,
    };
    let mut reader = fetcher.fetch(path, max).map_err(failed)?;
    take(&mut reader, path, max, Pace::default(), &mut || started.elapsed())
}

fn take(
    reader: &mut dyn Read,
    path: &str,
    max: u64,
    pace: Pace,
    elapsed: &mut dyn FnMut() -> Duration,
) -> Result<Vec<u8>, TrustError> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let source = FetchError::Other(error.to_string());
                return Err(TrustError::Fetch {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let so_far = bytes.len() as u64 + count as u64;
        if so_far > max {
            return Err(TrustError::TooLong {
                path: path.to_owned(),
                max,
            });
        }
        bytes.extend_from_slice(&buffer[..count]);
        if pace.too_slow(so_far, elapsed()) {
            return Err(TrustError::TooSlow { path: path.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One byte at a time, for ever.
    struct Drip;

    impl Read for Drip {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer[0] = b' ';
            Ok(1)
        }
    }

    #[test]
    fn slow_drip_is_given_up() {
        let mut seconds = 0;
        let error = take(&mut Drip, "x", 1 << 20, Pace::default(), &mut || {
            seconds += 1;
            Duration::from_secs(seconds)
        });
        assert!(matches!(error, Err(TrustError::TooSlow { .. })), "{error:?}");
        assert_eq!(seconds, 31);
    }

    #[test]
    fn exactly_the_bound_is_taken_and_one_byte_more_refused() {
        let mut still = || Duration::ZERO;
        let whole = take(&mut io::repeat(7).take(100), "x", 100, Pace::default(), &mut still).unwrap();
        assert_eq!(whole.len(), 100);
        let error = take(&mut io::repeat(7).take(101), "x", 100, Pace::default(), &mut still);
        assert!(matches!(error, Err(TrustError::TooLong { max: 100, .. })), "{error:?}");
    }
}
