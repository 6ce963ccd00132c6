//! What a look at the repository costs in bytes, requests and processor time. A measurement and no test: `cargo xtask bench trust`
//! runs it and reads the line it prints. The server is nginx as it is installed, so that its answers are real ones.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use twinhull_rollout::{Load, preset, simulate};
use twinhull_trust::{Client, Fetcher, SystemClock};
use twinhull_updater::config;
use twinhull_updater::http::{Http, HttpRepository};

use crate::world::{ARCH, Signed, folder as folder_of, images, product, release, version};

/// nginx on a folder.
struct Nginx {
    process: Child,
    port: u16,
}

impl Nginx {
    fn start(home: &Path, site: &Path) -> Self {
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (home, site) = (home.display(), site.display());
        let text = format!(
            "pid {home}/pid;\ndaemon off;\nmaster_process off;\nerror_log {home}/error;\nevents {{}}\n\
             http {{ access_log {home}/access; client_body_temp_path {home}/a; proxy_temp_path {home}/b;\n\
             fastcgi_temp_path {home}/c; uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;\n\
             server {{ listen 127.0.0.1:{port}; root {site}; }} }}\n"
        );
        fs::write(format!("{home}/conf"), text).unwrap();
        let process = Command::new("nginx")
            .args(["-c", &format!("{home}/conf"), "-e", &format!("{home}/error")])
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx is needed for this: {error}"));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "nginx does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        Self { process, port }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Hands everything on to `port`, and counts the bytes of both ways.
fn counted(port: u16, bytes: &Arc<AtomicU64>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let bytes = Arc::clone(bytes);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            for (from, to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                let bytes = Arc::clone(&bytes);
                thread::spawn(move || pump(from, to, &bytes));
            }
        }
    });
    own
}

fn pump(mut from: TcpStream, mut to: TcpStream, bytes: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        bytes.fetch_add(count as u64, Ordering::SeqCst);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// All that a host verifies before it installs: metadata, channel, release.
fn look(home: &Path, root: &[u8], repository: &mut dyn Fetcher) {
    let mut client = Client::open(home, root).unwrap();
    client.refresh(repository, &SystemClock).unwrap();
    let channel = client.channel(repository, &SystemClock, &product(), "stable").unwrap();
    let offered = &channel.releases[&ARCH];
    client
        .release(repository, &SystemClock, &product(), ARCH, offered)
        .unwrap();
}

/// Hosts that verify everything: enough for a clock that counts hundredths of a second.
const HOSTS: u64 = 500;

/// Processor time of this thread in hundredths of a second (`proc_pid_stat(5)`, fields 14 and 15).
fn cpu_hundredths() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[ignore = "a measurement: `cargo xtask bench trust`"]
fn figures() {
    let images = images();
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let signed = Signed::new(folder.path());
    let (document, files) = release(&images[1], None);
    signed.publish(&document, &files);
    let root = signed.root();

    // Verification alone: a host that has never been here, with a repository in memory.
    let mut memory = folder_of(&signed.folder);
    let before = cpu_hundredths();
    for number in 0..HOSTS {
        look(&folder.path().join(format!("host-{number}")), &root, &mut memory);
    }
    let verify_cpu_ns = (cpu_hundredths() - before) * 10_000_000 / HOSTS;

    let server = Nginx::start(folder.path(), &signed.folder);
    let bytes = Arc::new(AtomicU64::new(0));
    let port = counted(server.port, &bytes);
    let requests = || {
        let log = fs::read_to_string(folder.path().join("access")).unwrap_or_default();
        log.lines().filter(|line| line.contains("GET ")).count()
    };
    let costs = |first: bool| {
        let (bytes_before, requests_before) = (bytes.load(Ordering::SeqCst), requests());
        let (home, root) = (folder.path().join("polling"), root.clone());
        twinhull_updater::runtime::blocking(move |runtime| {
            let http = Http::for_downloads(runtime, &config::Http::default()).unwrap();
            let base = format!("http://127.0.0.1:{port}/").parse().unwrap();
            let mut repository = HttpRepository::new(http, base);
            if first {
                look(&home, &root, &mut repository);
            } else {
                let mut client = Client::open(&home, &root).unwrap();
                client.refresh(&mut repository, &SystemClock).unwrap();
                client
                    .channel(&mut repository, &SystemClock, &product(), "stable")
                    .unwrap();
            }
        })
        .unwrap();
        // The log is written after the answer.
        thread::sleep(Duration::from_millis(200));
        (
            bytes.load(Ordering::SeqCst) - bytes_before,
            requests() - requests_before,
        )
    };
    let (first_bytes, first_requests) = costs(true);
    let (idle_bytes, idle_requests) = costs(false);

    let load = Load {
        hosts: 1_000_000,
        poll_seconds: 3600,
        poll_bytes: u32::try_from(idle_bytes).unwrap(),
        poll_requests: u32::try_from(idle_requests).unwrap(),
        update_bytes: 10_000_000,
        update_requests: 7,
        host_rate: 10_000_000,
        seed: 1,
    };
    let mut walls: Vec<Duration> = (0..3)
        .map(|_| {
            let begun = Instant::now();
            let made = simulate(&preset("default").unwrap(), &version("2"), &version("1"), &load);
            assert_eq!(made.arrivals.iter().sum::<u64>(), 1_000_000);
            begun.elapsed()
        })
        .collect();
    walls.sort_unstable();
    let figures = serde_json::json!({
        "first_bytes": first_bytes,
        "first_requests": first_requests,
        "idle_bytes": idle_bytes,
        "idle_requests": idle_requests,
        "verify_cpu_ns": verify_cpu_ns,
        "simulate_wall_ms": u64::try_from(walls[1].as_millis()).unwrap(),
    });
    println!("polling {figures}");
}
