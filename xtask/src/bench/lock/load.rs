//! The hosts: as many as can be served at once, or a large fleet that asks once a minute.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How many hosts of the fleet are asking at the same time, at most.
const AT_ONCE: usize = 16;

/// What a load did.
pub(super) struct Loaded {
    took: Duration,
    pub(super) failed: usize,
    times: Vec<Duration>,
}

impl Loaded {
    /// Changes that were answered with 200: half of them grants, half releases.
    pub(super) fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let count = (self.times.len() - self.failed) as f64;
        count / self.took.as_secs_f64()
    }

    /// The 99th percentile of the time that an answer took, in milliseconds.
    pub(super) fn p99(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
        p99.as_secs_f64() * 1e3
    }
}

/// Each of `connections` is a host that takes and releases in turn for `duration`.
pub(super) fn in_turns(server: SocketAddr, connections: usize, duration: Duration) -> Result<Loaded> {
    let started = Instant::now();
    side_by_side(connections, move |number| {
        let mut host = Host::connect(server)?;
        let (mut failed, mut times) = (0, Vec::new());
        let id = format!("{number:032x}");
        while started.elapsed() < duration {
            for path in ["pre-reboot", "steady-state"] {
                let asked = Instant::now();
                failed += usize::from(host.ask(path, "wide", &id)? != 200);
                times.push(asked.elapsed());
            }
        }
        Ok((failed, times))
    })
}

/// Each of `hosts` asks once for the only slot of a group, on a connection of its own, at its own moment of `duration`.
pub(super) fn fleet(server: SocketAddr, hosts: usize, duration: Duration) -> Result<Loaded> {
    let started = Instant::now();
    side_by_side(AT_ONCE, move |first| {
        let (mut failed, mut times) = (0, Vec::new());
        for number in (first..hosts).step_by(AT_ONCE) {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let moment = duration.mul_f64(number as f64 / hosts as f64);
            std::thread::sleep(moment.saturating_sub(started.elapsed()));
            let asked = Instant::now();
            let status = Host::connect(server)?.ask("pre-reboot", "narrow", &format!("{number:032x}"))?;
            failed += usize::from(status != 200 && status != 423);
            times.push(asked.elapsed());
        }
        Ok((failed, times))
    })
}

/// Runs `host` with the numbers below `count`, each in a thread of its own.
fn side_by_side(
    count: usize,
    host: impl Fn(usize) -> Result<(usize, Vec<Duration>)> + Clone + Send + 'static,
) -> Result<Loaded> {
    let started = Instant::now();
    let hosts: Vec<_> = (0..count)
        .map(|number| {
            let host = host.clone();
            std::thread::spawn(move || host(number))
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
