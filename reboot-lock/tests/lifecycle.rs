//! Start, reload and end, as the service manager and a person with an editor see them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::{Http, PATIENCE, PROGRAM, Server, eventually, run};

fn write_config(folder: &Path, groups: &str) -> String {
    let path = folder.join("lock.toml");
    std::fs::write(&path, groups).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The service manager's end of the notification socket.
struct Manager(UnixDatagram, std::path::PathBuf);

impl Manager {
    fn new(folder: &Path) -> Self {
        let path = folder.join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket, path)
    }

    fn start(&self, folder: &Path, arguments: &[&str]) -> Server {
        Server::start_with(folder, arguments, &[("NOTIFY_SOCKET", &self.1)])
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }
}

#[test]
fn manager_hears_ready_reloading_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), "[groups.default]\nslots = 1\n");
    let manager = Manager::new(folder.path());
    let server = manager.start(folder.path(), &["--config", &config]);
    assert_eq!(manager.next(), "READY=1\n");
    server.signal("HUP");
    let reloading = manager.next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(manager.next(), "READY=1\n");
    let status = server.terminate();
    assert_eq!(manager.next(), "STOPPING=1\n");
    assert!(status.success());
}

#[test]
fn slots_change_at_reload_and_restart_and_evict_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), "[groups.default]\nslots = 1\n");
    let manager = Manager::new(folder.path());
    let server = manager.start(folder.path(), &["--config", &config]);
    manager.next();
    let reload = |text: &str| {
        write_config(folder.path(), text);
        server.signal("HUP");
        manager.next();
        manager.next();
    };
    assert_eq!(server.take("default", "a").status, 200);
    assert_eq!(server.take("default", "b").status, 423);
    reload("[groups.default]\nslots = 2\n[groups.new]\nslots = 1\n");
    assert_eq!(server.take("default", "b").status, 200);
    assert_eq!(server.take("new", "x").status, 200);
    reload("[groups.default]\nslots = 1\n");
    assert_eq!(server.holders("default"), ["a", "b"]);
    assert_eq!(server.release("default", "a").status, 200);
    assert_eq!(server.take("default", "c").status, 423);
    // A group that the file no longer names grants nothing, but its holder can become steady.
    assert_eq!(server.take("new", "y").kind(), "unknown_group");
    assert_eq!(server.take("new", "x").kind(), "unknown_group");
    assert_eq!(server.status()["groups"][1]["configured"], false);
    assert_eq!(server.release("new", "x").status, 200);
    assert_eq!(server.status()["groups"].as_array().unwrap().len(), 1);
    // A file that cannot be used changes nothing.
    reload("[groups.default]\nslotz = 9\n");
    assert_eq!(server.take("default", "c").status, 423);
    assert!(server.terminate().success());

    write_config(folder.path(), "[groups.default]\nslots = 3\n");
    let server = Server::start(folder.path(), &["--config", &config]);
    assert_eq!(server.take("default", "c").status, 200);
    assert_eq!(server.holders("default"), ["b", "c"]);
}

#[test]
fn shutdown_answers_what_was_begun() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(folder.path());
    let server = manager.start(folder.path(), &["--group", "default=1"]);
    manager.next();
    let mut idle = server.connect();
    assert_eq!(idle.fleet_lock("pre-reboot", "default", "a").unwrap().status, 200);
    let mut begun = server.connect();
    let body = support::body("default", "a");
    let head = format!(
        "POST /v1/steady-state HTTP/1.1\r\nfleet-lock-protocol: true\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    begun.write(head.as_bytes()).unwrap();
    // The server asks for the body: the request has begun.
    assert_eq!(begun.read_answer().unwrap().status, 100);
    server.signal("TERM");
    assert_eq!(manager.next(), "STOPPING=1\n");
    assert!(idle.read_to_close().unwrap().is_empty());
    begun.write(&body).unwrap();
    assert_eq!(begun.read_answer().unwrap().status, 200);
    assert!(server.wait().success());
    let server = Server::start(folder.path(), &["--group", "default=1"]);
    assert!(server.holders("default").is_empty());
}

