//! The scenarios: what must be true of every image, shown by booting it.

pub(crate) mod agent;
mod falls_back;
pub mod file;
mod gates;
mod power_cuts;
mod provisioned;
mod refused;
mod refused_by_firmware;
mod repository;
mod runner;
mod seats;
mod secure_boot;
mod stage;
pub(crate) mod update;
mod verified;
mod waits_its_turn;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

pub use agent::Status;
pub use repository::Repository;
pub use runner::{Options, Piece, Ran, run};
pub use stage::{Hardware, Host, Site, Stage, Theatre, copy_sparse};

use crate::error::{Error, Result};

/// A scenario's work. It stays on one thread: see [`crate::process::Process`].
pub type Work = Pin<Box<dyn Future<Output = Result<()>>>>;

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line and in reports.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// The versions of the image that it needs.
    pub images: &'static [&'static str],
    /// Programs that it needs beside those of every scenario; one that is written in a file says that itself.
    pub tools: &'static [&'static str],
    /// About how many boots it takes: the long ones are begun first.
    pub boots: u32,
    /// Whether it runs only when it is named or all are asked for.
    pub on_request: bool,
    script: Script,
}

/// How a scenario is written.
#[derive(Debug, Clone, Copy)]
enum Script {
    /// In Rust, where a file would not be enough.
    Rust(fn(Rc<Stage>) -> Work),
    /// The text of a file in `scenarios/`.
    File(&'static str),
}

impl Scenario {
    /// The scenario of a file.
    fn written(&self) -> Result<file::Written> {
        let Script::File(text) = self.script else {
            return Err(Error::Expectation(format!("{} is written in Rust", self.name)));
        };
        let path = format!("{}.toml", self.name);
        file::Written::parse(text, std::path::Path::new(&path)).map_err(|error| Error::Expectation(error.to_string()))
    }
}

/// Every scenario, in the order in which they are listed.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "verified",
        about: "the root is dm-verity over erofs; /usr cannot be written; one flipped byte is noticed",
        images: &["1.0.0"],
        tools: &[],
        boots: 1,
        on_request: false,
        script: Script::Rust(|stage| Box::pin(verified::run(stage))),
    },
    Scenario {
        name: "update",
        about: "1.0.0 becomes 1.1.0 by itself, blessed, under the lock; the old slot stays intact",
        images: &["1.0.0", "1.1.0"],
        tools: &[],
        boots: 2,
        on_request: false,
        script: Script::Rust(|stage| Box::pin(update::run(stage))),
    },
    Scenario {
        name: "refused",
        about: "spoiled payload, foreign signature, older version, other architecture: each refused with its reason",
        images: &["1.0.0", "1.1.0", "1.2.0"],
        tools: &[],
        boots: 1,
        on_request: false,
        script: Script::Rust(|stage| Box::pin(refused::run(stage))),
    },
    Scenario {
        name: "falls_back_sick",
        about: "1.2.0, whose health check fails: the host is on 1.1.0 again, says so, and does not try it again",
        images: &["1.1.0", "1.2.0"],
        tools: &[],
        boots: 5,
        on_request: false,
        script: Script::Rust(|stage| Box::pin(falls_back::sick(stage))),
    },
    Scenario {
        name: "falls_back_hang",
        about: "1.3.0, which hangs in early boot: the same",
        images: &["1.1.0", "1.3.0"],
        tools: &[],
        boots: 6,
        on_request: false,
        script: Script::Rust(|stage| Box::pin(falls_back::hang(stage))),
    },
    Scenario {
        name: "power_cuts",
        about: "a recorded update cut at every flush and between: all states boot something whole; some of them for real",
        images: &["1.0.0", "1.1.0"],
        tools: &[],
        boots: 8,
        on_request: false,
        script: Script::Rust(|stage| Box::pin(power_cuts::run(stage))),
    },
    Scenario {
        name: "provisioned",
        about: "two hosts from one image: each grows to its disk, has an identity of its own, and is what it was told to be",
        images: &["1.0.0"],
        tools: &[],
        boots: 2,
        on_request: true,
        script: Script::Rust(|stage| Box::pin(provisioned::run(stage))),
    },
    Scenario {
        name: "ten_hosts",
        about: "ten hosts from one image, one after another: ten names, ten machine ids, ten host keys",
        images: &["1.0.0"],
        tools: &[],
        boots: 10,
        on_request: true,
        script: Script::Rust(|stage| Box::pin(provisioned::ten(stage))),
    },
    Scenario {
        name: "secure_boot",
        about: "the image enrols its own keys, boots with Secure Boot on, and nothing that was changed starts any more",
        images: &[secure_boot::IMAGE],
        tools: &["swtpm"],
        boots: 3,
        on_request: true,
        script: Script::Rust(|stage| Box::pin(secure_boot::run(stage))),
    },
    Scenario {
        name: "refused_by_firmware",
        about: "changed, unsigned and wrongly signed kernel images are refused under Secure Boot; the host falls back",
        images: &[secure_boot::IMAGE],
        tools: &["swtpm", "sbsign", "openssl"],
        boots: 4,
        on_request: true,
        script: Script::Rust(|stage| Box::pin(refused_by_firmware::run(stage))),
    },
    Scenario {
        name: "waits_its_turn",
        about: "another host holds the only slot: the host waits, says for whom, and goes on when it is free",
        images: &["1.0.0", "1.1.0"],
        tools: &[],
        boots: 2,
        on_request: false,
        script: Script::Rust(|stage| Box::pin(waits_its_turn::run(stage))),
    },
    Scenario {
        name: "gates",
        about: "marker, inhibitor, script and hold each keep 1.0.0 up; then hooks around the reboot, and back by hand",
        images: &["1.0.0", "1.1.0"],
        tools: &[],
        boots: 3,
        on_request: true,
        script: Script::Rust(|stage| Box::pin(gates::run(stage))),
    },
    Scenario {
        name: "boots",
        about: "1.0.0 boots with what it was told; it notices an unplugged network, a disk that grows and a clock that is set",
        images: &["1.0.0"],
        tools: &[],
        boots: 4,
        on_request: true,
        script: Script::File(include_str!("../../scenarios/boots.toml")),
    },
    Scenario {
        name: "buses",
        about: "1.0.0 boots from an NVMe disk and from a SATA disk, comes up again after a reboot, and goes off by itself",
        images: &["1.0.0"],
        tools: &[],
        boots: 4,
        on_request: true,
        script: Script::File(include_str!("../../scenarios/buses.toml")),
    },
    Scenario {
        name: "control",
        about: "the role control: etcd and the reboot lock run, and what the lock grants is in etcd",
        images: &["1.0.0"],
        tools: &[],
        boots: 1,
        on_request: true,
        script: Script::File(include_str!("../../scenarios/control.toml")),
    },
    Scenario {
        name: "minimal",
        about: "the role minimal: a host that nobody can log in to runs a container, and becomes 1.1.0 with it",
        images: &[],
        tools: &[],
        boots: 2,
        on_request: true,
        script: Script::File(include_str!("../../scenarios/minimal.toml")),
    },
    Scenario {
        name: "node",
        about: "the role node: containerd serves the interface of a kubelet, and runs a container out of a registry",
        images: &[],
        tools: &[],
        boots: 1,
        on_request: true,
        script: Script::File(include_str!("../../scenarios/node.toml")),
    },
    Scenario {
        name: "bookworm",
        about: "the role server made of Debian 12: it is blessed, becomes 1.1.0, and podman runs a container",
        images: &[],
        tools: &[],
        boots: 2,
        on_request: true,
        script: Script::File(include_str!("../../scenarios/bookworm.toml")),
    },
    Scenario {
        name: "comes_back",
        about: "1.1.0 was healthy and does not start any more: 1.0.0 runs again by itself and mends it",
        images: &["1.0.0", "1.1.0"],
        tools: &[],
        boots: 10,
        on_request: true,
        script: Script::File(include_str!("../../scenarios/comes_back.toml")),
    },
    Scenario {
        name: "rot",
        about: "bytes flipped in either partition table, the state and the hash tree: healed, or noticed, never taken for good",
        images: &["1.0.0"],
        tools: &[],
        boots: 4,
        on_request: true,
        script: Script::File(include_str!("../../scenarios/rot.toml")),
    },
    Scenario {
        name: "rot_kernel",
        about: "kernel image and loader rot: the agent mends them; one whose head has rotted at the start is passed over",
        images: &["1.0.0", "1.1.0"],
        tools: &[],
        boots: 5,
        on_request: true,
        script: Script::File(include_str!("../../scenarios/rot_kernel.toml")),
    },
    Scenario {
        name: "containers",
        about: "an app that came with the release starts without a network; from a registry only what its owner signed does",
        images: &["1.5.0"],
        tools: &[],
        boots: 1,
        on_request: true,
        script: Script::File(include_str!("../../scenarios/containers.toml")),
    },
    Scenario {
        name: "fleet",
        about: "three hosts serve an app and are updated one at a time: no request fails; a bad release stops at the first host",
        images: &["1.0.0", "1.1.0", "1.2.0"],
        tools: &[],
        boots: 10,
        on_request: true,
        script: Script::File(concat!(
            include_str!("../../scenarios/fleet.toml"),
            include_str!("../../scenarios/parts/three-hosts.toml")
        )),
    },
    Scenario {
        name: "fleet_dies",
        about: "a host dies while it holds the lock: the others wait until somebody says that it is gone; the app stays up",
        images: &["1.0.0", "1.1.0"],
        tools: &[],
        boots: 6,
        on_request: true,
        script: Script::File(concat!(
            include_str!("../../scenarios/fleet_dies.toml"),
            include_str!("../../scenarios/parts/three-hosts.toml")
        )),
    },
    Scenario {
        name: "fleet_goes_on",
        about: "a host dies while it holds the lock, and the group's policy is to go on: after a while its slot is freed",
        images: &["1.0.0", "1.1.0"],
        tools: &[],
        boots: 7,
        on_request: true,
        script: Script::File(concat!(
            include_str!("../../scenarios/fleet_goes_on.toml"),
            include_str!("../../scenarios/parts/three-hosts.toml")
        )),
    },
    Scenario {
        name: "fleet_etcd",
        about: "the lock is on three control hosts with etcd, of which one dies in the middle: nothing stops, no request fails",
        images: &["1.0.0", "1.1.0"],
        tools: &[],
        boots: 10,
        on_request: true,
        script: Script::File(concat!(
            include_str!("../../scenarios/fleet_etcd.toml"),
            include_str!("../../scenarios/parts/three-hosts.toml")
        )),
    },
    Scenario {
        name: "services",
        about: "the lock over etcd behind a balancer that turns to the other server when one is gone; no machine is booted",
        images: &["1.0.0"],
        tools: &[],
        boots: 0,
        on_request: true,
        script: Script::File(include_str!("../../scenarios/services.toml")),
    },
];

