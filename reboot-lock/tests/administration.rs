//! The administration: its sockets, its credential, and the commands that people type.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::os::unix::fs::PermissionsExt;

use support::{PROGRAM, Server, run};

const RELEASE: &str = r#"{"group":"default","id":"a","reason":"disk died"}"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn forced_release_over_the_socket_frees_the_slot_and_says_who_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let server = Server::start(
        folder.path(),
        &["--group", "default=1", "--admin-socket", socket.to_str().unwrap()],
    );
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(server.take("default", "a").status, 200);
    let url = &server.administration[0];
    let output = run(&[
        "release",
        "--url",
        url,
        "--group",
        "default",
        "--id",
        "a",
        "--reason",
        "disk died",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("group default: slot of a released, held since 20"));
    assert!(server.holders("default").is_empty());
    let event = server.status()["history"][0].clone();
    assert_eq!(event["what"], "forced-release");
    assert_eq!(event["reason"], "disk died");
    let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path()).unwrap());
    assert_eq!(event["by"], format!("alice (uid {user})"));
    assert_eq!(server.take("default", "b").status, 200);
}

#[test]
fn commands_work_where_the_system_trusts_no_authorities() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let server = Server::start(
        folder.path(),
        &["--group", "default=1", "--admin-socket", socket.to_str().unwrap()],
    );
    for url in [&server.administration[0], &server.url()] {
        let output = std::process::Command::new(PROGRAM)
            .args(["status", "--url", url])
            .envs([("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{url}: {}", text(&output.stderr));
    }
}

#[test]
fn forced_release_of_nothing_is_refused_with_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let server = Server::start(
        folder.path(),
        &["--group", "default=1", "--admin-socket", socket.to_str().unwrap()],
    );
    let url = &server.administration[0];
    for (group, kind) in [("default", "not_held"), ("other", "unknown_group")] {
        let output = run(&["release", "--url", url, "--group", group, "--id", "a", "--reason", "r"]);
        assert_eq!(output.status.code(), Some(3));
        assert!(text(&output.stderr).contains(kind), "{}", text(&output.stderr));
    }
    let output = run(&[
        "release", "--url", url, "--group", "default", "--id", "a", "--reason", " ",
    ]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output.stderr).contains("the reason is empty"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn administration_over_tcp_asks_for_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let (file, token) = support::token_file(folder.path());
    let file = file.to_str().unwrap();
    let arguments = [
        "--group",
        "default=1",
        "--admin-listen",
        "127.0.0.1:0",
        "--admin-token-file",
        file,
    ];
    let server = Server::start(folder.path(), &arguments);
    assert_eq!(server.take("default", "a").status, 200);
    let url = server.administration[0].clone();
    let connect = || support::Http::connect(url.strip_prefix("http://").unwrap().parse().unwrap()).unwrap();
    for header in [
        "x: y",
        "authorization: Bearer wrong",
        "authorization: Basic MDEyMzQ1Njc4OWFiY2RlZjAxMjM=",
    ] {
        for (method, path) in [("POST", "/v1/admin/release"), ("GET", "/v1/status")] {
            let answer = connect().send(method, path, &[header], RELEASE.as_bytes()).unwrap();
            assert_eq!(
                (answer.status, answer.kind().as_str()),
                (401, "unauthorized"),
                "{header}"
            );
        }
    }
    assert_eq!(server.holders("default"), ["a"]);
    let right = format!("authorization: Bearer {token}");
    let answer = connect()
        .send("POST", "/v1/admin/release", &[&right], RELEASE.as_bytes())
        .unwrap();
    assert_eq!(answer.status, 200);
    assert!(server.holders("default").is_empty());

    let output = run(&["status", "--url", &url]);
    assert_eq!(output.status.code(), Some(3));
    let output = run(&["status", "--url", &url, "--token-file", file]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    let line = table.lines().find(|line| line.contains("forced release")).unwrap();
    assert!(
        line.contains(" a ") && line.ends_with("admin token from 127.0.0.1  disk died"),
        "{line}"
    );
}

#[test]
fn status_is_read_as_table_and_as_json_from_the_main_listener() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--group", "default=2", "--group", "edge=1"]);
    assert_eq!(server.take("default", "host-a").status, 200);
    let table = text(&run(&["status", "--url", &server.url()]).stdout);
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["GROUP", "SLOTS", "HELD", "HOLDER", "SINCE", "FOR"]);
    assert_eq!(lines[1][..4], ["default", "2", "1", "host-a"]);
    assert_eq!(lines[2], ["edge", "1", "0", "-", "-", "-"]);
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["status", "--json", "--url", &server.url()]).stdout).unwrap();
    assert_eq!(json["groups"][0]["name"], "default");
    assert_eq!(json["groups"][0]["slots"], 2);
    assert_eq!(json["groups"][0]["holders"][0]["id"], "host-a");
    assert_eq!(json["history"][0]["what"], "granted");
    assert_eq!(json["history"][0]["by"], "127.0.0.1");
}

