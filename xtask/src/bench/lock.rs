//! The reboot lock under load: one etcd member, server and load on the same machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::evidence::{Evidence, Figure, Goal, Publication};
use crate::phase::Phases;
use crate::workspace;

/// How long each load lasts.
const LOAD: Duration = Duration::from_secs(10);

/// How many hosts are known at last.
const HOSTS: usize = 100_000;

/// Connections of the larger load.
const MANY: usize = 16;

/// Ten times what a widely used server is said to manage with the larger load: 445 of 998 in a second.
const ETCD_GOAL: f64 = 4450.0;

/// What is wanted with 16 connections: milliseconds, and grants or releases per second of the embedded store.
const P99_GOAL: f64 = 20.0;
const EMBEDDED_GOAL: f64 = 5000.0;
const MEMORY_GOAL: f64 = 128e6;

/// Not in Debian, so that it cannot be run beside ours.
const PEER: (&str, &str) = ("airlock", "not packaged for this distribution");

pub(super) fn run(phases: &mut Phases, publication: &Publication) -> Result<()> {
    let mut build = Command::new(workspace::cargo());
    build.args(["build", "--release", "--locked", "-p", "twinhull-lock"]);
    phases.run("build the reboot lock", &mut build)?;
    let program = workspace::target().join("release/twinhull-lock");
    let folder = workspace::work().join("bench-lock");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;

    let mut evidence = Evidence::new("bench lock");
    let peer = |figure: Figure| figure.without(PEER.0, PEER.1);
    {
        let etcd = Etcd::start(&folder)?;
        let store = format!("[store.etcd]\nendpoints = [\"{}\"]\n", etcd.url);
        let server = Server::start(&program, &folder, &store)?;
        let one = load(server.address, 1)?;
        let many = load(server.address, MANY)?;
        evidence.add(peer(Figure::new("lock.etcd.c1.granted_per_s", one.per_second(), "1/s")));
        let granted = Figure::new("lock.etcd.c16.granted_per_s", many.per_second(), "1/s");
        evidence.add(peer(granted.goal(Goal::AtLeast(ETCD_GOAL))));
        let failed = Figure::count("lock.etcd.c16.failed", many.failed as u64, "1");
        evidence.add(peer(failed.goal(Goal::AtMost(0.0))));
        let p99 = Figure::new("lock.etcd.c16.p99", many.p99().as_secs_f64() * 1e3, "ms");
        evidence.add(peer(p99.goal(Goal::AtMost(P99_GOAL))));
    }
    let store = format!("[store]\npath = \"{}\"\n", folder.join("lock.redb").display());
    let server = Server::start(&program, &folder, &store)?;
    let many = load(server.address, MANY)?;
    let granted = Figure::new("lock.embedded.c16.granted_per_s", many.per_second(), "1/s");
    evidence.add(granted.goal(Goal::AtLeast(EMBEDDED_GOAL)));
    ensure!(
        many.failed == 0,
        "{} requests failed over the embedded store",
        many.failed
    );
    know(server.address)?;
    let memory = Figure::count("lock.hosts_100k.memory", server.peak_memory()?, "B");
    evidence.add(memory.goal(Goal::AtMost(MEMORY_GOAL)));
    evidence.publish(publication)
}

/// What a load did.
struct Loaded {
    took: Duration,
    failed: usize,
    times: Vec<Duration>,
}

impl Loaded {
    /// Changes that were answered with 200: half of them grants, half releases.
    fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let count = (self.times.len() - self.failed) as f64;
        count / self.took.as_secs_f64()
    }

    fn p99(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// Each connection is a host that takes and releases in turn.
fn load(server: SocketAddr, connections: usize) -> Result<Loaded> {
    let started = Instant::now();
    let hosts: Vec<_> = (0..connections)
        .map(|number| {
            std::thread::spawn(move || -> Result<(usize, Vec<Duration>)> {
                let mut host = Host::connect(server)?;
                let (mut failed, mut times) = (0, Vec::new());
                let id = format!("{number:032x}");
                while started.elapsed() < LOAD {
                    for path in ["pre-reboot", "steady-state"] {
                        let asked = Instant::now();
                        failed += usize::from(host.ask(path, "wide", &id)? != 200);
                        times.push(asked.elapsed());
                    }
                }
                Ok((failed, times))
            })
        })
        .collect();
    let mut loaded = Loaded {
        took: Duration::ZERO,
        failed: 0,
        times: Vec::new(),
    };
    for host in hosts {
        let Ok(done) = host.join() else {
            bail!("a host of the load panicked")
        };
        let (failed, times) = done?;
        loaded.failed += failed;
        loaded.times.extend(times);
    }
    loaded.took = started.elapsed();
    Ok(loaded)
}

/// All hosts ask once for the only slot of a group, with what the agent tells of itself.
fn know(server: SocketAddr) -> Result<()> {
    let hosts: Vec<_> = (0..MANY)
        .map(|first| {
            std::thread::spawn(move || -> Result<()> {
                let mut host = Host::connect(server)?;
                for number in (first..HOSTS).step_by(MANY) {
                    let status = host.ask("pre-reboot", "narrow", &format!("{number:032x}"))?;
                    ensure!(status == 200 || status == 423, "host {number} got {status}");
                }
                Ok(())
            })
        })
        .collect();
    for host in hosts {
        let Ok(done) = host.join() else {
            bail!("a host panicked")
        };
        done?;
    }
    Ok(())
}

/// One connection.
struct Host(BufReader<TcpStream>);

impl Host {
    fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).context("cannot connect to the lock server")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The status of the answer.
    fn ask(&mut self, path: &str, group: &str, id: &str) -> Result<u16> {
        let body = format!(
            r#"{{"client_params":{{"id":"{id}","group":"{group}"}},"twinhull":{{"version":"1.0.0","target":"1.1.0","zone":"rack-1"}}}}"#
        );
        let request = format!(
            "POST /v1/{path} HTTP/1.1\r\nhost: lock\r\nfleet-lock-protocol: true\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut status = None;
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(
                self.0.read_line(&mut line)? > 0,
                "the lock server closed the connection"
            );
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse()?;
            }
        }
        let mut rest = vec![0; length];
        self.0.read_exact(&mut rest)?;
        status.context("the lock server answers something else than HTTP")
    }
}

/// A lock server; ended when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(program: &Path, folder: &Path, store: &str) -> Result<Self> {
        let config: PathBuf = folder.join("lock.toml");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nplain_http = true\n{store}[groups.wide]\nslots = 1000\n[groups.narrow]\nslots = 1\n"
        );
        std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let mut child = Command::new(program)
            .args(["serve", "--config"])
            .arg(&config)
            .env("TWINHULL_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
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
        Ok(Self { child, address })
    }

    fn peak_memory(&self) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        let kib: u64 = peak.context("no VmHWM in /proc")?.trim().parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One etcd member; ended when dropped.
struct Etcd {
    child: Child,
    url: String,
}

impl Etcd {
    fn start(folder: &Path) -> Result<Self> {
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
