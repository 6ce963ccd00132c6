//! The release repository over HTTP.

use std::io::Read;

use reqwest::Url;
use twinhull_trust::{FetchError, Fetcher};

use super::{Http, HttpError};
use crate::install::Repository;

/// A repository: a folder of static files somewhere.
#[derive(Debug)]
pub struct HttpRepository {
    http: Http,
    base: Url,
}

impl HttpRepository {
    /// The repository at `base`, which ends in `/`.
    pub fn new(http: Http, base: Url) -> Self {
        Self { http, base }
    }
}

impl Fetcher for HttpRepository {
    fn fetch(&mut self, path: &str, _max: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        // The reader takes no more than it wants, and the connection ends with it.
        self.open(path, 0)
    }
}

impl Repository for HttpRepository {
    fn open(&mut self, path: &str, from: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        let url = self
            .base
            .join(path)
            .map_err(|error| FetchError::Other(error.to_string()))?;
        match self.http.get(&url, from) {
            Ok(body) => Ok(Box::new(body)),
            Err(HttpError::NotFound { .. }) => Err(FetchError::NotFound),
            Err(error) => Err(FetchError::Other(error.to_string())),
        }
    }
}
