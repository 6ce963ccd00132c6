//! FleetLock on the wire, as its clients see it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeSet;

use support::{Server, body};

/// Method, path, headers, body; status and kind of the answer.
type Case<'a> = (&'a str, &'a str, &'a [&'a str], &'a [u8], u16, &'a str);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn slot_goes_round() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--group", "default=1"]);
    assert_eq!(server.take("default", "a").status, 200);
    let refused = server.take("default", "b");
    assert_eq!((refused.status, refused.kind().as_str()), (423, "lock_held"));
    assert!(
        refused
            .value()
            .starts_with("group default: 1 of 1 slots held by a since 20"),
        "{}",
        refused.value()
    );
    assert_eq!(server.release("default", "a").status, 200);
    assert_eq!(server.take("default", "b").status, 200);
    assert_eq!(server.holders("default"), ["b"]);
}

#[test]
fn taking_and_releasing_are_idempotent_on_the_wire() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--group", "default=2"]);
    for _ in 0..3 {
        assert_eq!(server.take("default", "a").status, 200);
    }
    assert_eq!(server.holders("default"), ["a"]);
    for _ in 0..3 {
        assert_eq!(server.release("default", "a").status, 200);
        assert_eq!(server.release("default", "never-seen").status, 200);
    }
    assert!(server.holders("default").is_empty());
    let what: Vec<_> = server.status()["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["what"].to_string())
        .collect();
    assert_eq!(what, ["\"released\"", "\"granted\"", "\"policy\""]);
}

#[test]
fn groups_do_not_touch_each_other() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--group", "a=1", "--group", "b.c-1=1"]);
    assert_eq!(server.take("a", "x").status, 200);
    assert_eq!(server.take("b.c-1", "x").status, 200);
    assert_eq!(server.release("a", "x").status, 200);
    assert_eq!(server.holders("b.c-1"), ["x"]);
}

#[test]
fn wrong_requests_get_their_status_and_kind() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--group", "default=1"]);
    let header: &[&str] = &["fleet-lock-protocol: true"];
    let good = body("default", "a");
    let cases: &[Case<'_>] = &[
        ("POST", "/v1/pre-reboot", &[], &good, 400, "missing_header"),
        (
            "POST",
            "/v1/pre-reboot",
            &["fleet-lock-protocol: false"],
            &good,
            400,
            "missing_header",
        ),
        ("POST", "/v1/steady-state", &[], &good, 400, "missing_header"),
        ("POST", "/v1/pre-reboot", header, b"", 400, "decode_error"),
        ("POST", "/v1/pre-reboot", header, b"\x00\xff\xfe", 400, "decode_error"),
        (
            "POST",
            "/v1/pre-reboot",
            header,
            b"{\"client_params\":{}}",
            400,
            "decode_error",
        ),
        ("POST", "/v1/pre-reboot", header, &body("", "a"), 400, "invalid_params"),
        (
            "POST",
            "/v1/pre-reboot",
            header,
            &body("a/b", "a"),
            400,
            "invalid_params",
        ),
        (
            "POST",
            "/v1/pre-reboot",
            header,
            &body("default", ""),
            400,
            "invalid_params",
        ),
        (
            "POST",
            "/v1/pre-reboot",
            header,
            &body("other", "a"),
            400,
            "unknown_group",
        ),
        (
            "POST",
            "/v1/steady-state",
            header,
            &body("other", "a"),
            400,
            "unknown_group",
        ),
        ("GET", "/v1/pre-reboot", header, b"", 405, "method_not_allowed"),
        ("PUT", "/v1/steady-state", header, &good, 405, "method_not_allowed"),
        ("POST", "/v1/status", header, &good, 405, "method_not_allowed"),
        ("POST", "/v1/pre-rebooT", header, &good, 404, "not_found"),
        ("POST", "/v2/pre-reboot", header, &good, 404, "not_found"),
        ("POST", "/v1/admin/release", header, &good, 404, "not_found"),
        ("POST", "/", &[], b"", 405, "method_not_allowed"),
        ("GET", "/v1", &[], b"", 404, "not_found"),
    ];
    for (method, path, headers, body, status, kind) in cases {
        let answer = server.connect().send(method, path, headers, body).unwrap();
        let case = format!("{method} {path} {headers:?} {}", String::from_utf8_lossy(body));
        assert_eq!((answer.status, answer.kind().as_str()), (*status, *kind), "{case}");
        assert!(!answer.value().is_empty(), "{case}");
    }
    assert!(server.holders("default").is_empty());
}

