//! A scenario file as it is written.
//!
//! The comments of the fields are the documentation of the file: `reference` makes `docs/scenario-file.md` from them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use twinhull_layout::{Arch, Product, Version};

use crate::machine::arguments::Bus;

/// The file without its services and steps.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// What the scenario shows, in one line.
    pub about: String,
    /// The machines, by name. Their disks are private copies that vanish in the end.
    pub machine: BTreeMap<String, Machine>,
}

/// A machine.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Another machine of the file. What is not given here is as there; `credentials`, `files` and `ports` are added to those there.
    #[schemars(extend("x-default" = "none"))]
    pub like: Option<String>,
    /// `x86_64` or `aarch64`.
    #[schemars(with = "Option<String>", extend("x-default" = "that of `--arch`"))]
    pub arch: Option<Arch>,
    /// A raw disk image.
    #[schemars(extend("x-default" = "that of the command line"))]
    pub image: Option<PathBuf>,
    /// A version whose image is in the folder given by `--work`, instead of `image`.
    #[schemars(with = "Option<String>", extend("x-default" = "none"))]
    pub release: Option<Version>,
    /// What `release` is a version of.
    #[schemars(with = "Option<String>", extend("x-default" = "twinhull-server"))]
    pub product: Option<Product>,
    /// Memory in MiB.
    #[schemars(extend("x-default" = "1536"))]
    pub memory: Option<u32>,
    /// Number of processors.
    #[schemars(extend("x-default" = "2, or 1 under emulation"))]
    pub processors: Option<u32>,
    /// What connects the disk.
    #[schemars(extend("x-default" = "virtio"))]
    pub bus: Option<Bus>,
    /// The size of the disk in MiB, at least that of the image; what is added is empty.
    #[schemars(extend("x-default" = "that of the image"))]
    pub disk: Option<u64>,
    /// Whether it has a display. Then a picture of it is kept at the end.
    #[schemars(extend("x-default" = "false"))]
    pub display: Option<bool>,
    /// Whether its firmware verifies what it starts. It has no keys yet: the first image that is booted may enrol its own.
    #[schemars(extend("x-default" = "false"))]
    pub secure_boot: Option<bool>,
    /// Whether it has a TPM 2.0, which is new at each power-on. Needs the package swtpm.
    #[schemars(extend("x-default" = "false"))]
    pub tpm: Option<bool>,
    /// System credentials (`systemd.system-credentials(7)`) by name.
    #[serde(default)]
    pub credentials: BTreeMap<String, String>,
    /// Files that the guest has before its services start, by absolute path, as the credential `tmpfiles.extra` makes them. One
    /// that begins with `#!` may be executed. They are written at every boot.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Ports of the guest by a name of your own: `web = 80` makes `${MACHINE.web}` the port at which 127.0.0.1 leads there.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
}

impl Machine {
    /// What is not given is taken from `other`.
    #[must_use]
    pub fn completed_by(self, other: &Self) -> Self {
        fn both<V: Clone>(own: BTreeMap<String, V>, other: &BTreeMap<String, V>) -> BTreeMap<String, V> {
            let mut all = other.clone();
            all.extend(own);
            all
        }
        let has_an_image = self.image.is_some() || self.release.is_some() || self.product.is_some();
        let others = Some(other).filter(|_| !has_an_image);
        Self {
            like: self.like,
            arch: self.arch.or(other.arch),
            image: self.image.or_else(|| others.and_then(|other| other.image.clone())),
            release: self.release.or_else(|| others.and_then(|other| other.release.clone())),
            product: self.product.or_else(|| others.and_then(|other| other.product.clone())),
            memory: self.memory.or(other.memory),
            processors: self.processors.or(other.processors),
            bus: self.bus.or(other.bus),
            disk: self.disk.or(other.disk),
            display: self.display.or(other.display),
            secure_boot: self.secure_boot.or(other.secure_boot),
            tpm: self.tpm.or(other.tpm),
            credentials: both(self.credentials, &other.credentials),
            files: both(self.files, &other.files),
            ports: both(self.ports, &other.ports),
        }
    }
}

/// A group of hosts at the reboot lock.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "a group is a number of slots, or a table of rules")]
pub enum Group {
    /// How many of its hosts may be away at once.
    Slots(u32),
    /// The rules, in the words of the lock's own configuration, which checks them.
    Rules(BTreeMap<String, Value>),
}

