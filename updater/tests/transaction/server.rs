//! An HTTP server for one test: a folder of static files, and a reboot lock that answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// The server. It ends with the test's process.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) base: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    folder: PathBuf,
    /// Answers to requests for the lock, each once; then granted.
    refusals: VecDeque<String>,
    /// Requests to the lock server so far.
    lock_requests: Vec<String>,
}

impl Server {
    pub(crate) fn new(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            base: format!("http://{}", listener.local_addr().unwrap()),
            shared: Arc::new(Mutex::new(Shared {
                folder: folder.to_owned(),
                ..Shared::default()
            })),
        };
        let shared = Arc::clone(&server.shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        server
    }

    /// The next request for the lock is refused with this value.
    pub(crate) fn refuse(&self, value: &str) {
        self.shared.lock().unwrap().refusals.push_back(value.to_owned());
    }

    pub(crate) fn lock_requests(&self) -> Vec<String> {
        self.shared.lock().unwrap().lock_requests.clone()
    }

    /// A configuration that uses this server for everything.
    pub(crate) fn configuration(&self, strategy: &str) -> String {
        format!(
            "[updates]\nrepository = \"{0}/\"\npoll_seconds = 1\nstrategy = \"{strategy}\"\n\
             [lock]\nurl = \"{0}/lock\"\nretry_seconds = 1\n",
            self.base
        )
    }
}

fn serve(mut stream: TcpStream, shared: &Mutex<Shared>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    if reader.read_line(&mut first).is_err() {
        return;
    }
    let (mut from, mut to, mut length) = (0, usize::MAX, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        let line = line.to_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            let (first, last) = range.trim().split_once('-').unwrap();
            from = first.parse().unwrap();
            to = last.parse().map_or(usize::MAX, |last: usize| last + 1);
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (status, answer) = match path.strip_prefix("/lock/v1/") {
        Some(request) => lock(request, &mut shared.lock().unwrap()),
        None => file(
            &shared.lock().unwrap().folder.join(path.trim_start_matches('/')),
            from..to,
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    // The client may have seen enough.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&answer));
}

fn file(path: &Path, range: Range<usize>) -> (&'static str, Vec<u8>) {
    match std::fs::read(path) {
        Ok(bytes) if range != (0..usize::MAX) => {
            let end = range.end.min(bytes.len());
            ("206 Partial Content", bytes[range.start.min(end)..end].to_vec())
        }
        Ok(bytes) => ("200 OK", bytes),
        Err(_) => ("404 Not Found", Vec::new()),
    }
}

fn lock(request: &str, shared: &mut Shared) -> (&'static str, Vec<u8>) {
    shared.lock_requests.push(request.to_owned());
    let refusal = if request == "pre-reboot" {
        shared.refusals.pop_front()
    } else {
        None
    };
    match refusal {
        Some(value) => (
            "423 Locked",
            serde_json::json!({"kind": "lock_held", "value": value})
                .to_string()
                .into_bytes(),
        ),
        None => ("200 OK", Vec::new()),
    }
}
