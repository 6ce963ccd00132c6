//! Downloads from a server of a few lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::*;

/// A server that reads the first request, answers it as `answer` does, and closes.
fn serving(answer: impl FnOnce(&mut TcpStream) + Send + 'static) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        answer(&mut stream);
    });
    url.parse().unwrap()
}

/// Answers the first request with these bytes, and closes.
fn answering(answer: &[u8]) -> Url {
    let answer = answer.to_vec();
    // The client may hang up when it has seen enough.
    serving(move |stream| _ = stream.write_all(&answer))
}

fn get(answer: &'static [u8], from: u64) -> Result<Result<Vec<u8>, std::io::ErrorKind>, HttpError> {
    crate::runtime::blocking(move |runtime| {
        let http = Http::for_downloads(runtime, &crate::config::Http::default())?;
        let mut body = http.get(&answering(answer), from, None)?;
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
    assert!(matches!(get(unasked, 0), Err(HttpError::Network { .. })));
    let another = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 3-5/6\r\nContent-Length: 3\r\n\r\ndef";
    assert!(matches!(get(another, 4), Err(HttpError::Network { .. })));
    assert_eq!(get(another, 3).unwrap().unwrap(), b"def");
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

#[test]
fn server_that_drips_is_given_up() {
    let url = serving(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        // A hundredth of what is asked of it, until the client has had enough.
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let error = crate::runtime::blocking(move |runtime| {
        let mut http = Http::for_downloads(runtime, &crate::config::Http::default()).unwrap();
        http.window = Duration::from_millis(400);
        let mut body = http.get(&url, 0, None).unwrap();
        body.read_to_end(&mut Vec::new()).unwrap_err()
    })
    .unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(error.to_string().contains("less than 1024 bytes a second"), "{error}");
}

#[test]
fn password_of_an_address_is_in_no_error() {
    let mut url = answering(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
    url.set_username("host").unwrap();
    url.set_password(Some("secret")).unwrap();
    let mut nobody = url.clone();
    nobody.set_port(Some(1)).unwrap();
    for url in [url, nobody] {
        let error = crate::runtime::blocking(move |runtime| {
            let http = Http::for_downloads(runtime, &crate::config::Http::default()).unwrap();
            http.get(&url, 0, None).unwrap_err().to_string()
        })
        .unwrap();
        assert!(error.contains("host@127.0.0.1") && !error.contains("secret"), "{error}");
    }
}

/// Settings with a fixture's files.
fn settings(ca: Option<&str>, client: bool) -> crate::config::Http {
    let at = |name: &str| std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/fixtures")).join(name);
    crate::config::Http {
        proxy: None,
        ca: ca.map(at),
        client: client.then(|| (at("client.pem"), at("client.key"))),
    }
}

/// Answers every request by TLS, but only to clients that show a certificate of our authority.
fn strict_server() -> Url {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
    use std::sync::Arc;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = |text: &str| CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate(include_str!("fixtures/authority.pem"))).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![certificate(include_str!("fixtures/server.pem"))],
            PrivateKeyDer::from_pem_slice(include_bytes!("fixtures/server.key")).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/file", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            // A client that was turned away hears nothing.
            let _ = stream
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            stream.get_mut().conn.send_close_notify();
            let _ = stream.get_mut().flush();
        }
    });
    url.parse().unwrap()
}

#[test]
fn authority_and_client_certificate_of_the_configuration_are_used() {
    let url = strict_server();
    let get = |settings: crate::config::Http| {
        let url = url.clone();
        crate::runtime::blocking(move |runtime| {
            let mut body = Http::for_downloads(runtime, &settings)?.get(&url, 0, None)?;
            let mut text = String::new();
            body.read_to_string(&mut text)
                .map(|_| text)
                .map_err(|error| HttpError::Network {
                    url: url.clone(),
                    reason: error.to_string(),
                })
        })
        .unwrap()
    };
    assert_eq!(get(settings(Some("authority.pem"), true)).unwrap(), "ok");
    get(settings(None, true)).unwrap_err();
    get(settings(Some("authority.pem"), false)).unwrap_err();
    get(settings(Some("client.pem"), true)).unwrap_err();
    for (name, why) in [("absent.pem", "cannot read"), ("make.sh", "holds no certificate")] {
        let error = get(settings(Some(name), true)).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(why), "{error}");
    }
}

#[test]
fn proxy_of_the_configuration_is_asked_for_everything() {
    let mut proxy = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy");
    proxy.set_path("/");
    let settings = crate::config::Http {
        proxy: Some(proxy),
        ..crate::config::Http::default()
    };
    let text = crate::runtime::blocking(move |runtime| {
        let url: Url = "http://repository.invalid/file".parse().unwrap();
        let mut text = String::new();
        Http::for_downloads(runtime, &settings)?
            .get(&url, 0, None)?
            .read_to_string(&mut text)
            .unwrap();
        Ok::<_, HttpError>(text)
    });
    assert_eq!(text.unwrap().unwrap(), "proxy");
}

/// A repository without a next root and with one timestamp; tells the bytes of each request and its answer.
fn repository() -> (Url, std::sync::mpsc::Receiver<(String, usize)>) {
    const TIMESTAMP: &str = "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    const SAME: &str = "HTTP/1.1 304 Not Modified\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: nginx/1.26.3\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: close\r\nETag: \"one\"\r\n\r\n";
    const MISSING: &str = "HTTP/1.1 404 Not Found\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: nginx/1.26.3\r\nContent-Type: text/html\r\nContent-Length: 153\r\nConnection: close\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let tell = tell.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while reader.read_line(&mut head).unwrap() > 2 {}
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let answer = match path.as_str() {
                    "/metadata/timestamp.json" if head.contains("if-none-match: \"one\"") => SAME.to_owned(),
                    "/metadata/timestamp.json" => TIMESTAMP.to_owned(),
                    // A page as nginx sends it.
                    _ => format!("{MISSING}{:153}", ""),
                };
                stream.write_all(answer.as_bytes()).unwrap();
                tell.send((path, head.len() + answer.len())).unwrap();
            });
        }
    });
    (url.parse().unwrap(), told)
}

#[test]
fn idle_look_costs_one_round_trip_and_at_most_a_kilobyte() {
    use twinhull_trust::{Answer, Expected, FetchError, Fetcher};

    let (url, told) = repository();
    crate::runtime::blocking(move |runtime| {
        let mut repository = HttpRepository::new(
            Http::for_downloads(runtime, &crate::config::Http::default()).unwrap(),
            url,
        );
        let timestamp = "metadata/timestamp.json";
        let Ok(Answer::Content { tag: Some(tag), .. }) = repository.fetch_unless(timestamp, 100, None) else {
            panic!("no timestamp")
        };
        told.recv().unwrap();
        let root = "metadata/2.root.json";
        repository.expect(&[
            Expected { path: root, tag: None },
            Expected {
                path: timestamp,
                tag: Some(&tag),
            },
        ]);
        // Both are on their way before the first answer is looked at.
        let seen = [told.recv().unwrap(), told.recv().unwrap()];
        assert!(matches!(repository.fetch(root, 100), Err(FetchError::NotFound)));
        assert!(matches!(
            repository.fetch_unless(timestamp, 100, Some(&tag)),
            Ok(Answer::Same)
        ));
        assert!(told.try_recv().is_err(), "something was asked for twice");
        let bytes: usize = seen.iter().map(|(_, bytes)| bytes).sum();
        assert!(bytes <= 1024, "{bytes} bytes: {seen:?}");
    })
    .unwrap();
}