/// A service on the host's side. `${SERVICE.port}` is where it listens on 127.0.0.1, `${SERVICE.url}` how a guest reaches it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Service {
    /// A signed repository of releases over HTTP: a private copy, which steps can change.
    Releases {
        /// The folder that is copied.
        #[schemars(extend("x-default" = "`repo-pristine` of `--work`"))]
        repository: Option<PathBuf>,
        /// The folder of the repository's secret keys, for `publish`.
        #[schemars(extend("x-default" = "`keys` of `--work`"))]
        keys: Option<PathBuf>,
    },
    /// The reboot lock, `twinhull-lock serve`.
    Lock {
        /// The groups of hosts, with their slots: `default = 1`. Or with all their rules, as `[groups.NAME]` of the lock's own
        /// configuration has them: `default = { slots = 1, halt_failures = 0 }`.
        #[serde(default)]
        #[schemars(with = "BTreeMap<String, Value>", extend("x-default" = "`default = 1`"))]
        groups: BTreeMap<String, Group>,
        /// The name of a service of the kind `etcd` that remembers who holds what.
        #[schemars(extend("x-default" = "a file"))]
        etcd: Option<String>,
    },
    /// etcd with one member (package `etcd-server`).
    Etcd {},
    /// A registry of container images (package `docker-registry`).
    Registry {
        /// The folder of what it has, as another `docker-registry` left it. It is copied.
        #[schemars(extend("x-default" = "none: it is empty"))]
        images: Option<String>,
    },
    /// A load balancer (package `haproxy`).
    Balancer {
        /// Its `haproxy.cfg`. What must be there: `bind 127.0.0.1:${SERVICE.port}`.
        config: String,
    },
    /// Any program that stays in the foreground.
    Command {
        /// Program and arguments. The program is looked for as a shell does, or from the folder of the scenario file if it has a
        /// slash.
        command: Vec<String>,
        /// Files by name, made in the private folder `${SERVICE.folder}` in which the program is started.
        #[serde(default)]
        files: BTreeMap<String, String>,
        /// The path that is asked for over HTTP until the answer has a status below 400.
        #[schemars(extend("x-default" = "ready when `${SERVICE.port}` takes connections"))]
        ready: Option<String>,
    },
    /// A client that asks without a pause from its start on, each time over a new connection. See the step `expect-answers`.
    Client {
        /// What it asks for: `http://127.0.0.1:${SERVICE.port}/path`.
        url: String,
        /// The longest that one answer may take, in seconds.
        #[schemars(extend("x-default" = "10"))]
        patience: Option<u32>,
    },
}

/// What a text must be like. All that is given must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The exit status of a command, or the status of an HTTP answer.
    #[schemars(extend("x-default" = "0, or 200"))]
    pub status: Option<i32>,
    /// The text without white space around it.
    pub is: Option<String>,
    /// What the text is not.
    pub is_not: Option<String>,
    /// Texts that are in it.
    #[serde(default)]
    pub contains: Vec<String>,
    /// Texts that are not in it.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Values in it, read as JSON, by JSON pointer (RFC 6901): `"/state/phase" = "idle"`.
    #[serde(default)]
    pub json: BTreeMap<String, Value>,
    /// JSON pointers to nothing.
    #[serde(default)]
    pub json_lacks: Vec<String>,
}

/// Keys that every step may have.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Common {
    /// What the step is for; shown while it runs, and in reports.
    #[schemars(extend("x-default" = "what it does, in short"))]
    pub about: Option<String>,
    /// The machine, or a list of machines one after the other.
    #[schemars(extend("x-default" = "all machines"))]
    pub on: Option<Names>,
    /// The limit in seconds on two idle cores of 2024 under emulation. On a slower or busier host it is as much longer.
    #[schemars(extend("x-default" = "60; to log in or to be off 120; to reboot or to hear from a guest 300"))]
    pub within: Option<u32>,
}

/// One name or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// Where on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The partition table at the beginning.
    Table,
    /// Its copy at the end.
    BackupTable,
    /// The EFI system partition.
    Esp,
    /// The root of slot A.
    RootA,
    /// The hash tree of slot A.
    VerityA,
    /// The signed root hash of slot A.
    SignatureA,
    /// The root of slot B.
    RootB,
    /// The hash tree of slot B.
    VerityB,
    /// The signed root hash of slot B.
    SignatureB,
    /// The state partition.
    State,
    /// The disk as a whole.
    Disk,
}

/// What is done to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// All their bits are flipped; a second time puts them right.
    #[default]
    Flip,
    /// They become zero.
    Zero,
}

