//! Downloads from a server of a few lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;

/// Answers the first request with these bytes, and closes.
fn answering(answer: &[u8]) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    let answer = answer.to_vec();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        // The client may hang up when it has seen enough.
        let _ = stream.write_all(&answer);
    });
    url.parse().unwrap()
}

fn get(answer: &'static [u8], from: u64) -> Result<Result<Vec<u8>, std::io::ErrorKind>, HttpError> {
    crate::runtime::blocking(move |runtime| {
        let mut body = Http::for_downloads(runtime)?.get(&answering(answer), from)?;
        let mut bytes = Vec::new();
        Ok(body
            .read_to_end(&mut bytes)
            .map(|_| bytes)
            .map_err(|error| error.kind()))
    })
    .unwrap()
}

#[test]
fn server_without_ranges_still_serves_the_rest() {
    let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef";
    assert_eq!(get(whole, 0).unwrap().unwrap(), b"abcdef");
    assert_eq!(get(whole, 4).unwrap().unwrap(), b"ef");
    assert!(matches!(get(whole, 7), Err(HttpError::Network { .. })));
    let part = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nef";
    assert_eq!(get(part, 4).unwrap().unwrap(), b"ef");
}

#[test]
fn missing_file_and_failing_server_are_told_apart() {
    let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(get(missing, 0), Err(HttpError::NotFound { .. })));
    let failing = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(get(failing, 0), Err(HttpError::Status { .. })));
    let unasked = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(get(unasked, 0), Err(HttpError::Status { .. })));
}

#[test]
fn body_that_ends_early_is_an_error_and_not_an_end() {
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc";
    assert!(get(short, 0).unwrap().is_err());
}

#[test]
fn redirects_in_a_circle_end() {
    // Every request goes to the same place, which answers only once.
    let circle = b"HTTP/1.1 302 Found\r\nLocation: /file\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert!(matches!(get(circle, 0), Err(HttpError::Network { .. })));
}
