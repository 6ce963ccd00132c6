//! The program itself, on a host in a folder, against a signed repository and a lock server on loopback.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use twinhull_layout::BootEntry;
use twinhull_trust::{Keyring, Repository as Editor, Setup, release_target};

use crate::host::Host;
use crate::oracle;
use crate::recorder::Machine;
use crate::server::{Mood, Server};
use crate::world::{ARCH, Image, Signed, images, product, release, version};

/// A host on 1.0.0, 1.1.0 in the repository, and everything configured.
struct Turn {
    images: [Image; 3],
    host: Host,
    repository: Signed,
    server: Server,
    _folder: tempfile::TempDir,
}

impl Turn {
    fn new(strategy: &str) -> Self {
        let images = images();
        let folder = tempfile::tempdir().unwrap();
        let repository = Signed::new(folder.path());
        let (document, files) = release(&images[2], Some(&images[1]));
        let (current, current_files) = release(&images[1], None);
        repository.publish(&current, &current_files);
        repository.publish(&document, &files);
        let host = Host::new(&images[1], &Machine::new(&images[1], None), &repository.root());
        let server = Server::new(&repository.folder);
        host.configure(&server.configuration(strategy));
        Self {
            images,
            host,
            repository,
            server,
            _folder: folder,
        }
    }

