//! One member on loopback with a folder of its own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::super::Store as _;
use super::super::{Etcd, EtcdConfig};

/// Longer than a member takes to start, so that a hang is a failure.
const PATIENCE: Duration = Duration::from_mins(1);

/// A URL that nobody listens on. Bound for a moment to find a port that is free.
pub(super) fn free_url(scheme: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("{scheme}://{}", listener.local_addr().unwrap())
}

/// A member; ended when dropped.
pub(super) struct Member {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Member {
    /// One that anybody may use.
    pub(super) fn start() -> Self {
        Self::start_with("http", &[])
    }

    /// One with further `arguments`, whose clients use `scheme`.
    pub(super) fn start_with(scheme: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (url, peer) = (free_url(scheme), free_url("http"));
        let child = Command::new("etcd")
            .args(["--name", "test", "--data-dir"])
            .arg(folder.path())
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("test={peer}")])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd does not start; install the package etcd-server (cargo xtask setup)");
        Self {
            child,
            url,
            _folder: folder,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn config(&self) -> EtcdConfig {
        EtcdConfig::at(vec![self.url.clone()])
    }

    /// A store on it, once it answers.
    pub(super) async fn store(&self) -> Arc<Etcd> {
        Self::store_with(&self.config()).await
    }

    /// The same, as `config` says.
    pub(super) async fn store_with(config: &EtcdConfig) -> Arc<Etcd> {
        let store = Etcd::connect(config).await.unwrap();
        let end = Instant::now() + PATIENCE;
        while let Err(error) = store.groups().await {
            assert!(Instant::now() < end, "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Arc::new(store)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
