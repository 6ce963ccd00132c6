//! The program at the keyboard as a client of the service.

use std::io;
use std::path::Path;
use std::time::Duration;

use reqwest::{Response, StatusCode};

use crate::command::{Command, Outcome};
use crate::http::choose_cryptography;
use crate::machine::Problem;
use crate::paths::Paths;
use crate::status::{Report, Told};

/// Any name would do: the connection goes to the socket.
const BASE: &str = "http://twinhull-updater";

/// The most bytes of an answer that are taken.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Longest wait for the status.
const STATUS: Duration = Duration::from_secs(10);

/// A connection to the service.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
}

/// The service did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is at work.
    #[error("{0}; try again when it has finished")]
    Busy(String),
    /// It says that something is wrong.
    #[error("the update service says: {0}")]
    Fault(Problem),
    /// The connection broke, or what came is no answer.
    #[error("no answer from the update service: {0}")]
    Broken(String),
}

impl Client {
    /// The service of this host, if it runs and this user may talk to it.
    pub async fn connect(paths: &Paths) -> Option<Self> {
        let path = paths.control_socket();
        if !listens(&path).await {
            return None;
        }
        choose_cryptography();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .unix_socket(path);
        Some(Self {
            http: http.build().ok()?,
        })
    }

    /// Has `command` carried out; takes as long as it takes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn command(&self, command: &Command) -> Result<Outcome, ClientError> {
        let body = serde_json::to_vec(command).map_err(broken)?;
        let request = self.http.post(format!("{BASE}/v1/command")).body(body);
        let response = request.send().await.map_err(broken)?;
        let (status, bytes) = whole(response).await?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(broken);
        }
        let problem: Problem = serde_json::from_slice(&bytes).map_err(broken)?;
        Err(if status == StatusCode::CONFLICT {
            ClientError::Busy(problem.text)
        } else {
            ClientError::Fault(problem)
        })
    }

    /// The status as the service sees it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<Report, ClientError> {
        let request = self.http.get(format!("{BASE}/v1/status")).timeout(STATUS);
        let (status, bytes) = whole(request.send().await.map_err(broken)?).await?;
        if status.is_success() {
            serde_json::from_slice(&bytes).map_err(broken)
        } else {
            let problem = serde_json::from_slice(&bytes).map_err(broken)?;
            Err(ClientError::Fault(problem))
        }
    }

    /// Shows every event to `watch`, until the connection ends.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn events(&self, mut watch: impl FnMut(Told)) -> Result<(), ClientError> {
        let request = self.http.get(format!("{BASE}/v1/events"));
        let mut response = request.send().await.map_err(broken)?;
        let mut rest = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                watch(serde_json::from_slice(&line).map_err(broken)?);
            }
            if rest.len() > MAX_ANSWER {
                return Err(ClientError::Broken("an endless line".to_owned()));
            }
        }
        Ok(())
    }
}

/// Whether somebody accepts connections; a left-over of a dead service does not.
async fn listens(path: &Path) -> bool {
    match tokio::net::UnixStream::connect(path).await {
        Ok(_) => true,
        Err(error) => {
            if error.kind() == io::ErrorKind::PermissionDenied {
                tracing::debug!("not allowed to talk to the service");
            }
            false
        }
    }
}

async fn whole(mut response: Response) -> Result<(StatusCode, Vec<u8>), ClientError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(ClientError::Broken("the answer has no end".to_owned()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((response.status(), bytes))
}

fn broken(error: impl std::error::Error) -> ClientError {
    ClientError::Broken(crate::http::chain(&error))
}
