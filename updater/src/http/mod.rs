//! The one HTTP client: proxy, certificates, time-outs, bounds and error texts in one place. Without a proxy of its own the usual
//! environment variables count.

mod body;
mod identity;
mod repository;
mod text;

use std::io::{self, Read};
use std::sync::Once;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url, header};
use tokio::runtime::Handle;

pub use body::Body;
pub use repository::HttpRepository;
pub(crate) use text::chain;
pub(crate) use text::one_line;
use text::shown;

use crate::config as settings;
use identity::Identity;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest wait for the next byte.
const READ: Duration = Duration::from_secs(30);

/// Over how long the rate of a download is measured.
const WINDOW: Duration = Duration::from_mins(1);

/// The most redirects that a download follows.
const REDIRECTS: usize = 5;

/// Why there is no answer, or none that helps.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The client cannot be made.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
    /// The server says that there is nothing there.
    #[error("{}: the server has no such file", shown(url))]
    NotFound {
        /// The address.
        url: Url,
    },
    /// The server answered, but not with what was asked for.
    #[error("{}: the server answered {status}", shown(url))]
    Status {
        /// The address.
        url: Url,
        /// The answer.
        status: reqwest::StatusCode,
    },
    /// No answer.
    #[error("{}: {reason}", shown(url))]
    Network {
        /// The address.
        url: Url,
        /// What went wrong, from the outside in.
        reason: String,
    },
}

/// A request that is on its way.
pub(super) type Asked = tokio::task::JoinHandle<Result<reqwest::Response, reqwest::Error>>;

/// An answer to a request for a whole file.
pub(super) enum Reply {
    /// The file still has the tag that was given.
    Same,
    /// Its bytes, and its tag if it has one.
    Body(Box<Body>, Option<String>),
}

/// A client for blocking callers; the runtime behind it must be driven by another thread.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    runtime: Handle,
    window: Duration,
}

impl Http {
    /// A client that follows redirects: for downloads, whose content is verified in any case.
    ///
    /// # Errors
    /// [`HttpError::Client`].
    pub fn for_downloads(runtime: Handle, settings: &settings::Http) -> Result<Self, HttpError> {
        Self::new(runtime, settings, || Policy::limited(REDIRECTS))
    }

    /// A client that follows no redirect: a request that changes something must reach the server it was meant for.
    ///
    /// # Errors
    /// [`HttpError::Client`].
    pub fn for_commands(runtime: Handle, settings: &settings::Http) -> Result<Self, HttpError> {
        Self::new(runtime, settings, Policy::none)
    }

