//! A real server process, and real HTTP to it over plain sockets.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary compiles this file and uses its own part of it"
)]

pub mod etcd;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// Longer than anything here takes, so that a hang is a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_twinhull-lock");

/// Waits until `true_now` is.
pub fn eventually(mut true_now: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !true_now() {
        assert!(begun.elapsed() < PATIENCE, "never became true");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A running `twinhull-lock serve`; killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// What it printed about its administration, if anything.
    pub administration: Vec<String>,
}

impl Server {
    /// Starts one with the store in `folder` and further `arguments`.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_with(folder, arguments, &[])
    }

    /// Starts one with environment variables.
    pub fn start_with(folder: &Path, arguments: &[&str], environment: &[(&str, &Path)]) -> Self {
        let administration = arguments
            .iter()
            .filter(|argument| argument.starts_with("--admin-"))
            .count();
        let administration = administration
            - arguments
                .iter()
                .filter(|argument| **argument == "--admin-token-file")
                .count();
        let mut command = Command::new(PROGRAM);
        command
            .args(["serve", "--plain-http", "--listen", "127.0.0.1:0", "--store"])
            .arg(folder.join("lock.redb"))
            .args(arguments)
            .envs(environment.iter().copied());
        Self::spawn(&mut command, administration)
    }

    /// Starts one with a configuration file that has an administration of one socket.
    pub fn start_over(config: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(config);
        Self::spawn(&mut command, 1)
    }

    fn spawn(command: &mut Command, administration: usize) -> Self {
        let mut child = command
            .env("TWINHULL_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().expect("the server ended before it listened").unwrap();
        assert!(first.starts_with("listening on http"), "{first}");
        let address = first.rsplit_once("://").unwrap().1.parse().unwrap();
        let administration = (0..administration)
            .map(|_| {
                lines
                    .next()
                    .unwrap()
                    .unwrap()
                    .strip_prefix("administration on ")
                    .unwrap()
                    .to_owned()
            })
            .collect();
        Self {
            child,
            address,
            administration,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().unwrap()
    }

    /// Waits for the end without asking for it.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn connect(&self) -> Http {
        Http::connect(self.address).unwrap()
    }

    /// One FleetLock request on a connection of its own.
    pub fn fleet_lock(&self, endpoint: &str, group: &str, id: &str) -> Answer {
        self.connect().fleet_lock(endpoint, group, id).unwrap()
    }

    pub fn take(&self, group: &str, id: &str) -> Answer {
        self.fleet_lock("pre-reboot", group, id)
    }

    pub fn release(&self, group: &str, id: &str) -> Answer {
        self.fleet_lock("steady-state", group, id)
    }

    pub fn status(&self) -> serde_json::Value {
        let answer = self.connect().send("GET", "/v1/status", &[], b"").unwrap();
        assert_eq!(answer.status, 200);
        answer.json()
    }

    /// The ids that hold a slot of `group`.
    pub fn holders(&self, group: &str) -> Vec<String> {
        let status = self.status();
        let groups = status["groups"].as_array().unwrap();
        let Some(group) = groups.iter().find(|found| found["name"] == group) else {
            return Vec::new();
        };
        let holders = group["holders"].as_array().unwrap();
        holders
            .iter()
            .map(|holder| holder["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .env("USER", "alice")
        .env_remove("SUDO_USER")
        .output()
        .unwrap()
}

/// One HTTP/1.1 connection, as plain as can be.
pub struct Http {
    stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn kind(&self) -> String {
        self.json()["kind"].as_str().unwrap().to_owned()
    }

    pub fn value(&self) -> String {
        self.json()["value"].as_str().unwrap().to_owned()
    }
}

/// The body of a FleetLock request, laid out as its best-known client does.
pub fn body(group: &str, id: &str) -> Vec<u8> {
    let body = serde_json::json!({"client_params": {"id": id, "group": group}});
    serde_json::to_vec_pretty(&body).unwrap()
}

impl Http {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// A FleetLock request as the best-known client sends it: without a Content-Type.
    pub fn fleet_lock(&mut self, endpoint: &str, group: &str, id: &str) -> io::Result<Answer> {
        let header = ["fleet-lock-protocol: true"];
        self.send("POST", &format!("/v1/{endpoint}"), &header, &body(group, id))
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> io::Result<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: lock\r\ncontent-length: {}\r\n",
            body.len()
        );
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.write(&bytes)?;
        self.read_answer()
    }

    /// Bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub fn read_answer(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("closed after {head:?}"),
                ));
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line.to_ascii_lowercase());
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, head, body })
    }

    /// Reads until the server closes; what came before that.
    pub fn read_to_close(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(rest),
            Err(error) => Err(error),
            Ok(_) => Ok(rest),
        }
    }
}

/// A token file in `folder`, and the token.
pub fn token_file(folder: &Path) -> (PathBuf, &'static str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("token");
    std::fs::write(&path, "0123456789abcdef0123\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    (path, "0123456789abcdef0123")
}