/// One step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Switches the machine on: the first time with a copy of its image, then with the disk as it was left.
    Boot {},
    /// Waits until root can log in by ssh, with a key that the guest gets as a credential.
    WaitForLogin {},
    /// Waits for a text on the console, after the one that was waited for last in this boot. A boot begins with `boot`, `reset`, and
    /// the reboot that `wait-for-reboot` has waited for.
    WaitForText {
        /// The text.
        text: String,
    },
    /// Runs a command in the guest again and again until it ends as expected. A guest that cannot be reached is "not yet".
    WaitUntil {
        /// The command for the guest's shell.
        command: String,
        /// How it must end.
        #[serde(default)]
        expect: Expectation,
    },
    /// Runs a command in the guest once.
    Run {
        /// The command for the guest's shell.
        command: String,
        /// How it must end.
        #[serde(default)]
        expect: Expectation,
        /// Keeps what it wrote, without white space around it, as `${MACHINE.NAME}` for later steps.
        save: Option<String>,
    },
    /// Waits until the machine has been reset once more than earlier steps have waited for or caused.
    WaitForReboot {},
    /// Waits until the machine is off by itself.
    WaitUntilOff {},
    /// Shuts the guest down in order: as root does who is logged in, or by the power button when nobody can log in.
    ShutDown {},
    /// Cuts the power.
    CutPower {},
    /// Pushes the reset button.
    Reset {},
    /// From now on a kernel panic, an emergency shell or a loader that fails does not end the waiting.
    ExpectCrashes {},
    /// Compares a text, such as one kept by `run`.
    Expect {
        /// The text.
        text: String,
        /// What it must be like.
        expect: Expectation,
    },
    /// Looks at the disk of a machine that is off.
    ExpectDisk {
        /// What the labels of slot A say: a version, or `empty`.
        a: Option<String>,
        /// What the labels of slot B say.
        b: Option<String>,
        /// Slots, `a` or `b`, of which every block matches the root hash that their partitions name.
        #[serde(default)]
        intact: Vec<String>,
        /// Slots, `a` or `b`, of which one does not.
        #[serde(default)]
        damaged: Vec<String>,
        /// The file names of the boot entries in the order in which the loader tries them.
        entries: Option<Vec<String>>,
        /// Whether the partition table at the beginning of the disk is valid.
        table: Option<bool>,
    },
    /// Damages the disk, of a machine that is on or off.
    Corrupt {
        /// What `offset` counts from. Partitions are found by either copy of the partition table.
        #[schemars(extend("x-default" = "disk"))]
        place: Option<Place>,
        /// A file of the EFI system partition, as `/EFI/Linux/x.efi`, instead of `place`.
        file: Option<String>,
        /// The first byte. A negative number counts from the end of `place`.
        #[serde(default)]
        #[schemars(extend("x-default" = "0"))]
        offset: i64,
        /// How many bytes.
        #[serde(default = "one")]
        #[schemars(extend("x-default" = "1"))]
        bytes: u64,
        /// What becomes of them.
        #[serde(default)]
        #[schemars(extend("x-default" = "flip"))]
        damage: Damage,
    },
    /// Unplugs the machine's network.
    PauseNetwork {},
    /// Plugs it in again.
    ResumeNetwork {},
    /// Makes the disk larger, of a machine that is on or off.
    GrowDisk {
        /// By how many MiB.
        mib: u64,
    },
    /// Sets the hardware clock for the next boot. In a running guest, `run` the guest's own `date`.
    SetClock {
        /// The time in UTC: `"2030-01-01T00:00:00"`.
        to: String,
    },
    /// Takes a picture of the machine's display. One that is still on at the end, or was when a step failed, has one in any case.
    Picture {
        /// The name of the file, without `.png`.
        name: String,
    },
    /// Offers a release in the channel `stable`, made if the repository does not have it yet.
    Publish {
        /// The service of kind `releases`.
        #[schemars(extend("x-default" = "the only one"))]
        service: Option<String>,
        /// A version whose image is in the folder given by `--work`.
        #[schemars(with = "Option<String>", extend("x-default" = "none"))]
        release: Option<Version>,
        /// Instead of `release`, the description (`.json`) that the builder left beside an image.
        #[schemars(extend("x-default" = "none"))]
        description: Option<PathBuf>,
        /// The version from which there is a difference, in the folder given by `--work`.
        #[schemars(with = "Option<String>", extend("x-default" = "none: a full payload alone"))]
        base: Option<Version>,
        /// What `release` and `base` are versions of.
        #[schemars(with = "Option<String>", extend("x-default" = "twinhull-server"))]
        product: Option<Product>,
    },
    /// Ends a service.
    Stop {
        /// Its name.
        service: String,
    },
    /// Starts a service that was stopped, where it was before.
    Start {
        /// Its name.
        service: String,
    },
    /// Sends an HTTP request to a service.
    Request {
        /// Its name.
        service: String,
        /// The path.
        path: String,
        /// JSON to send by POST.
        #[schemars(extend("x-default" = "none: a GET"))]
        body: Option<Value>,
        /// What the answer must be like.
        #[serde(default)]
        expect: Expectation,
        /// Whether to ask again and again until the answer is as expected.
        #[serde(default)]
        #[schemars(extend("x-default" = "false"))]
        repeat: bool,
    },
    /// Looks at what a client has been answered so far, which must go on.
    ExpectAnswers {
        /// The service of kind `client`.
        service: String,
        /// The most requests that may have failed: no answer, or one with a status of 400 or more.
        #[serde(default)]
        #[schemars(extend("x-default" = "0"))]
        failed: u64,
        /// How many answers there must be at least.
        #[serde(default = "one")]
        #[schemars(extend("x-default" = "1"))]
        answered: u64,
    },
}

fn one() -> u64 {
    1
}