/// The scenarios of these names; when there is none, those of every run, or `all`. An unknown name comes back with the known ones.
///
/// # Errors
/// [`Error::Usage`].
pub fn select(names: &[String], all: bool) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(ALL.iter().filter(|scenario| all || !scenario.on_request).collect());
    }
    names
        .iter()
        .map(|name| {
            ALL.iter().find(|scenario| scenario.name == name).ok_or_else(|| {
                let known: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
                Error::Usage(format!(
                    "no scenario is called \"{name}\"; there are: {}",
                    known.join(", ")
                ))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for scenario in ALL {
            let found = select(&[scenario.name.to_owned()], false).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].about, scenario.about);
        }
    }

    #[test]
    fn those_in_files_can_be_read() {
        for scenario in ALL.iter().filter(|scenario| matches!(scenario.script, Script::File(_))) {
            let written = scenario.written().unwrap();
            assert!(!written.needs_an_image(), "{}", scenario.name);
        }
    }

    #[test]
    fn the_documentation_tells_of_each() {
        let page = include_str!("../../../docs/qemu-tests.md");
        for scenario in ALL {
            assert!(page.contains(&format!("\n| `{}`", scenario.name)), "{}", scenario.name);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = select(&["updat".to_owned()], false).unwrap_err().to_string();
        assert!(error.contains("\"updat\"") && error.contains("waits_its_turn"));
    }
}
