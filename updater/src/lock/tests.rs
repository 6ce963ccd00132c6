//! The client against a server of a few lines that answers whatever it is told to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use super::*;

/// Answers each connection with the next of its answers and hands out what was asked.
struct Server {
    base: Url,
    requests: mpsc::Receiver<String>,
}

impl Server {
    fn answering(answers: Vec<Option<String>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/fleet/", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            let mut hanging = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                sender.send(request(&mut stream)).unwrap();
                match answer {
                    Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                    None => hanging.push(stream),
                }
            }
            // A connection that hangs stays open until the client has lost its patience and the test is over.
            let _ = sender.send(String::new());
            thread::park();
        });
        Self { base, requests }
    }

    fn client(&self, runtime: tokio::runtime::Handle) -> FleetLock {
        let http = Http::for_commands(runtime, &crate::config::Http::default()).unwrap();
        FleetLock::new(http, self.base.clone(), "default".to_owned(), "me".to_owned())
    }
}

/// Reads one request whole: head, and as many bytes as it announces.
fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next());
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        assert!(count > 0, "{text}");
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "beside answers there are servers that give none"
)]
fn says(status: &str, body: &str) -> Option<String> {
    Some(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    ))
}

fn take_from(answer: Option<String>) -> Grant {
    let server = Server::answering(vec![answer]);
    crate::runtime::blocking(move |runtime| {
        server
            .client(runtime)
            .with_patience(Duration::from_millis(500))
            .take(&Report::default())
    })
    .unwrap()
}

#[test]
fn request_has_the_form_of_the_protocol() {
    let server = Server::answering(vec![says("200 OK", ""), says("200 OK", "")]);
    let requests = crate::runtime::blocking(move |runtime| {
        let client = server.client(runtime);
        let (from, to) = ("1.0.0".parse().unwrap(), "1.1.0".parse().unwrap());
        let report = Report {
            version: Some(&from),
            target: Some(&to),
            zone: Some("r1"),
            outcome: None,
        };
        assert_eq!(client.take(&report), Grant::Granted);
        let report = Report {
            outcome: Some(Outcome::RolledBack),
            ..report
        };
        assert_eq!(client.release(&report), Ok(()));
        [server.requests.recv().unwrap(), server.requests.recv().unwrap()]
    })
    .unwrap();
    assert!(
        requests[0].starts_with("post /fleet/v1/pre-reboot http/1.1\r\n"),
        "{}",
        requests[0]
    );
    assert!(
        requests[1].starts_with("post /fleet/v1/steady-state http/1.1\r\n"),
        "{}",
        requests[1]
    );
    let told = r#""version":"1.0.0","target":"1.1.0","zone":"r1""#;
    for (request, more) in requests.iter().zip(["", r#","outcome":"rolled-back""#]) {
        assert!(request.contains("fleet-lock-protocol: true\r\n"));
        let body: serde_json::Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        let expected = format!(r#"{{"client_params":{{"group":"default","id":"me"}},"twinhull":{{{told}{more}}}}}"#);
        assert_eq!(
            body,
            serde_json::from_str::<serde_json::Value>(&expected).unwrap(),
            "{request}"
        );
    }
}

#[test]
fn holder_of_a_held_lock_is_passed_on_as_said() {
    let value = "group default: 1 of 1 slots held by x since 2026-01-01t00:00:00z";
    let answer = says(
        "423 Locked",
        &format!("{{\n \"kind\": \"lock_held\",\n \"value\": \"{value}\"}}"),
    );
    assert_eq!(take_from(answer), Grant::Refused(Problem::new("lock-held", value)));
}

#[test]
fn each_kind_of_not_yet_has_its_own_code() {
    for (kind, code) in [
        ("paused", "lock-paused"),
        ("halted", "lock-halted"),
        ("settling", "lock-settling"),
        ("other_zone", "lock-other-zone"),
        // Another server's own word for what 423 says.
        ("busy", "lock-held"),
    ] {
        let answer = says("423 Locked", &format!(r#"{{"kind":"{kind}","value":"why"}}"#));
        assert_eq!(take_from(answer), Grant::Refused(Problem::new(code, "why")), "{kind}");
    }
}

#[test]
fn plain_no_of_any_kind_is_a_no() {
    for answer in [
        says("404 Not Found", ""),
        says("400 Bad Request", r#"{"kind":"unknown_group","value":"no such group"}"#),
        says("409 Conflict", "<html>"),
    ] {
        assert!(
            matches!(take_from(answer.clone()), Grant::Refused(problem) if problem.code == "lock-refused"),
            "{answer:?}"
        );
    }
}

#[test]
fn everything_unclear_is_unknown_and_not_a_no() {
    for answer in [
        says(
            "500 Internal Server Error",
            r#"{"kind":"failed_lock","value":"backend said no"}"#,
        ),
        says("503 Service Unavailable", ""),
        says("302 Found", ""),
        Some("garbage\r\n\r\n".to_owned()),
        Some("HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nshort".to_owned()),
        Some(String::new()),
        None,
    ] {
        assert!(matches!(take_from(answer.clone()), Grant::Unknown(_)), "{answer:?}");
    }
}

#[test]
fn server_without_end_is_cut_off() {
    let endless = format!("HTTP/1.1 423 Locked\r\n\r\n{}", "x".repeat(10 * MAX_ANSWER));
    assert!(matches!(take_from(Some(endless)), Grant::Refused(_)));
}

#[test]
fn control_characters_of_a_server_do_not_reach_the_log() {
    let answer = says("423 Locked", r#"{"kind":"lock_held","value":"held\nby \u001b[31mX"}"#);
    assert_eq!(
        take_from(answer),
        Grant::Refused(Problem::new("lock-held", "held by  [31mX"))
    );
}

#[test]
fn release_is_done_only_when_confirmed() {
    let server = Server::answering(vec![says("500 No", ""), None, says("200 OK", "ignored")]);
    let outcomes = crate::runtime::blocking(move |runtime| {
        let client = server.client(runtime).with_patience(Duration::from_millis(500));
        [
            client.release(&Report::default()).is_ok(),
            client.release(&Report::default()).is_ok(),
            client.release(&Report::default()).is_ok(),
        ]
    })
    .unwrap();
    assert_eq!(outcomes, [false, false, true]);
}

#[test]
fn no_server_at_all_is_unknown() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let grant = crate::runtime::blocking(move |runtime| {
        let base = format!("http://127.0.0.1:{port}/").parse().unwrap();
        FleetLock::new(
            Http::for_commands(runtime, &crate::config::Http::default()).unwrap(),
            base,
            "g".to_owned(),
            "me".to_owned(),
        )
        .take(&Report::default())
    })
    .unwrap();
    assert!(matches!(grant, Grant::Unknown(problem) if problem.text.contains("refused")));
}