#[test]
fn wrong_method_is_told_the_right_one() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--group", "default=1"]);
    let answer = server.connect().send("GET", "/v1/pre-reboot", &[], b"").unwrap();
    assert!(answer.head.contains("\r\nallow: post\r\n"), "{}", answer.head);
}

#[test]
fn unknown_fields_and_headers_of_other_clients_are_ignored() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--group", "default=1"]);
    let body = br#"{"client_params":{"id":"a","group":"default","version":"1.1.0","outcome":{"ok":true}},"x":[]}"#;
    let headers = [
        "Fleet-Lock-Protocol: true",
        "content-type: text/plain; charset=latin1",
        "x-y: z",
    ];
    assert_eq!(
        server
            .connect()
            .send("POST", "/v1/pre-reboot", &headers, body)
            .unwrap()
            .status,
        200
    );
    assert_eq!(server.holders("default"), ["a"]);
}

#[test]
fn base_path_is_reached_however_the_client_joins_it() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--group", "default=1", "--base-path", "fleet/lock/"]);
    let header = ["fleet-lock-protocol: true"];
    for base in ["/fleet/lock", "/fleet/lock/", "/fleet"] {
        let path = format!("{base}/v1/pre-reboot");
        let answer = server
            .connect()
            .send("POST", &path, &header, &body("default", "a"))
            .unwrap();
        assert_eq!(answer.status, 200, "{path}");
    }
    let answer = server
        .connect()
        .send("POST", "/v1/pre-reboot", &header, &body("default", "a"))
        .unwrap();
    assert_eq!(answer.status, 404);
}

#[test]
fn crowd_on_one_group_gets_exactly_its_slots() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--group", "default=5"]);
    let granted: BTreeSet<_> = std::thread::scope(|scope| {
        let hosts: Vec<_> = (0..40)
            .map(|n| {
                let server = &server;
                scope.spawn(move || (format!("host-{n}"), server.take("default", &format!("host-{n}"))))
            })
            .collect();
        let answers = hosts.into_iter().map(|host| host.join().unwrap());
        answers
            .filter_map(|(id, answer)| match answer.status {
                200 => Some(id),
                423 => None,
                other => panic!("{id} got {other}: {}", answer.value()),
            })
            .collect()
    });
    assert_eq!(granted.len(), 5);
    assert_eq!(server.holders("default").into_iter().collect::<BTreeSet<_>>(), granted);
}

#[test]
fn connection_is_kept_for_further_requests() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--group", "default=1"]);
    let mut http = server.connect();
    for _ in 0..10 {
        assert_eq!(http.fleet_lock("pre-reboot", "default", "a").unwrap().status, 200);
        assert_eq!(http.fleet_lock("steady-state", "default", "a").unwrap().status, 200);
        assert_eq!(http.send("GET", "/v1/status", &[], b"").unwrap().status, 200);
        assert_eq!(http.send("POST", "/v1/pre-reboot", &[], b"x").unwrap().status, 400);
    }
}

#[test]
fn request_line_with_a_whole_url_is_understood() {
    let folder = folder();
    let server = Server::start(folder.path(), &["--group", "default=1"]);
    let url = format!("{}/v1/pre-reboot?x=y", server.url());
    let header = ["fleet-lock-protocol: true"];
    let answer = server.connect().send("POST", &url, &header, &body("default", "a"));
    assert_eq!(answer.unwrap().status, 200);
}
