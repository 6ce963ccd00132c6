//! A repository server in memory, which can misbehave.

use std::collections::BTreeMap;
use std::io::{self, Read};

use twinhull_trust::{Answer, Expected, FetchError, Fetcher};

use crate::world::tag_of;

/// Files by path, and what was asked for.
#[derive(Default, Clone)]
pub(crate) struct Server {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) requests: Vec<String>,
    /// Bytes handed out.
    pub(crate) sent: u64,
    /// Whether it gives tags, and answers that a file is still the same.
    pub(crate) tags: bool,
    /// What was announced.
    pub(crate) expected: Vec<String>,
    /// A file that never ends.
    pub(crate) endless: Option<String>,
}

impl Server {
    /// Forgets what was asked for, and returns it.
    pub(crate) fn take_requests(&mut self) -> Vec<String> {
        std::mem::take(&mut self.requests)
    }
}

impl Fetcher for Server {
    fn fetch(&mut self, path: &str, _max: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        self.requests.push(path.to_owned());
        let Self {
            files, sent, endless, ..
        } = self;
        let content: Box<dyn Read> = if endless.as_deref() == Some(path) {
            Box::new(io::repeat(b' '))
        } else {
            Box::new(files.get(path).ok_or(FetchError::NotFound)?.as_slice())
        };
        Ok(Box::new(Counted { content, sent }))
    }

    fn expect(&mut self, next: &[Expected<'_>]) {
        self.expected = next.iter().map(|one| one.path.to_owned()).collect();
    }

    fn fetch_unless(&mut self, path: &str, max: u64, tag: Option<&str>) -> Result<Answer<'_>, FetchError> {
        let current = self.files.get(path).filter(|_| self.tags).map(|bytes| tag_of(bytes));
        if current.is_some() && current.as_deref() == tag {
            self.requests.push(path.to_owned());
            return Ok(Answer::Same);
        }
        let content = self.fetch(path, max)?;
        Ok(Answer::Content { content, tag: current })
    }
}

struct Counted<'a> {
    content: Box<dyn Read + 'a>,
    sent: &'a mut u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        *self.sent += count as u64;
        Ok(count)
    }
}
