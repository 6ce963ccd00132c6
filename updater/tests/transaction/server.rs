//! An HTTP server for one test: a folder of static files, and a reboot lock that answers as it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// Where files have moved to.
const MOVED: &str = "/moved";

/// The server. It ends with the test's process.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) base: String,
    shared: Arc<Mutex<Shared>>,
}

/// How the server is today.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Every answer is 500.
    Fails,
    /// Every second answer for a path is 500, the first of them; by path, since requests that are under way together come in any order.
    FlipFlop,
    /// Every answer is a redirect to itself.
    Circle,
    /// Takes the request and hangs up.
    Closes,
    /// Hangs up in the middle of every answer.
    BreaksOff,
    /// Every file has moved to another place on the same server.
    Moved,
}

/// How the lock server is today.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Lock {
    #[default]
    Grants,
    /// Writes the holder down, and hangs up before it says so.
    DiesAfterGranting,
}

#[derive(Default)]
struct Shared {
    folder: PathBuf,
    mood: Mood,
    /// How often each path was asked for.
    answers: BTreeMap<String, usize>,
    lock: Lock,
    /// Who holds the lock, by id.
    holders: BTreeSet<String>,
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

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.shared.lock().unwrap().mood = mood;
    }

    pub(crate) fn set_lock(&self, lock: Lock) {
        self.shared.lock().unwrap().lock = lock;
    }

    pub(crate) fn holders(&self) -> BTreeSet<String> {
        self.shared.lock().unwrap().holders.clone()
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
    let mut mood = Mood::Well;
    let (status, mut answer) = {
        let mut shared = shared.lock().unwrap();
        if let Some(request) = path.strip_prefix("/lock/v1/") {
            let answer = lock(request, &body, &mut shared);
            if shared.lock == Lock::DiesAfterGranting {
                return;
            }
            answer
        } else {
            let asked = shared.answers.entry(path.clone()).or_default();
            *asked += 1;
            let asked = *asked;
            mood = shared.mood;
            if mood == Mood::FlipFlop {
                mood = [Mood::Well, Mood::Fails][asked % 2];
            }
            let path = path.strip_prefix(MOVED).unwrap_or(&path);
            file(&shared.folder.join(path.trim_start_matches('/')), from..to)
        }
    };
    let status = match mood {
        Mood::Fails => "500 Internal Server Error".to_owned(),
        Mood::Circle => format!("302 Found\r\nLocation: {path}"),
        Mood::Moved if !path.starts_with(MOVED) => format!("302 Found\r\nLocation: {MOVED}{path}"),
        Mood::Closes => return,
        _ => status.to_owned(),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    if mood == Mood::BreaksOff {
        answer.truncate(answer.len() / 2);
    }
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

fn lock(request: &str, body: &[u8], shared: &mut Shared) -> (&'static str, Vec<u8>) {
    shared.lock_requests.push(request.to_owned());
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let id = body["client_params"]["id"].as_str().unwrap().to_owned();
    let refusal = if request == "pre-reboot" {
        shared.refusals.pop_front()
    } else {
        None
    };
    if let Some(value) = refusal {
        let answer = serde_json::json!({"kind": "lock_held", "value": value});
        return ("423 Locked", answer.to_string().into_bytes());
    }
    if request == "pre-reboot" {
        shared.holders.insert(id);
    } else {
        shared.holders.remove(&id);
    }
    ("200 OK", Vec::new())
}
