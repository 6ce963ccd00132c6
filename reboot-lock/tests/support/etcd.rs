//! A real etcd member, and its keys.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::eventually;

/// One member on loopback; killed when dropped.
pub struct Etcd {
    child: Child,
    pub url: String,
}

impl Etcd {
    pub fn start(folder: &Path) -> Self {
        // Bound for a moment to find ports that are free.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [url, peer] = ports.map(|port| format!("http://{}", port.local_addr().unwrap()));
        let child = Command::new("etcd")
            .args(["--name", "test", "--data-dir"])
            .arg(folder.join("etcd"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("test={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd does not start; install the package etcd-server (cargo xtask setup)");
        let etcd = Self { child, url };
        eventually(|| etcd.control(&["endpoint", "health"]));
        etcd
    }

    pub fn put(&self, key: &str, value: &str) {
        assert!(self.control(&["put", key, value]));
    }

    fn control(&self, arguments: &[&str]) -> bool {
        let status = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.url])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status
            .expect("etcdctl does not start; install the package etcd-client (cargo xtask setup)")
            .success()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