    /// `update` is refused with `code`, and neither partition table nor boot entries have changed.
    #[track_caller]
    fn refused(&self, code: &str) {
        let before = self.host.machine();
        let (exit, outcome) = self.host.json(&["update"]);
        assert_eq!(outcome["problem"]["code"], code, "{outcome:#}");
        assert_eq!(exit, if code == "network" { 1 } else { 3 });
        let after = self.host.machine();
        assert!(
            oracle::table(&before)
                .unwrap()
                .partitions()
                .eq(oracle::table(&after).unwrap().partitions())
        );
        let entries = |machine: &Machine| {
            machine
                .entries
                .keys()
                .filter(|name| name.parse::<BootEntry>().is_ok())
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(entries(&after), entries(&before));
        let (_, status) = self.host.json(&["status"]);
        assert_eq!(status["last_check"]["problem"]["code"], code, "{status:#}");
    }

    /// Waits until the service has ordered the reboot.
    fn until_rebooting(&self) {
        self.host.until("rebooting", |status| {
            status["state"]["phase"] == "rebooting" && self.host.asked_of_systemd().lines().any(|line| line == "reboot")
        });
    }

    fn boots(&self) -> String {
        oracle::boots(&self.host.machine(), &self.images).unwrap().to_string()
    }

    /// Publishes what the editor of releases would never: `text` as the document of 1.1.0.
    fn publish_document(&self, text: &str) {
        let mut editor = self.repository.editor();
        let name = release_target(&product(), ARCH, &version("1.1.0"));
        editor
            .add_target_bytes("releases", &name, text.as_bytes().to_vec())
            .unwrap();
        editor.commit().unwrap();
    }
}

#[test]
fn person_checks_updates_and_sees_it_in_the_status() {
    let turn = Turn::new("download-only");
    let (exit, check) = turn.host.json(&["check"]);
    assert_eq!(
        (exit, &check["outcome"], &check["version"]),
        (10, &"available".into(), &"1.1.0".into())
    );
    assert_eq!(turn.boots(), "1.0.0", "check changes nothing");

    let (exit, update) = turn.host.json(&["update"]);
    assert_eq!((exit, &update["outcome"]), (0, &"staged".into()), "{update:#}");
    assert_eq!(turn.boots(), "1.1.0");

    let (exit, check) = turn.host.json(&["check"]);
    assert_eq!((exit, &check["outcome"]), (0, &"staged".into()));
    let (_, status) = turn.host.json(&["status"]);
    assert_eq!(status["running"]["slot"], "A");
    assert_eq!(status["other"]["version"], "1.1.0");
    assert_eq!(status["other"]["entries"][0], turn.images[2].fresh_entry());
    assert_eq!(status["state"]["phase"], "staged");
    assert!(status["history"][0]["fetched"].as_u64().unwrap() > 0);
    assert!(
        turn.host
            .asked_of_systemd()
            .contains("reload --no-block twinhull-updater.service")
    );
    assert!(!turn.host.asked_of_systemd().contains("reboot"));

    let text = turn.host.run(&["status"]);
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(
        text.contains("twinhull-server 1.0.0") && text.contains("1.1.0 is installed and boots next"),
        "{text}"
    );
}

#[test]
fn payload_with_a_flipped_byte_is_refused() {
    let turn = Turn::new("download-only");
    for payload in fs::read_dir(turn.repository.folder.join("payloads")).unwrap() {
        let path = payload.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    turn.refused("payload");
    assert_eq!(turn.boots(), "1.0.0");
}

#[test]
fn metadata_signed_by_another_key_is_refused() {
    let turn = Turn::new("download-only");
    turn.host.json(&["check"]);
    let folder = tempfile::tempdir().unwrap();
    let (repository, keys) = (folder.path().join("repository"), folder.path().join("keys"));
    Editor::init(&repository, &keys, &Setup::default()).unwrap();
    assert!(Keyring::load(&keys).is_ok());
    // Everything but the root, which a thief cannot make to follow ours.
    for entry in fs::read_dir(repository.join("metadata")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with("root.json") {
            fs::copy(&path, turn.repository.folder.join("metadata").join(name)).unwrap();
        }
    }
    turn.refused("signatures");
}

#[test]
fn older_version_is_refused_whatever_the_channel_says() {
    let turn = Turn::new("download-only");
    turn.host
        .write("var/lib/twinhull-updater/state.json", br#"{"floor": "1.0.0"}"#);
    let (older, files) = release(&turn.images[0], None);
    turn.repository.publish(&older, &files);
    turn.refused("older");
}

#[test]
fn repository_that_is_put_back_to_yesterday_is_refused() {
    let turn = Turn::new("download-only");
    let metadata = turn.repository.folder.join("metadata");
    let yesterday = fs::read(metadata.join("timestamp.json")).unwrap();
    turn.repository.offer(&version("1.0.0"));
    turn.repository.offer(&version("1.1.0"));
    turn.host.json(&["check"]);
    fs::write(metadata.join("timestamp.json"), yesterday).unwrap();
    turn.refused("rollback");
    // A cache torn by a power cut changes nothing about that.
    for name in ["timestamp.json", "snapshot.json"] {
        let path = turn.host.at("var/lib/twinhull-updater/metadata").join(name);
        if path.exists() {
            fs::write(path, "").unwrap();
        }
    }
    turn.refused("rollback");
}

#[test]
fn release_for_another_architecture_is_refused() {
    let turn = Turn::new("download-only");
    let name = release_target(&product(), ARCH, &version("1.1.0"));
    let bytes = turn
        .repository
        .editor()
        .release(&product(), ARCH, &version("1.1.0"))
        .unwrap();
    let other = twinhull_layout::Arch::ALL
        .into_iter()
        .find(|arch| *arch != ARCH)
        .unwrap();
    let mut document = bytes.unwrap();
    document.arch = other;
    let text = String::from_utf8(document.to_bytes().unwrap()).unwrap();
    assert!(name.contains(ARCH.as_str()));
    turn.publish_document(&text);
    turn.refused("wrong-architecture");
}

#[test]
fn damaged_state_or_trusted_root_fails_closed() {
    let turn = Turn::new("download-only");
    fs::write(turn.host.at("usr/share/twinhull/root.json"), "").unwrap();
    turn.refused("trusted-root");

    let turn = Turn::new("download-only");
    turn.host.json(&["check"]);
    turn.host.write("var/lib/twinhull-updater/state.json", b"{\"floor\":");
    let output = turn.host.run(&["update"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is damaged"));
    assert_eq!(turn.boots(), "1.0.0");
}

#[test]
fn exit_codes_tell_wrong_configuration_and_wrong_usage_apart() {
    let turn = Turn::new("download-only");
    assert_eq!(turn.host.run(&["upgrade"]).status.code(), Some(2));
    turn.host.configure("[updates]\nrepositori = \"http://x\"\n");
    let output = turn.host.run(&["run"]);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("50-test.toml:2: unknown key `repositori`; did you mean `repository`?"),
        "{text}"
    );
}

#[test]
fn service_without_a_repository_is_idle_and_says_so() {
    let turn = Turn::new("lock");
    turn.host.configure("");
    let _service = turn.host.service();
    turn.host
        .until("idle", |status| status["state"]["code"] == "no-repository");
}

#[test]
fn service_goes_the_whole_turn_under_the_lock() {
    let turn = Turn::new("lock");
    turn.server
        .refuse("group default: 1 of 1 slots held by X since 2026-01-01T00:00:00Z");
    turn.server
        .refuse("group default: 1 of 1 slots held by X since 2026-01-01T00:00:00Z");
    {
        let _service = turn.host.service();
        turn.host.until("waiting for X", |status| {
            status["state"]["code"] == "lock-held"
                && status["state"]["reason"]
                    .as_str()
                    .unwrap()
                    .contains("held by X since 2026-01-01T00:00:00Z")
        });
        turn.until_rebooting();
    }
    assert_eq!(turn.boots(), "1.1.0");
    assert!(turn.host.asked_of_systemd().lines().any(|line| line == "reboot"));
    assert_eq!(
        turn.server.lock_requests(),
        ["steady-state", "pre-reboot", "pre-reboot", "pre-reboot"]
    );

    // The loader has used one of three tries, and nothing is blessed yet.
    let [_, _, new] = &turn.images;
    turn.host.boot(new);
    let trial = "twinhull-server_1.1.0+2-1.efi";
    turn.host.rename_entry(&new.fresh_entry(), trial);
    let _service = turn.host.service();
    turn.host
        .until("on trial", |status| status["state"]["phase"] == "trial");
    assert_eq!(turn.server.lock_requests().len(), 4, "the lock is kept while on trial");
    turn.host.rename_entry(trial, &new.entry());
    turn.host.until("up to date", |status| {
        status["floor"] == "1.1.0" && status["lock"] == "free" && status["state"]["phase"] == "idle"
    });
    assert_eq!(turn.server.lock_requests()[4], "steady-state");
    let (_, status) = turn.host.json(&["status"]);
    assert_eq!(status["running"]["slot"], "B");
    assert_eq!(status["other"]["version"], "1.0.0");
}

#[test]
fn service_remembers_a_release_that_fell_back() {
    let turn = Turn::new("immediate");
    {
        let _service = turn.host.service();
        turn.until_rebooting();
    }
    // Three boots that did not become healthy, then the old release again.
    let [_, old, new] = &turn.images;
    turn.host.boot(old);
    turn.host
        .rename_entry(&new.fresh_entry(), "twinhull-server_1.1.0+0-3.efi");
    turn.host.write(
        "var/lib/twinhull-updater/health.json",
        br#"{"version": "1.1.0", "at": "2026-01-01T00:00:00Z", "reasons": ["unit app.service is failed"]}"#,
    );
    let _service = turn.host.service();
    turn.host.until("refused for having failed", |status| {
        status["last_check"]["problem"]["code"] == "failed-here"
    });
    let (_, status) = turn.host.json(&["status"]);
    let reason = "3 boots did not become healthy; the last one found: unit app.service is failed";
    assert_eq!(status["failed"]["1.1.0"]["reason"], reason);
    assert_eq!(turn.boots(), "1.0.0");
    assert!(!turn.host.asked_of_systemd().contains("reboot"));
}

#[test]
fn only_one_agent_acts() {
    let turn = Turn::new("download-only");
    fs::create_dir_all(turn.host.at("run/twinhull-updater")).unwrap();
    let lock = fs::File::create(turn.host.at("run/twinhull-updater/agent.lock")).unwrap();
    lock.lock().unwrap();
    for command in ["check", "update", "rollback"] {
        let output = turn.host.run(&[command]);
        assert_eq!(output.status.code(), Some(4), "{command}");
    }
    assert_eq!(turn.boots(), "1.0.0");
}

#[test]
fn rollback_sets_the_running_release_aside_and_the_service_keeps_its_hands_off() {
    let mut turn = Turn::new("download-only");
    let [older, running, _] = &turn.images;
    turn.host = Host::new(running, &Machine::new(running, Some(older)), &turn.repository.root());
    turn.host.configure(&turn.server.configuration("download-only"));

    let (exit, outcome) = turn.host.json(&["rollback", "--reboot"]);
    assert_eq!((exit, &outcome["version"]), (0, &"0.9.0".into()), "{outcome:#}");
    assert_eq!(turn.boots(), "0.9.0");
    assert!(
        turn.host
            .machine()
            .entries
            .contains_key("twinhull-server_1.0.0+0-0.efi")
    );
    assert!(turn.host.asked_of_systemd().lines().any(|line| line == "reboot"));

    let (exit, outcome) = turn.host.json(&["update"]);
    assert_eq!((exit, &outcome["problem"]["code"]), (3, &"rollback-pending".into()));
    let (exit, outcome) = turn.host.json(&["rollback"]);
    assert_eq!((exit, &outcome["problem"]["code"]), (3, &"rollback-pending".into()));

    turn.host.boot(older);
    let _service = turn.host.service();
    turn.host.until("past the rollback", |status| {
        status["state"]["phase"] != "rollback-pending"
    });
    let (_, status) = turn.host.json(&["status"]);
    assert_eq!(status["failed"]["1.0.0"]["code"], "rolled-back");
}

#[test]
fn rollback_to_something_that_would_not_boot_is_refused() {
    let turn = Turn::new("download-only");
    let refused = |host: &Host, code: &str| {
        let before = host.machine();
        let (exit, outcome) = host.json(&["rollback"]);
        assert_eq!((exit, &outcome["problem"]["code"]), (3, &code.into()), "{outcome:#}");
        assert_eq!(host.machine(), before);
    };
    refused(&turn.host, "nothing-to-go-back-to");

    let [older, running, _] = &turn.images;
    let whole = Machine::new(running, Some(older));
    let host = |machine: &Machine| Host::new(running, machine, &turn.repository.root());

    let mut machine = whole.clone();
    let kernel = machine.entries.remove(&older.entry()).unwrap();
    refused(&host(&machine), "nothing-to-go-back-to");
    machine
        .entries
        .insert("twinhull-server_0.9.0+0-3.efi".to_owned(), kernel);
    refused(&host(&machine), "nothing-to-go-back-to");

    let mut machine = whole.clone();
    machine.entries.insert(older.entry(), running.kernel.clone());
    refused(&host(&machine), "nothing-to-go-back-to");

    let mut machine = whole.clone();
    let start = oracle::table(&machine).unwrap().partition(5).unwrap().start;
    machine.disk[usize::try_from(start).unwrap() + 1_000_000] ^= 1;
    refused(&host(&machine), "other-slot-damaged");
}

#[test]
fn service_obeys_over_its_socket_and_keeps_a_hold() {
    let turn = Turn::new("immediate");
    let service = turn.host.service();
    turn.until_rebooting();
    drop(service);
    turn.host.boot(&turn.images[1]);

    // Nothing was booted: the release is still staged, and nobody may reboot into it.
    let (exit, outcome) = turn.host.json(&["hold", "--reason", "audit"]);
    assert_eq!((exit, &outcome["outcome"]), (0, &"held".into()), "{outcome:#}");
    let _service = turn.host.service();
    turn.host.until("held", |status| {
        status["state"]["code"] == "held" && status["hold"]["reason"] == "audit" && status["state"]["phase"] == "staged"
    });
    assert!(turn.host.at("run/twinhull-updater/control.sock").exists());
    let (exit, outcome) = turn.host.json(&["update"]);
    assert_eq!((exit, &outcome["problem"]["code"]), (3, &"held".into()), "{outcome:#}");
    assert!(!turn.host.asked_of_systemd().contains("reboot"));

    let (exit, outcome) = turn.host.json(&["unhold"]);
    assert_eq!((exit, &outcome["outcome"]), (0, &"released".into()));
    turn.until_rebooting();
}

#[test]
fn service_waits_for_a_marker_and_runs_hooks_around_the_reboot() {
    let turn = Turn::new("lock");
    let log = turn.host.at("hooks.log");
    turn.host.executable(
        "etc/twinhull/hooks.d/10-drain",
        &format!("echo $1 >> {}", log.display()),
    );
    let marker = "run/twinhull-updater/no-reboot";
    turn.host.write(marker, b"2099-01-01\nnightly batch\n");
    {
        let service = turn.host.service();
        turn.host.until("stopped by the marker", |status| {
            status["state"]["code"] == "marker"
                && status["state"]["reason"].as_str().unwrap().ends_with("nightly batch")
        });
        assert!(!turn.server.lock_requests().contains(&"pre-reboot".to_owned()));
        fs::remove_file(turn.host.at(marker)).unwrap();
        // As `systemctl reload` does; otherwise it looks again within a minute.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(service.pid()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
        turn.until_rebooting();
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "before\n");
    let [_, _, new] = &turn.images;
    turn.host.boot(new);
    turn.host.rename_entry(&new.fresh_entry(), &new.entry());
    let _service = turn.host.service();
    turn.host
        .until("back", |status| status["lock"] == "free" && status["floor"] == "1.1.0");
    assert_eq!(fs::read_to_string(&log).unwrap(), "before\nafter\n");
}

#[test]
fn host_that_trusts_no_authority_is_updated_over_plain_http() {
    let mut turn = Turn::new("lock");
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        turn.host.environment.push((name, "/nowhere".to_owned()));
    }
    turn.server.set_mood(Mood::Moved);
    let (exit, outcome) = turn.host.json(&["update"]);
    assert_eq!((exit, &outcome["outcome"]), (0, &"staged".into()), "{outcome:#}");
    let _service = turn.host.service();
    turn.until_rebooting();
    assert!(turn.server.lock_requests().contains(&"pre-reboot".to_owned()));
}

#[test]
fn second_service_leaves_the_socket_to_the_first() {
    let turn = Turn::new("off");
    let _service = turn.host.service();
    turn.host.until("off", |status| status["state"]["code"] == "off");
    let socket = turn.host.at("run/twinhull-updater/control.sock");
    let inode = |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&socket);
    let second = turn.host.run(&["run"]);
    assert_eq!(second.status.code(), Some(4), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains("the update service (process "));
    assert_eq!(inode(&socket), before);
}

#[test]
fn metrics_are_served_at_the_address_of_the_configuration_and_nothing_else_is() {
    let turn = Turn::new("off");
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    turn.host.write(
        "etc/twinhull-updater/config.d/60-metrics.toml",
        format!("[metrics]\nlisten = \"{address}\"\n").as_bytes(),
    );
    let _service = turn.host.service();
    turn.host.until("off", |status| status["state"]["code"] == "off");
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let metrics = get("/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(
        metrics.contains("twinhull_updater_waiting{code=\"off\"} 1"),
        "{metrics}"
    );
    for path in ["/v1/status", "/v1/events", "/v1/command"] {
        assert!(get(path).starts_with("HTTP/1.1 404"), "{path}");
    }
}

#[test]
fn journal_gets_an_id_and_fields_with_each_event() {
    use twinhull_updater::agent::announce;

    let turn = Turn::new("download-only");
    fs::create_dir(turn.host.at("journal")).unwrap();
    let journal = UnixDatagram::bind(turn.host.at("journal/socket")).unwrap();
    journal.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let _service = turn.host.service_with_journal();
    // The next entry that has this id. A field is its name, a line end, the length of its value, and the value
    // (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
    let entry = |id: &str| {
        let mut entry = vec![0; 64 * 1024];
        loop {
            let length = journal.recv(&mut entry).unwrap_or_else(|error| panic!("{id}: {error}"));
            let text = String::from_utf8_lossy(&entry[..length]).into_owned();
            if text.contains("MESSAGE_ID\n") && text.contains(id) {
                return text;
            }
        }
    };
    let has = |entry: &str, name: &str, value: &str| {
        let length = String::from_utf8(u64::try_from(value.len()).unwrap().to_le_bytes().to_vec()).unwrap();
        entry.contains(&format!("{name}\n{length}{value}\n"))
    };
    let installed = entry(announce::INSTALLED);
    assert!(has(&installed, "RELEASE", "1.1.0"), "{installed}");
    assert!(has(&installed, "SYSLOG_IDENTIFIER", "twinhull-updater"), "{installed}");
    let waiting = entry(announce::WAITING);
    assert!(has(&waiting, "CODE", "reboot-by-hand"), "{waiting}");
}

#[test]
fn channel_is_switched_by_a_drop_in_or_not_at_all() {
    let turn = Turn::new("download-only");
    let (exit, outcome) = turn.host.json(&["switch-channel", "beta"]);
    assert_eq!((exit, &outcome["outcome"]), (0, &"switched".into()), "{outcome:#}");
    let (_, origins) = turn.host.json(&["config", "--show-origin"]);
    let channel = origins
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["key"] == "updates.channel")
        .unwrap();
    assert_eq!(channel["value"], "beta");
    assert!(channel["file"].as_str().unwrap().ends_with("90-channel.toml"));
    let gate = origins
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["key"] == "gates.inhibitors")
        .unwrap();
    assert_eq!(
        (&gate["value"], &gate["file"]),
        (&true.into(), &serde_json::Value::Null)
    );

    let (exit, outcome) = turn.host.json(&["switch-channel", "../beta"]);
    assert_eq!((exit, &outcome["problem"]["code"]), (3, &"bad-channel".into()));
    turn.host.write(
        "run/twinhull-updater/config.d/95-pin.toml",
        b"[updates]\nchannel = \"pinned\"\n",
    );
    let (exit, outcome) = turn.host.json(&["switch-channel", "stable"]);
    assert_eq!(
        (exit, &outcome["problem"]["code"]),
        (3, &"overruled".into()),
        "{outcome:#}"
    );
    let (_, values) = turn.host.json(&["config"]);
    assert_eq!(values["updates.channel"], "pinned");
    let kept = fs::read_to_string(turn.host.at("etc/twinhull-updater/config.d/90-channel.toml")).unwrap();
    assert!(kept.contains("\"beta\""), "as it was: {kept}");
}
