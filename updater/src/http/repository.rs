//! The release repository over HTTP.

use std::collections::HashMap;
use std::io::Read;

use reqwest::Url;
use twinhull_trust::{Answer, Expected, FetchError, Fetcher};

use super::{Asked, Body, Http, HttpError, Reply};
use crate::install::{MaxFetch, Repository};

/// A repository: a folder of static files somewhere.
#[derive(Debug)]
pub struct HttpRepository {
    http: Http,
    base: Url,
    /// Requests that are on their way, by path, each with the tag it was made with.
    ahead: HashMap<String, (Option<String>, Asked)>,
    max_fetch: MaxFetch,
}

impl HttpRepository {
    /// The repository at `base`, which ends in `/`.
    pub fn new(http: Http, base: Url) -> Self {
        Self {
            http,
            base,
            ahead: HashMap::new(),
            max_fetch: MaxFetch::default(),
        }
    }

    /// The same, with a bound to what one release may cost.
    #[must_use]
    pub fn with_max_fetch(self, max_fetch: MaxFetch) -> Self {
        Self { max_fetch, ..self }
    }

    fn url(&self, path: &str) -> Result<Url, FetchError> {
        self.base
            .join(path)
            .map_err(|error| FetchError::Other(error.to_string()))
    }

    fn get(&self, path: &str, from: u64, length: Option<u64>) -> Result<Body, FetchError> {
        let url = self.url(path)?;
        let get = || self.http.get(&url, from, length);
        or_once_more(get(), get)
    }

    fn ask(&mut self, path: &str, tag: Option<&str>) -> Result<Reply, FetchError> {
        let url = self.url(path)?;
        let asked = match self.ahead.remove(path) {
            Some((with, asked)) if with.as_deref() == tag => asked,
            _ => self.http.ask(&url, tag),
        };
        or_once_more(self.http.reply(&url, asked), || {
            self.http.reply(&url, self.http.ask(&url, tag))
        })
    }
}

/// What was got, or what asking `again` gives where the next server behind the same name may do better. Not after 503, by which one
/// asks for fewer requests.
fn or_once_more<T>(got: Result<T, HttpError>, again: impl FnOnce() -> Result<T, HttpError>) -> Result<T, FetchError> {
    let got = match got {
        Err(HttpError::Status { status, .. }) if matches!(status.as_u16(), 500 | 502 | 504) => again(),
        got => got,
    };
    got.map_err(not_fetched)
}

fn not_fetched(error: HttpError) -> FetchError {
    match error {
        HttpError::NotFound { .. } => FetchError::NotFound,
        error => FetchError::Other(error.to_string()),
    }
}

impl Fetcher for HttpRepository {
    fn fetch(&mut self, path: &str, _max: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        // The reader takes no more than it wants, and the connection ends with it.
        match self.ask(path, None)? {
            Reply::Body(body, _) => Ok(body),
            Reply::Same => Err(FetchError::Other(
                "the server answered 304 although nobody asked for that".to_owned(),
            )),
        }
    }

    fn expect(&mut self, next: &[Expected<'_>]) {
        self.ahead.clear();
        for one in next {
            // An address that cannot be is reported when it is asked for.
            if let Ok(url) = self.url(one.path) {
                let asked = self.http.ask(&url, one.tag);
                self.ahead
                    .insert(one.path.to_owned(), (one.tag.map(str::to_owned), asked));
            }
        }
    }

    fn fetch_unless(&mut self, path: &str, _max: u64, tag: Option<&str>) -> Result<Answer<'_>, FetchError> {
        match self.ask(path, tag)? {
            Reply::Same => Ok(Answer::Same),
            Reply::Body(body, tag) => Ok(Answer::Content { content: body, tag }),
        }
    }
}

impl Repository for HttpRepository {
    fn open(&mut self, path: &str, from: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        Ok(Box::new(self.get(path, from, None)?))
    }

    fn open_part(&mut self, path: &str, from: u64, length: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        Ok(Box::new(self.get(path, from, Some(length))?.take(length)))
    }

    fn max_fetch(&self) -> MaxFetch {
        self.max_fetch
    }
}