#[test]
fn sockets_of_the_service_manager_are_listened_on_in_place_of_those_configured() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(
        folder.path(),
        "listen = \"127.0.0.1:1\"\nplain_http = true\n[admin]\nsocket = \"/nowhere/admin.sock\"\n[groups.default]\nslots = 1\n",
    );
    // Bound for a moment to find a port that is free.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let admin = folder.path().join("admin.sock");
    let mut manager = Command::new("systemd-socket-activate");
    manager
        .arg("--listen")
        .arg(free.to_string())
        .arg("--listen")
        .arg(&admin);
    manager.args([PROGRAM, "serve", "--config", &config, "--store"]);
    let manager = manager
        .arg(folder.path().join("lock.redb"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd-socket-activate is missing: install the package systemd");
    // It becomes the server at the first connection.
    let _killed = Killed(manager);
    // Asked again until the manager listens; from then on the first request waits for the server to start.
    eventually(|| Http::connect(free).is_ok());
    let answer = Http::connect(free).unwrap().fleet_lock("pre-reboot", "default", "a");
    assert_eq!(answer.unwrap().status, 200);
    let url = format!("unix:{}", admin.display());
    let status = run(&["holders", "--json", "--url", &url]);
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    assert!(String::from_utf8_lossy(&status.stdout).contains("\"a\""));
}

/// Ends it when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn second_server_on_the_same_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--group", "default=1"]);
    let store = folder.path().join("lock.redb");
    let output = run(&[
        "serve",
        "--plain-http",
        "--listen",
        "127.0.0.1:0",
        "--group",
        "default=1",
        "--store",
        store.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("another process has it open"), "{error}");
    assert_eq!(server.take("default", "a").status, 200);
}

#[test]
fn store_that_is_not_one_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("lock.redb");
    std::fs::write(&store, "precious\n".repeat(1000)).unwrap();
    let output = run(&[
        "serve",
        "--plain-http",
        "--listen",
        "127.0.0.1:0",
        "--group",
        "default=1",
        "--store",
        store.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("cannot use the lock store"), "{error}");
    assert_eq!(std::fs::read_to_string(&store).unwrap(), "precious\n".repeat(1000));
}

#[test]
fn plain_http_leaves_the_machine_only_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("lock.redb");
    let store = store.to_str().unwrap();
    let common = ["--group", "default=1", "--store", store];
    for (address, said, problem) in [
        ("127.0.0.1:0", &[][..], "ask for plain HTTP"),
        ("0.0.0.0:0", &[], "ask for plain HTTP"),
        ("0.0.0.0:0", &["--insecure-plain-http"], "ask for plain HTTP"),
        ("0.0.0.0:0", &["--plain-http"], "--insecure-plain-http"),
        ("[::]:0", &["--plain-http"], "--insecure-plain-http"),
    ] {
        let output = run(&[&["serve", "--listen", address], said, &common].concat());
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(problem), "{address} {said:?}: {error}");
    }
    let (token, _) = support::token_file(folder.path());
    let arguments = [
        "serve",
        "--plain-http",
        "--listen",
        "127.0.0.1:0",
        "--group",
        "default=1",
        "--store",
        store,
    ];
    let administration = [
        "--admin-listen",
        "0.0.0.0:0",
        "--admin-token-file",
        token.to_str().unwrap(),
    ];
    assert_eq!(run(&[&arguments[..], &administration].concat()).status.code(), Some(1));
}

#[test]
fn socket_left_by_a_killed_server_is_replaced_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let arguments = ["--group", "default=1", "--admin-socket", socket.to_str().unwrap()];
    Server::start(folder.path(), &arguments).kill();
    assert!(socket.exists());
    let server = Server::start(folder.path(), &arguments);
    let other = tempfile::tempdir().unwrap();
    let store = other.path().join("lock.redb");
    let second = [
        &[
            "serve",
            "--plain-http",
            "--listen",
            "127.0.0.1:0",
            "--store",
            store.to_str().unwrap(),
        ],
        &arguments[..],
    ]
    .concat();
    let output = run(&second);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("another process listens there")
    );
    assert!(run(&["status", "--url", &server.administration[0]]).status.success());
    assert!(server.terminate().success());
    assert!(!socket.exists());
}
