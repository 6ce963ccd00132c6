//! Clients that send garbage, too much, too slowly, or come in crowds: bounded, and others are still served.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{Http, Server, body, eventually};

/// The crowd of the test of that name.
const CROWD: usize = 10_000;

/// The memory that the service's unit allows, in bytes.
const MEMORY_MAX: u64 = 256 * 1024 * 1024;

/// A server with short time-outs and few connections.
fn strict(folder: &tempfile::TempDir, connections: usize) -> Server {
    let config: PathBuf = folder.path().join("lock.toml");
    let text = format!(
        "[groups.default]\nslots = 1\n[limits]\nconnections = {connections}\nheader_seconds = 1\nbody_seconds = 1\n"
    );
    std::fs::write(&config, text).unwrap();
    Server::start(folder.path(), &["--config", config.to_str().unwrap()])
}

fn still_serves(server: &Server) {
    assert_eq!(server.take("default", "honest").status, 200);
    assert_eq!(server.release("default", "honest").status, 200);
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let folder = tempfile::tempdir().unwrap();
    let server = strict(&folder, 64);
    let garbage: [&[u8]; 8] = [
        b"\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"POST /v1/pre-reboot HTTP/9.9\r\n\r\n",
        b"POST /v1/pre-reboot HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/pre-reboot HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/pre-reboot HTTP/1.1\r\nfleet-lock-protocol : true\r\n\r\n",
    ];
    for bytes in garbage {
        let mut http = server.connect();
        http.write(bytes).unwrap();
        let answer = String::from_utf8_lossy(&http.read_to_close().unwrap()).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{bytes:?}: {answer}"
        );
    }
    still_serves(&server);
}

#[test]
fn two_ways_of_saying_the_length_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = strict(&folder, 64);
    let mut http = server.connect();
    http.write(
        b"POST /v1/pre-reboot HTTP/1.1\r\nhost: lock\r\nfleet-lock-protocol: true\r\ncontent-length: 4\r\n\
          transfer-encoding: chunked\r\n\r\n0\r\n\r\nPOST /v1/pre-reboot HTTP/1.1\r\n",
    )
    .unwrap();
    // Whatever the first is taken for, the second must not be smuggled in as a request that is answered.
    let answers = String::from_utf8_lossy(&http.read_to_close().unwrap()).into_owned();
    assert!(answers.matches("HTTP/1.1 ").count() <= 1, "{answers}");
    assert!(!answers.contains("HTTP/1.1 200"), "{answers}");
}

#[test]
fn huge_bodies_are_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let server = strict(&folder, 64);
    let mut http = server.connect();
    let head = "POST /v1/pre-reboot HTTP/1.1\r\nhost: lock\r\nfleet-lock-protocol: true\r\n";
    http.write(format!("{head}content-length: 1000000000000\r\n\r\n{{").as_bytes())
        .unwrap();
    // A body of a declared length is refused by its length; one in chunks when it has grown too long.
    let declared = http.read_answer().unwrap();
    assert_eq!((declared.status, declared.kind().as_str()), (413, "body_too_large"));

    let mut http = server.connect();
    http.write(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes())
        .unwrap();
    let chunk = [&b"1000\r\n"[..], &[b' '; 0x1000], b"\r\n"].concat();
    let mut sent = 0;
    // The system's own buffers take a few MiB before the sender notices.
    while sent < 16 * 1024 && http.write(&chunk).is_ok() {
        sent += 1;
    }
    assert!(sent < 16 * 1024, "the server read 64 MiB");
    still_serves(&server);
}

#[test]
fn huge_heads_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = strict(&folder, 64);
    let long = format!("x: {}", "y".repeat(100_000));
    let many: Vec<_> = (0..1000).map(|n| format!("x-{n}: y")).collect();
    let path = format!("/v1/{}", "z".repeat(100_000));
    let attempts: [(&str, Vec<&str>); 3] = [
        ("/v1/status", vec![&long]),
        ("/v1/status", many.iter().map(String::as_str).collect()),
        (&path, vec![]),
    ];
    for (path, headers) in attempts {
        // Refused with a status, or cut off in the middle of sending.
        if let Ok(answer) = server.connect().send("GET", path, &headers, b"") {
            assert!(matches!(answer.status, 400 | 414 | 431), "{}", answer.status);
        }
    }
    still_serves(&server);
}

