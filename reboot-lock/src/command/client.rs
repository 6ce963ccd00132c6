//! The client that `status` and `release` ask a server with: over the administration's unix socket, or over HTTP.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CommandError;
use super::output::print;
use crate::config::DEFAULT_ADMIN_SOCKET;
use crate::server::token;
use crate::wire::ReplyBody;

/// How long a request may take in all.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The longest answer that is read, in bytes: a status of a thousand groups with full slots fits.
const MAX_ANSWER: usize = 128 * 1024 * 1024;

/// Which server, and how to be let in.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// Server: `http://…`, `https://…` or `unix:PATH` (the administration's socket)
    #[arg(long, value_name = "URL", default_value_t = Url::Unix(DEFAULT_ADMIN_SOCKET.into()))]
    url: Url,
    /// File with the administration's bearer token, for an http URL
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with the authority that signs the server's certificate, in PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Url {
    Unix(PathBuf),
    Http(reqwest::Url),
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if Path::new(path).is_absolute() {
                Ok(Self::Unix(path.into()))
            } else {
                Err("the path of a unix: URL must begin with /".to_owned())
            };
        }
        let mut url = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("write http://HOST:PORT/, https://HOST:PORT/ or unix:PATH".to_owned());
        }
        // Joining would lose the last part of a base without a final slash.
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self::Http(url))
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http(url) => write!(f, "{url}"),
        }
    }
}

impl Server {
    /// Asks for `path` and reads the JSON that comes.
    ///
    /// # Errors
    /// See [`ask`](Self::ask).
    pub(super) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommandError> {
        let body = self.ask(Method::GET, path, None).await?;
        serde_json::from_slice(&body)
            .map_err(|error| CommandError::Server(format!("the answer of {} cannot be understood: {error}", self.url)))
    }

    /// Asks the administration for the change `body`, and prints what it says.
    ///
    /// # Errors
    /// See [`ask`](Self::ask).
    pub(super) async fn change(&self, action: &str, body: &impl Serialize) -> Result<(), CommandError> {
        let body = serde_json::to_vec(body)
            .map_err(std::io::Error::other)
            .map_err(CommandError::system("write JSON"))?;
        let answer = self
            .ask(Method::POST, &format!("v1/admin/{action}"), Some(body))
            .await?;
        let reply: ReplyBody = serde_json::from_slice(&answer)
            .map_err(|error| CommandError::Server(format!("the server's answer cannot be understood: {error}")))?;
        print(reply.value + "\n")
    }

    /// Asks for `path` (without a leading slash) and returns the body of a 2xx answer.
    ///
    /// # Errors
    /// [`CommandError::Refused`] for a 4xx answer, with what the server said; else [`CommandError::Server`].
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Vec<u8>, CommandError> {
        let failed =
            |error: reqwest::Error| CommandError::Server(format!("cannot ask {}: {}", self.url, chain(&error)));
        // Fails only when a provider is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        if let Some(authorities) = self.authorities()? {
            builder = builder.tls_certs_only(authorities);
        }
        let (builder, base) = match &self.url {
            Url::Unix(socket) => (
                builder.unix_socket(socket.as_path()),
                reqwest::Url::parse("http://localhost/"),
            ),
            Url::Http(url) => (builder, Ok(url.clone())),
        };
        let url = base
            .and_then(|base| base.join(path))
            .map_err(|error| CommandError::Server(format!("cannot ask {}: {error}", self.url)))?;
        let mut request = builder.build().map_err(failed)?.request(method, url);
        if let Some(file) = &self.token_file {
            request = request.bearer_auth(token::read(file)?);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                let problem = format!(
                    "{} answers with more than {MAX_ANSWER} bytes; is it a lock server?",
                    self.url
                );
                return Err(CommandError::Server(problem));
            }
            bytes.extend_from_slice(&chunk);
        }
        self.judge(response.status(), bytes)
    }

    /// Who may sign the server's certificate; `None` for those that the system trusts.
    fn authorities(&self) -> Result<Option<Vec<reqwest::Certificate>>, CommandError> {
        match (&self.ca, &self.url) {
            (Some(file), _) => Ok(Some(authorities(file)?)),
            (None, Url::Http(url)) if url.scheme() == "https" => Ok(None),
            // Nothing is encrypted; a small system may trust nobody, and the client would refuse to start there.
            (None, Url::Http(_) | Url::Unix(_)) => Ok(Some(Vec::new())),
        }
    }

    fn judge(&self, status: StatusCode, bytes: Vec<u8>) -> Result<Vec<u8>, CommandError> {
        if status.is_success() {
            return Ok(bytes);
        }
        let said = match serde_json::from_slice::<ReplyBody>(&bytes) {
            Ok(reply) => format!("{} ({})", reply.value, reply.kind),
            Err(_) => "it gave no reason; is it a lock server?".to_owned(),
        };
        let message = format!("{} answers {status}: {said}", self.url);
        Err(if status.is_client_error() {
            CommandError::Refused(message)
        } else {
            CommandError::Server(message)
        })
    }
}

fn authorities(file: &Path) -> Result<Vec<reqwest::Certificate>, CommandError> {
    let unusable = |reason: String| {
        let problem = format!("cannot read the authority in {}: {reason}", file.display());
        CommandError::Server(problem)
    };
    let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(chain(&error)))
}

/// The error with its causes: the outermost alone says only that sending failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_keeps_its_last_part() {
        let join = |text: &str| match text.parse::<Url>().unwrap() {
            Url::Http(url) => url.join("v1/status").unwrap().to_string(),
            Url::Unix(path) => path.display().to_string(),
        };
        for text in ["http://h:1/fleet", "http://h:1/fleet/"] {
            assert_eq!(join(text), "http://h:1/fleet/v1/status");
        }
        assert_eq!(join("http://h:1"), "http://h:1/v1/status");
        assert_eq!(join("unix:/run/a.sock"), "/run/a.sock");
        assert_eq!(join("unix:///run/a.sock"), "/run/a.sock");
    }

    #[test]
    fn other_schemes_are_refused() {
        for text in ["ftp://h/", "127.0.0.1:80", "unix:a.sock", ""] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
