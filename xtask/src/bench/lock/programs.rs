//! What is measured and what it needs: the lock server, one etcd member, and etcd's own client alone.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::phase::Phases;
use crate::workspace;

/// Kernel time slices in a second: what `/proc` counts processor time in.
const TICKS: f64 = 100.0;

/// Where the programs are.
pub(super) struct Programs {
    server: PathBuf,
    etcd_alone: PathBuf,
}

impl Programs {
    pub(super) fn build(phases: &mut Phases) -> Result<Self> {
        let mut build = workspace::cargo();
        build.args(["build", "--release", "--locked", "-p", "twinhull-lock"]);
        build.args(["--bins", "--example", "etcd-alone"]);
        phases.run("build the reboot lock", &mut build)?;
        let folder = workspace::target().join("release");
        Ok(Self {
            server: folder.join("twinhull-lock"),
            etcd_alone: folder.join("examples/etcd-alone"),
        })
    }

    /// A server with its configuration in `folder`, over the `store` that a table of it names.
    pub(super) fn serve(&self, folder: &Path, store: &str) -> Result<Server> {
        let config = folder.join("lock.toml");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nplain_http = true\n{store}[groups.wide]\nslots = 1000\n[groups.narrow]\nslots = 1\n"
        );
        std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let mut child = Command::new(&self.server)
            .args(["serve", "--config"])
            .arg(&config)
            .env("TWINHULL_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.server.display()))?;
        let mut first = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut first)?;
        }
        let address = first
            .trim_end()
            .strip_prefix("listening on http://")
            .and_then(|address| address.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("the lock server does not start");
        };
        Ok(Server { child, address })
    }

    /// How many values a second one client alone writes to `etcd`, one after the other, for `duration`.
    pub(super) fn write_alone(&self, etcd: &Etcd, duration: Duration) -> Result<f64> {
        let output = Command::new(&self.etcd_alone)
            .args([&etcd.url, &duration.as_secs().to_string()])
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start {}", self.etcd_alone.display()))?;
        ensure!(output.status.success(), "the client of etcd failed");
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().context("the client of etcd prints no number")
    }
}

/// A lock server; ended when dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Server {
    /// The most memory that it had, in bytes.
    pub(super) fn peak_memory(&self) -> Result<u64> {
        let text = self.proc("status")?;
        let peak = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        let kib: u64 = peak.context("no VmHWM in /proc")?.trim().parse()?;
        Ok(kib * 1024)
    }

    /// The processor time that it has had so far, in seconds.
    pub(super) fn cpu(&self) -> Result<f64> {
        let text = self.proc("stat")?;
        // The name before it, in brackets, may contain anything.
        let (_, fields) = text.rsplit_once(')').context("no name in /proc")?;
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
        match (times.next(), times.next()) {
            (Some(Ok(user)), Some(Ok(system))) => Ok((user + system) / TICKS),
            _ => bail!("no times in /proc"),
        }
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One etcd member; ended when dropped.
pub(super) struct Etcd {
    child: Child,
    pub(super) url: String,
}

impl Etcd {
    pub(super) fn start(folder: &Path) -> Result<Self> {
        // Bound for a moment to find ports that are free.
        let ports = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [address, peer] = [ports[0].local_addr()?, ports[1].local_addr()?];
        drop(ports);
        let (url, peer) = (format!("http://{address}"), format!("http://{peer}"));
        let child = Command::new("etcd")
            .args(["--name", "bench", "--data-dir"])
            .arg(folder.join("etcd"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("bench={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start etcd (package etcd-server)")?;
        let etcd = Self { child, url };
        let patience = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(address).is_err() {
            ensure!(Instant::now() < patience, "etcd does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(etcd)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