#[test]
fn slow_heads_and_bodies_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = strict(&folder, 64);
    let drip = |start: &[u8]| {
        let mut http = server.connect();
        http.write(start).unwrap();
        let begun = Instant::now();
        // A byte now and then, as slow attackers do, so that an idle time-out alone would never fire.
        while http.write(b"a").is_ok() {
            assert!(begun.elapsed() < support::PATIENCE, "never cut off");
            std::thread::sleep(Duration::from_millis(100));
        }
        begun.elapsed()
    };
    let head = drip(b"POST /v1/pre-reboot HTTP/1.1\r\nx: ");
    let body = drip(b"POST /v1/pre-reboot HTTP/1.1\r\nfleet-lock-protocol: true\r\ncontent-length: 9999\r\n\r\n");
    for elapsed in [head, body] {
        assert!(
            elapsed >= Duration::from_millis(900) && elapsed < Duration::from_secs(10),
            "{elapsed:?}"
        );
    }
    still_serves(&server);
}

#[test]
fn slow_body_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = strict(&folder, 64);
    let mut http = server.connect();
    http.write(b"POST /v1/pre-reboot HTTP/1.1\r\nfleet-lock-protocol: true\r\ncontent-length: 99\r\n\r\n{")
        .unwrap();
    let answer = http.read_answer().unwrap();
    assert_eq!((answer.status, answer.kind().as_str()), (408, "timeout"));
    assert!(http.read_to_close().unwrap().is_empty());
}

#[test]
fn idle_connection_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let server = strict(&folder, 64);
    let mut http = server.connect();
    assert_eq!(http.fleet_lock("pre-reboot", "default", "a").unwrap().status, 200);
    assert!(http.read_to_close().unwrap().is_empty());
    let mut silent = server.connect();
    assert!(silent.read_to_close().unwrap().is_empty());
}

#[test]
fn crowd_of_silent_connections_keeps_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = strict(&folder, 20);
    let mut crowd = Vec::new();
    for n in 0..200 {
        let stream = TcpStream::connect(server.address).unwrap();
        let mut http = Http::connect(server.address).unwrap();
        // Half of them silent, half with half a request.
        let _ = http.write(b"POST /v1/pre-reboot HTTP/1.1\r\nfleet-lock-protocol: true\r\ncontent-length: 80\r\n\r\n{");
        crowd.push((stream, http));
        if n % 20 == 0 {
            assert_eq!(server.take("default", "honest").status, 200);
        }
    }
    still_serves(&server);
}

#[test]
fn ten_thousand_open_connections_are_served_around_in_bounded_memory() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config: PathBuf = folder.path().join("lock.toml");
    // Nobody is cut off for being slow while the crowd gathers.
    let text = format!(
        "[groups.default]\nslots = 1\n[limits]\nconnections = {CROWD}\nheader_seconds = 600\nbody_seconds = 600\n"
    );
    std::fs::write(&config, text).unwrap();
    let server = Server::start(folder.path(), &["--config", config.to_str().unwrap()]);
    // Silent ones, a head as long as is allowed but for its end, and a head with half a body.
    let filler = "x".repeat(15_000);
    let half_head = format!("POST /v1/pre-reboot HTTP/1.1\r\nx: {filler}");
    let half_body = "POST /v1/pre-reboot HTTP/1.1\r\nfleet-lock-protocol: true\r\ncontent-length: 9999\r\n\r\n{";
    let crowd: Vec<_> = (0..CROWD)
        .map(|number| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            let start = ["", &half_head, half_body][number % 3];
            stream.write_all(start.as_bytes()).unwrap();
            stream
        })
        .collect();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    eventually(|| open() > CROWD);
    still_serves(&server);
    assert!(open() > CROWD - 10, "{} files are open", open());
    let peak = server.peak_memory();
    assert!(peak < MEMORY_MAX, "{peak} bytes of memory");
    drop(crowd);
    eventually(|| open() < 100);
    still_serves(&server);
}

#[test]
fn half_closed_client_still_gets_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = strict(&folder, 20);
    let stream = TcpStream::connect(server.address).unwrap();
    let body = body("default", "a");
    let head = format!(
        "POST /v1/pre-reboot HTTP/1.1\r\nfleet-lock-protocol: true\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    std::io::Write::write_all(&mut &stream, &[head.as_bytes(), &body].concat()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut &stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
