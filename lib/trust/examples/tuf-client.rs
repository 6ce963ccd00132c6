//! The library as a client under test for the conformance suite of The Update Framework (its CLIENT-CLI document): `init`,
//! `refresh` and `download` against any repository.
//!
//!     tuf-client --metadata-dir DIR init ROOT
//!     tuf-client --metadata-dir DIR --metadata-url URL refresh
//!     tuf-client --metadata-dir DIR --metadata-url URL --target-name NAME --target-base-url URL --target-dir DIR download
//!
//! Options and words in any order. Exit status 0, or 1 with a line that says why. The time is the system's, so `faketime` sets
//! another. In `--metadata-dir` are the files that are trusted, as `ROLE.json`, and a hidden folder with what the library keeps;
//! an artefact is in `--target-dir` under the sha256 of its name.
//!
//! Plain HTTP over a socket, for a server on the same machine: the library has no network code, and this needs no more.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use sha2::{Digest, Sha256};
use twinhull_trust::{Client, FetchError, Fetcher, SystemClock};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Where the library keeps its own state, below the metadata folder of the suite.
const STATE: &str = ".twinhull/state";

/// The root that the client was set up with, below the same.
const SHIPPED: &str = ".twinhull/root.json";

/// The longest artefact taken, in bytes.
const MAX_TARGET: u64 = 64 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tuf-client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let (mut options, mut words) = (HashMap::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--") {
            Some(name) => drop(options.insert(name.to_owned(), arguments.next().ok_or("an option has no value")?)),
            None => words.push(argument),
        }
    }
    let option = |name: &str| options.get(name).ok_or(format!("--{name} is missing"));
    let metadata = PathBuf::from(option("metadata-dir")?);
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["init", root] => {
            fs::create_dir_all(metadata.join(STATE))?;
            fs::copy(root, metadata.join(SHIPPED))?;
            fs::copy(root, metadata.join("root.json"))?;
            Ok(())
        }
        ["refresh"] => {
            let mut client = open(&metadata)?;
            let refreshed = client.refresh(&mut Http::new(option("metadata-url")?, ""), &SystemClock);
            publish(&metadata)?;
            Ok(refreshed.map(drop)?)
        }
        ["download"] => {
            let mut client = open(&metadata)?;
            let mut http = Http::new(option("metadata-url")?, option("target-base-url")?);
            let refreshed = client.refresh(&mut http, &SystemClock);
            publish(&metadata)?;
            refreshed?;
            let name = option("target-name")?;
            let target = client.find(&mut http, &SystemClock, name)?;
            publish(&metadata)?;
            let target = target.ok_or(format!("there is no signed target `{name}`"))?;
            let folder = Path::new(option("target-dir")?);
            let destination = folder.join(hex::encode(Sha256::digest(name)));
            if fs::read(&destination).is_ok_and(|there| target.check(&there).is_ok()) {
                return Ok(());
            }
            Ok(client.download(&mut http, &target, MAX_TARGET, &destination)?)
        }
        _ => Err("use init, refresh or download".into()),
    }
}

fn open(metadata: &Path) -> Result<Client> {
    let shipped = fs::read(metadata.join(SHIPPED))?;
    Ok(Client::open(&metadata.join(STATE), &shipped)?)
}

/// Shows the suite what is trusted, under the names it looks for.
fn publish(metadata: &Path) -> Result<()> {
    let state = metadata.join(STATE);
    let mut version = 0;
    for entry in fs::read_dir(state.join("roots"))? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|number| *number > version) {
            version = number;
            fs::copy(&path, metadata.join("root.json"))?;
        }
    }
    for name in ["timestamp.json", "snapshot.json", "targets.json"] {
        if state.join(name).exists() {
            fs::copy(state.join(name), metadata.join(name))?;
        }
    }
    for entry in fs::read_dir(state.join("delegated"))? {
        let path = entry?.path();
        fs::copy(&path, metadata.join(path.file_name().ok_or("a file has no name")?))?;
    }
    Ok(())
}

struct Http {
    metadata: String,
    targets: String,
}

impl Http {
    fn new(metadata: &str, targets: &str) -> Self {
        let base = |url: &str| url.trim_end_matches('/').to_owned();
        Self {
            metadata: base(metadata),
            targets: base(targets),
        }
    }

    fn url(&self, path: &str) -> Option<String> {
        let metadata = path
            .strip_prefix("metadata/")
            .map(|rest| format!("{}/{rest}", self.metadata));
        metadata.or_else(|| {
            path.strip_prefix("targets/")
                .map(|rest| format!("{}/{rest}", self.targets))
        })
    }
}

impl Fetcher for Http {
    fn fetch(&mut self, path: &str, _max: u64) -> std::result::Result<Box<dyn Read + '_>, FetchError> {
        let url = self.url(path).ok_or(FetchError::NotFound)?;
        let (status, body) = get(&url).map_err(|error| FetchError::Other(error.to_string()))?;
        match status {
            200 => Ok(body),
            403 | 404 => Err(FetchError::NotFound),
            other => Err(FetchError::Other(format!("the server answered {other}"))),
        }
    }
}

/// One request, one connection.
fn get(url: &str) -> Result<(u16, Box<dyn Read>)> {
    let rest = url.strip_prefix("http://").ok_or("only http:// is known here")?;
    let (host, path) = rest.split_once('/').ok_or("the address has no path")?;
    let address = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET /{path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.by_ref().take(8192).read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or("no HTTP answer")?;
    let mut length = None;
    loop {
        line.clear();
        if reader.by_ref().take(8192).read_line(&mut line)? <= 2 {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    Ok((
        status,
        match length {
            Some(length) => Box::new(reader.take(length)),
            None => Box::new(reader),
        },
    ))
}
