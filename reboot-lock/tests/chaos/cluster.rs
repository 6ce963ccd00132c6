//! Three etcd members, each in its own network namespace, on one bridge.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};

/// How many members.
pub(crate) const MEMBERS: usize = 3;

/// The members; ended and taken apart when dropped.
pub(crate) struct Cluster {
    tag: String,
    folder: tempfile::TempDir,
    members: [Option<Child>; MEMBERS],
}

fn sh(words: &[&str]) -> bool {
    let status = Command::new(words[0]).args(&words[1..]).stderr(Stdio::null()).status();
    status.expect("the package iproute2 is needed").success()
}

fn must(line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    assert!(sh(&words), "`{line}` failed; network namespaces need root");
}

fn ip(member: usize) -> String {
    format!("10.77.0.{}", member + 1)
}

impl Cluster {
    /// Moves the calling thread into a new network and starts the members there.
    pub(crate) fn in_a_new_network() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces need root");
        let folder = tempfile::tempdir().unwrap();
        let tag = format!(
            "twinhull-{}-{}",
            std::process::id(),
            folder.path().file_name().unwrap().to_str().unwrap()
        );
        let mut cluster = Self {
            tag,
            folder,
            members: [const { None }; MEMBERS],
        };
        must("ip link set lo up");
        must("ip link add br0 type bridge");
        must("ip addr add 10.77.0.254/24 dev br0");
        must("ip link set br0 up");
        for member in 0..MEMBERS {
            let (space, ip) = (cluster.space(member), ip(member));
            must(&format!("ip netns add {space}"));
            must(&format!("ip link add v{member} type veth peer name eth0 netns {space}"));
            must(&format!("ip link set v{member} master br0 up"));
            must(&format!("ip -n {space} addr add {ip}/24 dev eth0"));
            must(&format!("ip -n {space} link set eth0 up"));
            must(&format!("ip -n {space} link set lo up"));
        }
        (0..MEMBERS).for_each(|member| cluster.start(member));
        cluster
    }

    fn space(&self, member: usize) -> String {
        format!("{}-{member}", self.tag)
    }

    /// Starts a member, or starts it again with what it had on disk.
    pub(crate) fn start(&mut self, member: usize) {
        if self.members[member].is_some() {
            return;
        }
        let all: Vec<_> = (0..MEMBERS)
            .map(|other| format!("m{other}=http://{}:2380", ip(other)))
            .collect();
        let (client, peer) = (
            format!("http://{}:2379", ip(member)),
            format!("http://{}:2380", ip(member)),
        );
        let child = Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.space(member),
                "etcd",
                "--name",
                &format!("m{member}"),
                "--data-dir",
            ])
            .arg(self.folder.path().join(member.to_string()))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &all.join(",")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.members[member] = Some(child);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP, SIGCONT.
    pub(crate) fn signal(&self, member: usize, name: &str) {
        if let Some(child) = &self.members[member] {
            sh(&["kill", "-s", name, &child.id().to_string()]);
        }
    }

    /// Cuts a member off from the other two, or ends that. Clients still reach it.
    pub(crate) fn isolate(&self, member: usize, cut: bool) {
        for other in (0..MEMBERS).filter(|other| *other != member) {
            let (verb, space, to) = (
                if cut { "add" } else { "del" },
                self.space(member),
                format!("{}/32", ip(other)),
            );
            sh(&["ip", "-n", &space, "route", verb, "blackhole", &to]);
        }
    }

    /// Everything runs and is connected again.
    pub(crate) fn heal(&mut self) {
        for member in 0..MEMBERS {
            self.isolate(member, false);
            self.signal(member, "CONT");
            self.start(member);
        }
    }

    /// Where a member listens for clients.
    pub(crate) fn address(member: usize) -> SocketAddr {
        format!("{}:2379", ip(member)).parse().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in 0..MEMBERS {
            self.kill(member);
            sh(&["ip", "netns", "del", &self.space(member)]);
        }
    }
}
