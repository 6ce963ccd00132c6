//! Payloads from a real server in every shape that one can have: nginx with ranges and without, behind a redirect, as a proxy, and
//! over HTTP/2.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use twinhull_payload::{Applier, ApplyError, Header, Made, MakeOptions, make};
use twinhull_updater::config;
use twinhull_updater::http::{Http, HttpRepository};
use twinhull_updater::install::Repository;

const PAYLOAD: &str = "payload.thp";

/// An nginx on loopback that serves one folder, in several ways; it ends with the test.
struct Nginx {
    process: Child,
    folder: TempDir,
    ports: [u16; 5],
}

/// Which of its ports does what.
const RANGES: usize = 0;
const NO_RANGES: usize = 1;
const REDIRECT: usize = 2;
const PROXY: usize = 3;
const HTTP2: usize = 4;

impl Nginx {
    fn start(content: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("site")).unwrap();
        fs::write(path.join("site").join(PAYLOAD), content).unwrap();
        let held = [(); 5].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = held.each_ref().map(|socket| socket.local_addr().unwrap().port());
        drop(held);
        fs::write(path.join("nginx.conf"), settings(path, ports)).unwrap();
        let process = Command::new("nginx")
            .arg("-p")
            .arg(path)
            .args(["-e", "error.log", "-c"])
            .arg(path.join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut nginx = Self { process, folder, ports };
        while TcpStream::connect(("127.0.0.1", ports[HTTP2])).is_err() {
            let log = fs::read_to_string(nginx.folder.path().join("error.log"));
            assert!(nginx.process.try_wait().unwrap().is_none(), "nginx ended: {log:?}");
            thread::sleep(Duration::from_millis(10));
        }
        nginx
    }

    fn url(&self, which: usize) -> String {
        let scheme = if which == HTTP2 { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/", self.ports[which])
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("access.log")).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Certificates and keys of the tests.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/http/fixtures")
        .join(name)
}

fn settings(folder: &Path, ports: [u16; 5]) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};"))
        .concat();
    let [ranges, no_ranges, redirect, proxy, http2] = ports;
    let (certificate, key) = (fixture("server.pem"), fixture("server.key"));
    let (certificate, key) = (certificate.display(), key.display());
    format!(
        "daemon off; master_process off; pid {folder}/pid;
         events {{}}
         http {{
             {temporary}
             log_format short '$server_port $server_protocol $status $http_range';
             access_log {folder}/access.log short;
             root {folder}/site;
             server {{ listen 127.0.0.1:{ranges}; }}
             server {{ listen 127.0.0.1:{no_ranges}; max_ranges 0; }}
             server {{ listen 127.0.0.1:{redirect}; return 302 http://127.0.0.1:{ranges}$uri; }}
             server {{ listen 127.0.0.1:{proxy}; location / {{ proxy_pass http://127.0.0.1:{ranges}; }} }}
             server {{
                 listen 127.0.0.1:{http2} ssl http2;
                 ssl_certificate {certificate}; ssl_certificate_key {key};
             }}
         }}"
    )
}

/// Bytes that compress a little.
fn image() -> Vec<u8> {
    let mut state = 1_u64;
    let word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let [first, second, ..] = state.to_be_bytes();
        [first, 0, second]
    };
    std::iter::repeat_with(word).flatten().take(9_000_000).collect()
}

/// Fetches the header, loses the connection within a blob, and goes on from there.
fn applied_in_two(repository: &mut dyn Repository, made: &Made, target: &fs::File) {
    let mut part = repository.open_part(PAYLOAD, 0, made.header_size).unwrap();
    let header = Header::read(&mut part, &made.header_sha256, made.header_size).unwrap();
    drop(part);
    let mut applier = Applier::new(&header, None, target).unwrap();
    let position = applier.position();
    let mut cut = repository.open(PAYLOAD, position).unwrap().take(made.size / 2);
    let error = applier.apply(&mut cut, &mut |_| Ok(())).unwrap_err();
    assert!(matches!(error, ApplyError::Truncated { .. }), "{error}");
    drop(cut);
    let position = applier.position();
    assert_eq!(position, made.header_size + made.size / 2, "what was read is kept");
    let mut rest = repository.open(PAYLOAD, position).unwrap();
    applier.apply(&mut rest, &mut |_| Ok(())).unwrap();
}

#[test]
fn payload_arrives_whatever_the_server_can_do() {
    let new = image();
    let options = MakeOptions {
        level: 1,
        threads: 1,
        ..MakeOptions::default()
    };
    let mut payload = Vec::new();
    let made = make(&new, None, &options, &mut payload, &mut |_, _| ()).unwrap();
    let nginx = Nginx::start(&payload);
    let plain = config::Http::default;
    let cases = [
        (nginx.url(RANGES), plain()),
        (nginx.url(NO_RANGES), plain()),
        (nginx.url(REDIRECT), plain()),
        (
            "http://repository.invalid/".to_owned(),
            config::Http {
                proxy: Some(nginx.url(PROXY).parse().unwrap()),
                ..plain()
            },
        ),
        (
            nginx.url(HTTP2),
            config::Http {
                ca: Some(fixture("authority.pem")),
                ..plain()
            },
        ),
    ];
    for (url, settings) in cases {
        let path = nginx.folder.path().join("target");
        let target = fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        let base = url.parse().unwrap();
        twinhull_updater::runtime::blocking(move |runtime| {
            let mut repository = HttpRepository::new(Http::for_downloads(runtime, &settings).unwrap(), base);
            applied_in_two(&mut repository, &made, &target);
            // The end of the file, and what is not there.
            let mut last = Vec::new();
            let mut part = repository.open_part(PAYLOAD, made.size - 10, 10).unwrap();
            part.read_to_end(&mut last).unwrap();
            assert_eq!(last.len(), 10);
            drop(part);
            assert!(repository.open("absent", 0).is_err());
            Ok::<_, io::Error>(())
        })
        .unwrap()
        .unwrap();
        assert!(fs::read(path).unwrap() == new, "{url}");
    }
    let log = nginx.log();
    let seen = |which: usize, protocol: &str, status: u16| {
        let line = format!("{} {protocol} {status}", nginx.ports[which]);
        assert!(log.lines().any(|entry| entry.starts_with(&line)), "no {line} in\n{log}");
    };
    seen(RANGES, "HTTP/1.1", 206);
    seen(NO_RANGES, "HTTP/1.1", 200);
    seen(REDIRECT, "HTTP/1.1", 302);
    seen(PROXY, "HTTP/1.1", 206);
    seen(HTTP2, "HTTP/2.0", 206);
}
