//! What a scenario works with: its folders, its servers, its machines.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::process::Command;
use twinhull_layout::{Arch, Version};

use super::repository::Repository;
use super::runner::Options;
use super::seats::{Seat, Seats};
use crate::accelerator::{self, Accelerator};
use crate::artefacts::{Artefacts, Image};
use crate::error::{Error, Result};
use crate::firmware::Firmware;
use crate::login_key;
use crate::machine::arguments::Bus;
use crate::machine::credential::Credential;
use crate::machine::{Machine, Plan};
use crate::pace::Pace;
use crate::run_folder::RunFolder;
use crate::servers::lock::LockServer;
use crate::servers::release::ReleaseServer;
use crate::servers::seen_by_guest;
use crate::steps::{Board, Steps};
use crate::tools;

/// Where hosts keep what their site configures.
const SITE_FILE: &str = "/etc/twinhull-updater/config.d/50-site.toml";

/// What a spared host is told: a login opens no session, with a service manager of its own, which takes an emulated guest eight seconds;
/// and there are no time servers, for whose names it would ask a name server that never answers.
const SPARED: [(&str, &str); 2] = [
    ("/etc/ssh/sshd_config.d/50-site.conf", "UsePAM no\n"),
    (
        "/etc/systemd/timesyncd.conf.d/50-site.conf",
        "[Time]\nNTP=\nFallbackNTP=\n",
    ),
];

/// What a guest is asked when something went wrong: its journal over all boots, and what its agent thinks.
const COLLECT: &str = "twinhull-updater status; journalctl --no-pager --output short-precise --lines 3000";

/// Memory of a host, in MiB, where nothing else is said.
pub(super) const MEMORY: u32 = 1536;

/// What an emulator needs beside the memory of its guest, in MiB: translated code above all.
pub(super) const OVERHEAD: u32 = 512;

/// What such a host takes, in MiB.
pub(super) const HOST_MIB: u32 = MEMORY + OVERHEAD;

/// What all scenarios of a run share.
#[derive(Debug)]
pub struct Theatre {
    artefacts: Artefacts,
    engines: BTreeMap<Arch, Engine>,
    folders: RunFolder,
    key: PathBuf,
    public_key: String,
    keep: bool,
    power_cuts: u16,
    seats: Seats,
}

/// How processors of one architecture are run here.
#[derive(Debug, Clone, Copy)]
struct Engine {
    accelerator: Accelerator,
    pace: Pace,
}

impl Theatre {
    /// Checks the tools, proves the accelerator for each of `archs`, makes the folders and the key of this run.
    pub(super) async fn open(
        options: &Options,
        archs: impl IntoIterator<Item = Arch>,
        seats: Seats,
        board: &Board,
    ) -> Result<Self> {
        let folders = RunFolder::create(options.artefacts.work())?;
        let (key, public_key) = login_key::make(folders.sockets()).await?;
        let mut engines = BTreeMap::new();
        for arch in archs {
            if engines.contains_key(&arch) {
                continue;
            }
            tools::qemu(arch).await?;
            let proven = accelerator::prove(options.accelerator, arch, &folders).await?;
            let pace = Pace::measured(proven.firmware_boot);
            board.line(&proven.in_words(arch, pace));
            let accelerator = proven.accelerator;
            engines.insert(arch, Engine { accelerator, pace });
        }
        Ok(Self {
            artefacts: options.artefacts.clone(),
            engines,
            folders,
            key,
            public_key,
            keep: options.keep,
            power_cuts: options.power_cuts,
            seats,
        })
    }

    /// For one machine after another, of the architecture of the artefacts.
    ///
    /// # Errors
    /// A tool or a right is missing, or the accelerator does not prove itself.
    pub async fn for_one(options: &Options, board: &Board) -> Result<Self> {
        let seats = Seats::new(1, HOST_MIB);
        Self::open(options, [options.artefacts.arch()], seats, board).await
    }

    /// What runs side by side.
    pub(super) fn seats(&self) -> &Seats {
        &self.seats
    }

    fn engine(&self, arch: Arch) -> Result<Engine> {
        let engine = self.engines.get(&arch).copied();
        engine.ok_or_else(|| Error::Accelerator {
            accelerator: arch.to_string(),
            reason: "no machine of this architecture was planned in this run".to_owned(),
        })
    }

