//! From airlock to this server, over real etcd.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;

use support::etcd::Etcd;
use support::{Server, run};

const CONFIG: &str = "\
[status]\nenabled = true\naddress = \"127.0.0.1\"\nport = 2222\n
[service]\naddress = \"127.0.0.1\"\nport = 3333\ntls = false\n
[lock]\ndefault_group_name = \"default\"\ndefault_slots = 1\n
[[lock.groups]]\nname = \"workers\"\nslots = 2\n";

fn said(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn holders_of_airlock_keep_their_slots_and_give_them_back_here() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start(folder.path());
    let key = |group: &str| format!("com.coreos.airlock/groups/{group}/v1/semaphore");
    etcd.put(&key("default"), r#"{"total_slots":1,"holders":[]}"#);
    etcd.put(&key("workers"), r#"{"total_slots":3,"holders":["a","b"]}"#);
    let airlock = folder.path().join("airlock.toml");
    std::fs::write(&airlock, format!("{CONFIG}[etcd3]\nendpoints = [{:?}]\n", etcd.url)).unwrap();

    let printed = said(&["import-airlock", text(&airlock)]);
    assert!(
        printed.contains("[groups.\"workers\"]\nslots = 2 # airlock itself still goes by 3"),
        "{printed}"
    );
    let ours = folder.path().join("lock.toml");
    std::fs::write(
        &ours,
        printed.replace("/run/twinhull-lock/", &format!("{}/", text(folder.path()))),
    )
    .unwrap();

    let into = ["import-airlock", text(&airlock), "--into", text(&ours)];
    assert!(said(&into).contains("group workers: 2 holders, 2 of them new here\n"));
    assert!(said(&into).contains("group workers: 2 holders, 0 of them new here\n"));

    let server = Server::start_over(&ours);
    let mut holders = server.holders("workers");
    holders.sort();
    assert_eq!(holders, ["a", "b"]);
    let full = server.take("workers", "c");
    assert_eq!((full.status, full.kind().as_str()), (423, "lock_held"));
    assert_eq!(server.take("workers", "a").status, 200);
    assert_eq!(server.release("workers", "b").status, 200);
    assert_eq!(server.take("workers", "c").status, 200);
    assert_eq!(server.take("default", "d").status, 200);
    let history = server.status()["history"].to_string();
    assert!(history.contains("alice (imported from airlock)"), "{history}");
}

#[test]
fn etcd_that_does_not_answer_and_a_record_that_is_none_are_errors_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = Etcd::start(folder.path());
    etcd.put("com.coreos.airlock/groups/default/v1/semaphore", "garbage");
    let airlock = folder.path().join("airlock.toml");
    std::fs::write(&airlock, CONFIG).unwrap();
    let refused = |endpoint: &str| {
        let output = run(&["import-airlock", text(&airlock), "--endpoint", endpoint]);
        assert!(!output.status.success() && output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let garbage = refused(&etcd.url);
    assert!(
        garbage.contains("default/v1/semaphore in etcd cannot be understood"),
        "{garbage}"
    );
    let url = etcd.url.clone();
    drop(etcd);
    let gone = refused(&url);
    assert!(gone.contains("cannot read from etcd"), "{gone}");
}
