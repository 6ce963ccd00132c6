//! The release server: a folder of static files over HTTP, which counts what it sends and can be told to spoil a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use tower_http::services::ServeDir;

use super::corruption;
use crate::error::{Error, Result};

/// How often a path was asked for and what was sent of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Requests.
    pub requests: u64,
    /// Bytes of bodies.
    pub bytes: u64,
    /// When the first request came.
    pub first: Option<Instant>,
    /// When the last byte was sent.
    pub last: Option<Instant>,
}

/// Serves one folder at a time on loopback until it is dropped.
#[derive(Debug)]
pub struct ReleaseServer {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    /// Path to the byte that is flipped on its way.
    spoiled: BTreeMap<String, u64>,
    traffic: BTreeMap<String, Traffic>,
    log: File,
}

impl ReleaseServer {
    /// Serves `folder` on a free port; every answer becomes a line of the file `log`: time, status,
    /// path, range asked for, bytes sent.
    pub async fn start(folder: &Path, log: &Path) -> Result<Self> {
        Self::start_at(([127, 0, 0, 1], 0).into(), folder, log).await
    }

    /// As [`ReleaseServer::start`], at this address of our loopback. The log goes on where an earlier one ended.
    pub async fn start_at(address: SocketAddr, folder: &Path, log: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| Error::Server {
            server: "release server".to_owned(),
            reason: error.to_string(),
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Mutex::new(Shared {
            folder: folder.to_owned(),
            spoiled: BTreeMap::new(),
            traffic: BTreeMap::new(),
            log: File::options()
                .create(true)
                .append(true)
                .open(log)
                .map_err(|source| Error::file("create the log", log, source))?,
        }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // Serving ends only with the task.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves another folder from now on.
    pub fn serve(&self, folder: &Path) {
        folder.clone_into(&mut self.shared().folder);
    }

    /// From now on flips the byte at `offset` of `path` (without a slash at its beginning) in every answer.
    pub fn spoil(&self, path: &str, offset: u64) {
        self.shared().spoiled.insert(path.to_owned(), offset);
    }

    /// Sends every file as it is again.
    pub fn heal(&self) {
        self.shared().spoiled.clear();
    }

    /// What was sent so far of all paths that begin with `prefix`.
    pub fn traffic(&self, prefix: &str) -> Traffic {
        let shared = self.shared();
        let below = shared.traffic.iter().filter(|(path, _)| path.starts_with(prefix));
        below.fold(Traffic::default(), |sum, (_, one)| Traffic {
            requests: sum.requests + one.requests,
            bytes: sum.bytes + one.bytes,
            first: [sum.first, one.first].into_iter().flatten().min(),
            last: sum.last.max(one.last),
        })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for ReleaseServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Mutex<Shared>>>, request: Request) -> Response<Body> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let range = request
        .headers()
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("-")
        .to_owned();
    let (folder, spoiled) = {
        let mut shared = lock(&shared);
        let traffic = shared.traffic.entry(path.clone()).or_default();
        traffic.requests += 1;
        traffic.first.get_or_insert_with(Instant::now);
        (shared.folder.clone(), shared.spoiled.get(&path).copied())
    };
    let Ok(response) = ServeDir::new(folder)
        .append_index_html_on_directories(false)
        .oneshot(request)
        .await;
    let mut response = response.map(Body::new);
    if response.status().is_success()
        && let Some(offset) = spoiled
    {
        response = corruption::flip(response, offset);
    }
    let mut answer = Answer {
        status: response.status(),
        path,
        range,
        bytes: 0,
        shared,
    };
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            answer.count(frame.data_ref().map_or(0, |data| data.len() as u64));
            frame
        }))
    })
}

/// One answer on its way; written to the log when it has ended, wherever it was cut off.
struct Answer {
    status: StatusCode,
    path: String,
    range: String,
    bytes: u64,
    shared: Arc<Mutex<Shared>>,
}

impl Answer {
    fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
        let mut shared = lock(&self.shared);
        let traffic = shared.traffic.entry(self.path.clone()).or_default();
        traffic.bytes += bytes;
        traffic.last = Some(Instant::now());
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Self {
            status,
            path,
            range,
            bytes,
            ..
        } = &*self;
        let line = format!(
            "{} {} {path} {range} {bytes}\n",
            jiff::Timestamp::now(),
            status.as_u16()
        );
        if let Err(error) = lock(&self.shared).log.write_all(line.as_bytes()) {
            tracing::warn!("the release server's log cannot be written: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::http_client::{self, Method};

    fn log(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("log")
    }

    async fn get(server: &ReleaseServer, path: &str) -> (u16, Vec<u8>) {
        http_client::request(server.address(), Method::Get, path, None, http_client::USUAL)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_spoiled_file_differs_in_one_byte_and_healing_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"abc").unwrap();
        let server = ReleaseServer::start(folder.path(), &log(&folder)).await.unwrap();
        server.spoil("file", 1);
        assert_eq!(get(&server, "/file").await, (200, vec![b'a', !b'b', b'c']));
        server.heal();
        assert_eq!(get(&server, "/file").await, (200, b"abc".to_vec()));
    }

    #[tokio::test]
    async fn bytes_are_counted_by_path() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("payloads")).unwrap();
        std::fs::write(folder.path().join("payloads/a"), [0; 1000]).unwrap();
        std::fs::write(folder.path().join("other"), [0; 5]).unwrap();
        let server = ReleaseServer::start(folder.path(), &log(&folder)).await.unwrap();
        get(&server, "/payloads/a").await;
        get(&server, "/payloads/a").await;
        get(&server, "/other").await;
        let traffic = server.traffic("payloads/");
        assert_eq!((traffic.requests, traffic.bytes), (2, 2000));
        assert!(traffic.first.unwrap() <= traffic.last.unwrap());
    }

    #[tokio::test]
    async fn every_answer_is_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"abc").unwrap();
        let server = ReleaseServer::start(folder.path(), &log(&folder)).await.unwrap();
        get(&server, "/file").await;
        get(&server, "/none").await;
        let text = std::fs::read_to_string(log(&folder)).unwrap();
        let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(lines, ["200 file - 3", "404 none - 0"]);
    }

    #[tokio::test]
    async fn nothing_above_the_folder_is_served() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("served")).unwrap();
        std::fs::write(folder.path().join("secret"), b"x").unwrap();
        let server = ReleaseServer::start(&folder.path().join("served"), &log(&folder))
            .await
            .unwrap();
        assert_eq!(get(&server, "/../secret").await.0, 404);
        assert_eq!(get(&server, "/%2e%2e/secret").await.0, 404);
    }
}