    /// How patient to be with everything that is not one machine: as with the slowest of them.
    fn pace(&self) -> Pace {
        let paces = self.engines.values().map(|engine| engine.pace);
        paces.fold(Pace::measured(std::time::Duration::ZERO), |slowest, pace| {
            if pace.factor() > slowest.factor() {
                pace
            } else {
                slowest
            }
        })
    }

    /// Where logs are.
    pub fn logs(&self) -> &Path {
        self.folders.logs()
    }

    /// Ends the run but leaves the disks; where they are.
    pub fn keep_disks(self) -> PathBuf {
        self.folders.keep_disks()
    }
}

/// How a host is set up by its site, as `50-site.toml` says it.
#[derive(Debug, Clone)]
pub struct Site {
    /// Base of the release repository, as the guest sees it.
    pub repository: String,
    /// Base of the lock server, as the guest sees it.
    pub lock: Option<String>,
    /// `lock`, `immediate`, `download-only` or `off`.
    pub strategy: &'static str,
    /// Whether the host is spared what no update needs and an emulated one takes seconds for: sessions for logins, time servers.
    pub spared: bool,
}

impl Site {
    /// What the host has before its services start.
    fn files(&self) -> Credential {
        let toml = self.toml();
        let mut files = vec![(SITE_FILE, toml.as_str())];
        if self.spared {
            files.extend(SPARED);
        }
        Credential::files(&files)
    }

    /// The file's text. Hosts under test look often, so that nobody waits for a poll.
    fn toml(&self) -> String {
        let Self {
            repository,
            lock,
            strategy,
            spared: _,
        } = self;
        let mut text =
            format!("[updates]\nrepository = \"{repository}\"\npoll_seconds = 5\nstrategy = \"{strategy}\"\n");
        if let Some(url) = lock {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "[lock]\nurl = \"{url}\"\ngroup = \"default\"\nretry_seconds = 5\n"
            );
        }
        text
    }
}

/// A machine of a scenario, before it is switched on.
#[derive(Debug)]
pub struct Host<'a> {
    /// Its name within the scenario.
    pub name: &'a str,
    /// Its disk, which it writes to.
    pub disk: PathBuf,
    /// Where all that it writes to its disk is recorded, too; an empty file that is there.
    pub write_log: Option<PathBuf>,
    /// How its agent is set up.
    pub site: Option<&'a Site>,
    /// What else it is told. `tmpfiles.extra` belongs to `site`, if there is one.
    pub credentials: Vec<Credential>,
    /// What it is made of.
    pub hardware: Hardware,
    /// Whether it was on before in this scenario.
    pub again: bool,
}

/// What a machine of a scenario is made of.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// Its architecture; that of the artefacts if not said.
    pub arch: Option<Arch>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Number of processors; by default what suits the accelerator.
    pub processors: Option<u32>,
    /// What connects the disk.
    pub bus: Bus,
    /// Whether it has a display.
    pub display: bool,
    /// Whether its firmware verifies what it starts.
    pub secure: bool,
    /// Whether it has a TPM.
    pub tpm: bool,
    /// Where on our loopback other ports of the guest are reached.
    pub forwards: Vec<(SocketAddr, u16)>,
    /// What its hardware clock shows at power-on, if not the host's time.
    pub clock: Option<jiff::civil::DateTime>,
}

impl Default for Hardware {
    fn default() -> Self {
        Self {
            arch: None,
            memory_mib: MEMORY,
            processors: None,
            bus: Bus::default(),
            display: false,
            secure: false,
            tpm: false,
            forwards: Vec::new(),
            clock: None,
        }
    }
}

impl Host<'_> {
    /// A machine `name` with this disk, told nothing but the key that may log in.
    pub fn new(name: &str, disk: PathBuf) -> Host<'_> {
        Host {
            name,
            disk,
            write_log: None,
            site: None,
            credentials: Vec::new(),
            hardware: Hardware::default(),
            again: false,
        }
    }
}

/// What one scenario works with.
#[derive(Debug)]
pub struct Stage {
    theatre: Rc<Theatre>,
    name: String,
    disks: PathBuf,
    logs: PathBuf,
    steps: Rc<Steps>,
    machines: RefCell<Vec<Rc<Machine>>>,
    counts: RefCell<BTreeMap<&'static str, u64>>,
}