#[test]
fn holders_and_history_are_lines_for_people_and_json_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--group", "default=2", "--group", "edge=1"]);
    for (group, id) in [("default", "host-a"), ("edge", "host-b")] {
        assert_eq!(server.take(group, id).status, 200);
    }
    let url = server.url();
    let holders = text(&run(&["holders", "--url", &url]).stdout);
    let lines: Vec<Vec<_>> = holders.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["GROUP", "HOLDER", "SINCE", "FOR"]);
    assert_eq!(
        (lines[1][..2].to_vec(), lines[2][..2].to_vec()),
        (vec!["default", "host-a"], vec!["edge", "host-b"])
    );
    let json = run(&["holders", "--group", "edge", "--json", "--url", &url]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!((&json[0]["group"], &json[0]["id"]), (&"edge".into(), &"host-b".into()));
    let history = text(&run(&["history", "--url", &url, "--group", "default"]).stdout);
    assert!(history.contains("host-a") && !history.contains("host-b"), "{history}");
    let json = run(&["history", "--json", "--limit", "1", "--url", &url]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((json.as_array().unwrap().len(), &json[0]["id"]), (1, &"host-b".into()));
    assert_eq!(run(&["history", "--limit", "0", "--url", &url]).status.code(), Some(3));
}

#[test]
fn pause_resume_and_policy_change_what_is_granted_and_name_the_person() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let server = Server::start(
        folder.path(),
        &["--group", "default=1", "--admin-socket", socket.to_str().unwrap()],
    );
    let url = server.administration[0].clone();
    let ask = |arguments: &[&str]| run(&[arguments, &["--group", "default", "--url", &url]].concat());
    let output = ask(&["pause", "--reason", "release freeze"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let refused = server.take("default", "a");
    assert_eq!((refused.status, refused.kind().as_str()), (423, "paused"));
    assert!(
        refused.value().contains("release freeze") && refused.value().contains("alice"),
        "{}",
        refused.value()
    );
    assert!(ask(&["resume", "--reason", "over"]).status.success());
    assert_eq!(server.take("default", "a").status, 200);
    assert_eq!(server.take("default", "b").status, 423);

    let file = folder.path().join("policy.toml");
    std::fs::write(&file, "slots = 2\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(
        ask(&["policy", "--set", file]).status.code(),
        Some(2),
        "without a reason"
    );
    let output = ask(&["policy", "--set", file, "--reason", "weekend"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(server.take("default", "b").status, 200);
    assert!(text(&ask(&["policy"]).stdout).starts_with("default: slots 2"));
    let history = text(&run(&["history", "--url", &url]).stdout);
    for part in ["release freeze", "over", "weekend", "alice (uid "] {
        assert!(history.contains(part), "{part}: {history}");
    }
}

#[test]
fn failures_have_their_exit_codes() {
    let output = run(&["status", "--url", "unix:/nonexistent/admin.sock"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("/nonexistent/admin.sock"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(run(&["release", "--group", "default"]).status.code(), Some(2));
    assert_eq!(run(&["status", "--url", "ftp://x/"]).status.code(), Some(2));
    assert_eq!(run(&["serve", "--group", "default=x"]).status.code(), Some(2));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn help_fits_a_screen_and_shows_examples() {
    for command in [
        "", "serve", "status", "holders", "history", "release", "pause", "resume", "policy",
    ] {
        let arguments: Vec<_> = [command, "--help"].into_iter().filter(|a| !a.is_empty()).collect();
        let help = text(&run(&arguments).stdout);
        assert!(help.lines().count() <= 50, "{command}: {} lines", help.lines().count());
        assert!(help.contains("Example"), "{command}: {help}");
    }
}
