//! The server killed with SIGKILL in a loop under load: nothing granted is forgotten, nothing released comes back.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use support::{Http, Server};

const ROUNDS: u32 = 20;
const CLIENTS: usize = 6;
const HOSTS_PER_CLIENT: usize = 4;
const SLOTS: usize = 10;
const GROUPS: [&str; 2] = ["left", "right"];

/// What a host has been told, and what it asked without hearing back.
#[derive(Debug, Clone, Default)]
struct Host {
    /// Whether the last answer left it holding a slot.
    holds: bool,
    /// The last request, if its answer never came: whether it was a take.
    unanswered: Option<bool>,
}

type Hosts = BTreeMap<(&'static str, String), Host>;

/// Takes and releases for `hosts` until the server is gone. Returns how many answers changed something.
fn load(address: std::net::SocketAddr, hosts: &mut Hosts, random: &mut Random) -> u32 {
    let mut changes = 0;
    let Ok(mut http) = Http::connect(address) else {
        return changes;
    };
    loop {
        for ((group, id), host) in &mut *hosts {
            // Mostly what moves the state, sometimes what must not.
            let take = if random.below(4) == 0 { host.holds } else { !host.holds };
            let endpoint = if take { "pre-reboot" } else { "steady-state" };
            host.unanswered = Some(take);
            let Ok(answer) = http.fleet_lock(endpoint, group, id) else {
                return changes;
            };
            match answer.status {
                200 => {
                    changes += u32::from(host.holds != take);
                    host.holds = take;
                }
                423 => assert!(
                    take && !host.holds,
                    "{id} was refused the slot it holds: {}",
                    answer.value()
                ),
                other => panic!("{id} got {other}: {}", answer.value()),
            }
            host.unanswered = None;
        }
    }
}

/// Compares what the server remembers with what the hosts were told; then takes the server's word for the unanswered.
fn compare(server: &Server, hosts: &mut Hosts) {
    let status = server.status();
    for group in GROUPS {
        let holders: BTreeSet<_> = server.holders(group).into_iter().collect();
        assert!(holders.len() <= SLOTS, "{} holders of {SLOTS} slots", holders.len());
        for ((_, id), host) in hosts.iter_mut().filter(|((of, _), _)| *of == group) {
            let held = holders.contains(id);
            match host.unanswered {
                None => assert_eq!(held, host.holds, "{group} {id}: held now, and by the last answer"),
                Some(take) => assert!(
                    held == host.holds || held == take,
                    "{group} {id}: held {held}, told {}, asked {take}",
                    host.holds
                ),
            }
            *host = Host {
                holds: held,
                unanswered: None,
            };
            // The history was written with the state: its latest word about a host says the same.
            let events = status["history"].as_array().unwrap();
            if let Some(event) = events
                .iter()
                .find(|event| event["group"] == group && event["id"] == **id)
            {
                assert_eq!(event["what"] == "granted", held, "{group} {id}: {event}");
            }
        }
    }
}

/// A small generator: the times of the kills should differ, nothing more.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn killed_under_load_forgets_no_grant_and_revives_no_release() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--group", "left=10", "--group", "right=10"];
    let mut clients: Vec<Hosts> = (0..CLIENTS)
        .map(|client| {
            let hosts = (0..HOSTS_PER_CLIENT).map(|n| ((GROUPS[n % 2], format!("host-{client}-{n}")), Host::default()));
            hosts.collect()
        })
        .collect();
    let mut random = Random(std::process::id().into());
    let mut changes = 0;
    for _ in 0..ROUNDS {
        let server = Server::start(folder.path(), &arguments);
        let all: &mut Hosts = &mut clients
            .iter()
            .flatten()
            .map(|(key, host)| (key.clone(), host.clone()))
            .collect();
        compare(&server, all);
        for (key, host) in clients.iter_mut().flatten() {
            *host = all[key].clone();
        }
        let address = server.address;
        let end = Instant::now() + Duration::from_millis(20 + random.below(150));
        changes += std::thread::scope(|scope| {
            let running: Vec<_> = clients
                .iter_mut()
                .map(|hosts| {
                    let mut random = Random(random.below(u64::MAX));
                    scope.spawn(move || load(address, hosts, &mut random))
                })
                .collect();
            // The moment of the kill is the point of this test, so that it waits for a time and not for a condition.
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            server.kill();
            running.into_iter().map(|client| client.join().unwrap()).sum::<u32>()
        });
    }
    let server = Server::start(folder.path(), &arguments);
    compare(&server, &mut clients.into_iter().flatten().collect());
    assert!(
        changes > 10 * ROUNDS,
        "only {changes} changes: there was no load to speak of"
    );
}

#[test]
fn since_survives_a_kill_and_a_new_take() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--group", "default=1"]);
    assert_eq!(server.take("default", "a").status, 200);
    let since = server.status()["groups"][0]["holders"][0]["since"].clone();
    server.kill();
    let server = Server::start(folder.path(), &["--group", "default=1"]);
    assert_eq!(server.take("default", "a").status, 200);
    assert_eq!(server.status()["groups"][0]["holders"][0]["since"], since);
    assert_eq!(server.take("default", "b").status, 423);
}