impl Stage {
    /// Makes the folders of the scenario `name`, its logs empty.
    pub fn open(theatre: Rc<Theatre>, name: &str, board: &Board) -> Result<Self> {
        let disks = theatre.folders.disks().join(name);
        fs::create_dir_all(&disks).map_err(|source| Error::file("make the folder", &disks, source))?;
        let logs = theatre.folders.logs().join(name);
        // Logs of an earlier run would pass for this one's.
        drop(fs::remove_dir_all(&logs));
        fs::create_dir_all(&logs).map_err(|source| Error::file("make the folder", &logs, source))?;
        let steps = board.steps(name, logs.join("steps.log"));
        Ok(Self {
            theatre,
            name: name.to_owned(),
            disks,
            logs,
            steps,
            machines: RefCell::default(),
            counts: RefCell::default(),
        })
    }

    /// What is being done.
    pub fn steps(&self) -> &Rc<Steps> {
        &self.steps
    }

    /// Begins a step.
    pub fn step(&self, text: impl Into<String>) {
        self.steps.begin(text);
    }

    /// Adds to the figure `name` of the report.
    pub fn count(&self, name: &'static str, by: u64) {
        *self.counts.borrow_mut().entry(name).or_default() += by;
    }

    /// What was counted.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.borrow().clone()
    }

    /// The images and programs.
    pub fn artefacts(&self) -> &Artefacts {
        &self.theatre.artefacts
    }

    /// How many of the states that a power cut can leave are booted for real.
    pub fn power_cuts(&self) -> u16 {
        self.theatre.power_cuts
    }

    /// Room for one more machine than this scenario has, if there is some.
    pub(super) fn spare_seat(&self) -> Option<Seat> {
        self.theatre.seats.spare(HOST_MIB)
    }

    /// The image of a version.
    pub fn image(&self, text: &str) -> Result<Image> {
        self.theatre.artefacts.image(&version(text)?)
    }

    /// A limit of `seconds` on the reference machine, scaled to this one.
    pub fn limit(&self, seconds: u32) -> std::time::Duration {
        self.theatre.pace().limit(seconds)
    }

    /// Where this scenario's logs are.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Where the release server writes what it was asked for.
    pub fn release_log(&self) -> PathBuf {
        self.logs.join("release.log")
    }

    /// A private copy of the signed repository.
    pub async fn repository(&self, name: &str) -> Result<Repository> {
        let folder = self.disks.join(name);
        Repository::copy(&self.theatre.artefacts, &folder, &self.logs.join("publish.log")).await
    }

    /// Where an empty repository or another file of this scenario can be made.
    pub fn folder(&self) -> &Path {
        &self.disks
    }

    /// Serves a repository.
    pub async fn serve(&self, repository: &Repository) -> Result<ReleaseServer> {
        ReleaseServer::start(repository.folder(), &self.release_log()).await
    }

    /// A lock server of its own, whose slot is free.
    pub async fn lock_server(&self) -> Result<LockServer> {
        let program = self.theatre.artefacts.program("twinhull-lock")?;
        LockServer::start(&program, &self.disks, &self.logs.join("lock.log")).await
    }

    /// The usual site: this repository, this lock.
    pub fn site(&self, releases: &ReleaseServer, lock: Option<&LockServer>, strategy: &'static str) -> Site {
        Site {
            repository: seen_by_guest(releases.address()),
            lock: lock.map(|lock| seen_by_guest(lock.address())),
            strategy,
            spared: false,
        }
    }

    /// Gives a machine a private copy of an image and switches it on.
    pub async fn boot(&self, image: &Image, site: Option<&Site>) -> Result<Rc<Machine>> {
        let disk = self.disks.join("host.raw");
        copy_sparse(&image.disk, &disk).await?;
        let host = Host::new("host", disk);
        self.switch_on(Host { site, ..host }).await
    }

    /// Switches a machine on.
    ///
    /// The stage keeps hold of it, so that a scenario that fails leaves a machine that can still be asked why.
    pub async fn switch_on(&self, host: Host<'_>) -> Result<Rc<Machine>> {
        let mut credentials = vec![Credential::root_key(&self.theatre.public_key)];
        if let Some(site) = host.site {
            credentials.push(site.files());
        }
        credentials.extend(host.credentials);
        let theatre = &self.theatre;
        let Hardware {
            arch,
            memory_mib,
            processors,
            bus,
            display,
            secure,
            tpm,
            forwards,
            clock,
        } = host.hardware;
        let arch = arch.unwrap_or(theatre.artefacts.arch());
        let firmware = if secure {
            Firmware::find_secure(arch)?
        } else {
            Firmware::find(arch)?
        };
        let Engine { accelerator, pace } = theatre.engine(arch)?;
        // In messages, and in the names of logs.
        let name = format!("{}-{}", self.name, host.name);
        let machine = Machine::start(Plan {
            pace,
            disk: Some(host.disk),
            bus,
            write_log: host.write_log,
            credentials,
            key: Some(theatre.key.clone()),
            memory_mib,
            processors: processors.unwrap_or_else(|| accelerator.processors()),
            forwards,
            display,
            clock,
            tpm,
            continued: host.again,
            logs: self.logs.clone(),
            ..Plan::new(name, firmware, arch, accelerator, &theatre.folders)
        })
        .await?;
        let machine = Rc::new(machine);
        self.machines.borrow_mut().push(Rc::clone(&machine));
        Ok(machine)
    }

    /// Lets go of a machine that is off.
    pub(super) fn forget(&self, machine: &Rc<Machine>) {
        self.machines.borrow_mut().retain(|known| !Rc::ptr_eq(known, machine));
    }

    /// A short path for a socket of a server, another one each time.
    pub(super) fn socket(&self) -> PathBuf {
        self.theatre.folders.socket()
    }

    /// The public half of the key with which the tests log in.
    pub fn public_key(&self) -> &str {
        &self.theatre.public_key
    }

    /// As [`Stage::boot`], with a TPM and firmware that verifies what it starts and has no keys yet.
    pub async fn boot_secure(&self, image: &Image) -> Result<Rc<Machine>> {
        let disk = self.disks.join("host.raw");
        copy_sparse(&image.disk, &disk).await?;
        let hardware = Hardware {
            secure: true,
            tpm: true,
            ..Hardware::default()
        };
        let host = Host::new("host", disk);
        self.switch_on(Host { hardware, ..host }).await
    }

    /// Asks every machine that still runs for its journal and its agent's status, and keeps them with the logs.
    pub(crate) async fn collect(&self) {
        let machines = self.machines.borrow().clone();
        for machine in machines {
            // A guest that cannot answer is often why there is something to collect: its console has to do.
            let Ok(output) = machine.try_run_within(COLLECT, self.limit(30)).await else {
                continue;
            };
            let path = self.logs.join(format!("{}.journal.log", machine.name()));
            if let Err(error) = fs::write(&path, output.stdout) {
                tracing::warn!(log = %path.display(), "the journal cannot be written: {error}");
            }
        }
    }

    /// Keeps the reason of a failure with the logs.
    pub(super) fn write_failure(&self, failure: &str) {
        let path = self.logs.join("failure.log");
        if let Err(error) = fs::write(&path, format!("{failure}\n")) {
            tracing::warn!(log = %path.display(), "the failure cannot be written: {error}");
        }
    }

    /// Switches everything off and gives the room of the disks back.
    pub(super) fn clear(&self) {
        self.machines.borrow_mut().clear();
        if !self.theatre.keep {
            // What is left goes with the folder of the run.
            drop(fs::remove_dir_all(&self.disks));
        }
    }
}

/// A version written in the code of a scenario.
pub(super) fn version(text: &str) -> Result<Version> {
    text.parse().map_err(|error| Error::Expectation(format!("{error}")))
}

/// Copies a disk image without filling its holes, sharing blocks where the file system can.
pub async fn copy_sparse(from: &Path, to: &Path) -> Result<()> {
    let mut copy = Command::new(tools::program("cp")?);
    copy.args(["--sparse=always", "--reflink=auto", "--"]).arg(from).arg(to);
    tools::output(&mut copy).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_file_is_what_the_agent_reads() {
        let site = Site {
            repository: "http://10.0.2.2:1/".to_owned(),
            lock: Some("http://10.0.2.2:2/".to_owned()),
            strategy: "lock",
            spared: false,
        };
        assert_eq!(
            site.toml(),
            "[updates]\nrepository = \"http://10.0.2.2:1/\"\npoll_seconds = 5\nstrategy = \"lock\"\n\
             [lock]\nurl = \"http://10.0.2.2:2/\"\ngroup = \"default\"\nretry_seconds = 5\n"
        );
    }
}