    fn new(runtime: Handle, settings: &settings::Http, redirects: fn() -> Policy) -> Result<Self, HttpError> {
        choose_cryptography();
        let identity = Identity::read(settings)?;
        let builder = || {
            identity
                .apply(Client::builder())
                .redirect(redirects())
                .user_agent(concat!("twinhull-updater/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT)
                .read_timeout(READ)
                .pool_max_idle_per_host(1)
                .pool_idle_timeout(Duration::from_secs(5))
        };
        let client = builder().build().or_else(|error| {
            if identity.names_authorities() {
                return Err(error);
            }
            // A host without any certificate authority can still use plain HTTP: what is fetched is signed.
            warn_once(&error);
            builder().tls_certs_only([]).build()
        });
        Ok(Self {
            client: client.map_err(|error| HttpError::Client(chain(&error)))?,
            runtime,
            window: WINDOW,
        })
    }

    /// Opens the file at `url` from byte `from` on; `length` asks for so many bytes only. A server that knows no ranges sends
    /// more than that.
    ///
    /// # Errors
    /// No connection, no file, or another answer.
    pub fn get(&self, url: &Url, from: u64, length: Option<u64>) -> Result<Body, HttpError> {
        let mut request = self.client.get(url.clone());
        let range = match length {
            Some(length) => Some(format!("bytes={from}-{}", from.saturating_add(length.max(1)) - 1)),
            None if from > 0 => Some(format!("bytes={from}-")),
            None => None,
        };
        let ranged = range.is_some();
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let response = self
            .runtime
            .block_on(request.send())
            .map_err(|error| network(url, &error))?;
        let status = response.status();
        match status.as_u16() {
            404 | 410 => Err(HttpError::NotFound { url: url.clone() }),
            200 => {
                // A server that knows no ranges sends all of it: pass over what is not wanted.
                let mut body = self.body(response);
                let skipped = io::copy(&mut (&mut body).take(from), &mut io::sink());
                match skipped {
                    Ok(count) if count == from => Ok(body),
                    Ok(_) => Err(HttpError::Network {
                        url: url.clone(),
                        reason: "the file is shorter than it should be".to_owned(),
                    }),
                    Err(error) => Err(HttpError::Network {
                        url: url.clone(),
                        reason: error.to_string(),
                    }),
                }
            }
            206 if ranged && begins_at(&response, from) => Ok(self.body(response)),
            206 => Err(HttpError::Network {
                url: url.clone(),
                reason: "the server sent another part of the file than was asked for".to_owned(),
            }),
            _ => Err(HttpError::Status {
                url: url.clone(),
                status,
            }),
        }
    }

    fn body(&self, response: reqwest::Response) -> Body {
        Body::new(response, self.runtime.clone(), self.window)
    }

    /// Sends the request for the file at `url`, unless it still has this `tag`; the answer comes with [`Http::reply`].
    pub(super) fn ask(&self, url: &Url, tag: Option<&str>) -> Asked {
        let mut request = self.client.get(url.clone());
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        self.runtime.spawn(request.send())
    }

    /// Waits for the answer to a request for the whole file at `url`.
    ///
    /// # Errors
    /// No connection, no file, or another answer.
    pub(super) fn reply(&self, url: &Url, asked: Asked) -> Result<Reply, HttpError> {
        let ended = self.runtime.block_on(asked).map_err(|error| HttpError::Network {
            url: url.clone(),
            reason: error.to_string(),
        })?;
        let response = ended.map_err(|error| network(url, &error))?;
        let status = response.status();
        match status.as_u16() {
            404 | 410 => Err(HttpError::NotFound { url: url.clone() }),
            304 => Ok(Reply::Same),
            200 => {
                let tag = response.headers().get(header::ETAG);
                let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
                Ok(Reply::Body(Box::new(self.body(response)), tag))
            }
            _ => Err(HttpError::Status {
                url: url.clone(),
                status,
            }),
        }
    }

    /// Posts a JSON text and takes at most `max` bytes of the answer, all within `limit`.
    ///
    /// # Errors
    /// [`HttpError::Network`]. Any status is an answer.
    pub fn post(
        &self,
        url: &Url,
        headers: &[(&'static str, &'static str)],
        json: String,
        limit: Duration,
        max: usize,
    ) -> Result<(reqwest::StatusCode, Vec<u8>), HttpError> {
        let mut request = self
            .client
            .post(url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .timeout(limit)
            .body(json);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.runtime.block_on(async {
            let mut response = request.send().await.map_err(|error| network(url, &error))?;
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| network(url, &error))? {
                bytes.extend_from_slice(&chunk[..chunk.len().min(max - bytes.len())]);
                if bytes.len() == max {
                    break;
                }
            }
            Ok((response.status(), bytes))
        })
    }
}

/// A client is made for every look at the repository, and this is as true at the next.
fn warn_once(error: &reqwest::Error) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            "this host trusts no certificate authority, so https:// will not work ({})",
            chain(error)
        );
    });
}

/// Must come before the first client: there is none by default.
pub(crate) fn choose_cryptography() {
    static PROVIDER: Once = Once::new();
    // Fails only if there is one already, which then is this one.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

/// Whether the part of a file that a server sends begins at byte `from` (RFC 9110, section 14.4). A server that leaves the
/// field out is believed: every byte is compared with signed hashes.
fn begins_at(response: &reqwest::Response, from: u64) -> bool {
    let Some(range) = response.headers().get(header::CONTENT_RANGE) else {
        return true;
    };
    let first = range
        .to_str()
        .ok()
        .and_then(|range| range.trim().strip_prefix("bytes "))
        .and_then(|range| range.split('-').next())
        .and_then(|first| first.trim().parse().ok());
    first == Some(from)
}

fn network(url: &Url, error: &reqwest::Error) -> HttpError {
    HttpError::Network {
        url: url.clone(),
        reason: chain(error),
    }
}

#[cfg(test)]
mod tests;
