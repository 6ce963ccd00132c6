//! The app that scenarios run in containers: a server that says one text, and a client that asks servers.
//!
//! It is one static program, and all that its container image has in it.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The longest head of a request that is read, in bytes.
const HEAD: usize = 8 << 10;

/// The longest answer that is read, in bytes.
const ANSWER: u64 = 1 << 20;

/// How long the other side may be silent.
const SILENCE: Duration = Duration::from_secs(30);

const USAGE: &str = "usage: app say TEXT | app serve ADDRESS:PORT TEXT | app ask http://ADDRESS:PORT/PATH";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["say", text] => say(text),
        ["serve", address, text] => serve(address, text),
        ["ask", url] => ask(url),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("app: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// Answers every request with `text`, each connection in a thread of its own, for ever.
fn serve(address: &str, text: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).map_err(|error| told(&error, &format!("cannot listen on {address}")))?;
    say(text)?;
    for stream in listener.incoming() {
        let text = text.to_owned();
        // Who asks is told by a closed connection; the next one is not concerned.
        drop(stream.map(|stream| thread::spawn(move || answer(stream, &text))));
    }
    Ok(())
}

fn answer(mut stream: TcpStream, text: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut part)?;
        if read == 0 || head.len() > HEAD {
            return Ok(());
        }
        head.extend_from_slice(&part[..read]);
    }
    let length = text.len() + 1;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}\n"
    )
}

/// Prints what a server answers; a status of 400 or more is an error.
fn ask(url: &str) -> io::Result<()> {
    let wrong = |text: &str| io::Error::other(format!("{url}: {text}"));
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| wrong("is no http:// address"))?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(address).map_err(|error| told(&error, url))?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {address}\r\n\r\n").map_err(|error| told(&error, url))?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER)
        .read_to_end(&mut answer)
        .map_err(|error| told(&error, url))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| wrong("does not answer in HTTP"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    match status {
        Some(..400) => io::stdout().write_all(body.as_bytes()),
        _ => Err(wrong(head.lines().next().unwrap_or_default())),
    }
}

fn told(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_who_asks_is_answered_with_the_text() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || answer(listener.accept().unwrap().0, "ahoy"));
        let mut stream = TcpStream::connect(address).unwrap();
        // In two parts, as a network may bring it.
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        stream.write_all(b"Host: x\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        server.join().unwrap().unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\nahoy\n"),
            "{text}"
        );
    }

    #[test]
    fn an_answer_that_refuses_is_an_error() {
        for (status, good) in [("200 OK", true), ("303 See Other", true), ("503 No", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/x", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut text, mut byte) = (String::new(), [0]);
                // What is left unread would make the other side's connection fail.
                while !text.ends_with("\r\n\r\n") {
                    stream.read_exact(&mut byte).unwrap();
                    text.push(char::from(byte[0]));
                }
                write!(stream, "HTTP/1.0 {status}\r\n\r\n").unwrap();
                text
            });
            assert_eq!(ask(&url).is_ok(), good, "{status}");
            assert!(server.join().unwrap().starts_with("GET /x HTTP/1.0\r\n"));
        }
    }
}
