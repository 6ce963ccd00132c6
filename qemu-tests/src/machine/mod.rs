//! One virtual machine: started, watched, reached, switched off.

pub mod arguments;
pub mod credential;
pub mod guest;
pub mod monitor;
mod patience;
mod tpm;
mod waiting;

use std::cell::Cell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use twinhull_layout::Arch;

use self::arguments::{Arguments, Bus};
use self::credential::Credential;
use self::monitor::Monitor;
use self::patience::{Patience, Starvation};
use self::tpm::Tpm;
use crate::accelerator::Accelerator;
use crate::console::Console;
use crate::error::{ConsoleTail, Error, Result};
use crate::firmware::Firmware;
use crate::pace::Pace;
use crate::ports;
use crate::process::Process;
use crate::run_folder::RunFolder;
use crate::tools;

/// How many lines of the console an error shows.
const TAIL: usize = 20;

/// QEMU's event of a reset, whoever caused it.
const RESET: &str = "RESET";

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name in messages and file names.
    pub name: String,
    /// What it is.
    pub arch: Arch,
    /// How its processors are run.
    pub accelerator: Accelerator,
    /// How patient to be.
    pub pace: Pace,
    /// What it starts from.
    pub firmware: Firmware,
    /// Its disk, a raw file that it writes to; without one it only shows its firmware.
    pub disk: Option<PathBuf>,
    /// What connects the disk.
    pub bus: Bus,
    /// Where all that it writes to its disk is recorded, too; an empty file that is there.
    pub write_log: Option<PathBuf>,
    /// What the guest is told.
    pub credentials: Vec<Credential>,
    /// The private key that may log in as root; without one the machine has no network.
    pub key: Option<PathBuf>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Number of processors.
    pub processors: u32,
    /// Where on our loopback other ports of the guest are reached.
    pub forwards: Vec<(SocketAddr, u16)>,
    /// Whether it has a display, for [`Machine::picture`].
    pub display: bool,
    /// What its hardware clock shows at power-on, in UTC, if not the host's time.
    pub clock: Option<jiff::civil::DateTime>,
    /// Whether it has a TPM (2.0, made for it and gone with it).
    pub tpm: bool,
    /// Where a private folder for its sockets and variable store is made. Its path must be short: a socket's has 108 bytes.
    pub folder: PathBuf,
    /// Whether its console log goes on with that of an earlier boot.
    pub continued: bool,
    /// Where `NAME.console.log` and `NAME.qemu.log` are written.
    pub logs: PathBuf,
}

impl Plan {
    /// A machine with 1536 MiB that has nothing more than its firmware.
    pub fn new(name: String, firmware: Firmware, arch: Arch, accelerator: Accelerator, folders: &RunFolder) -> Self {
        Self {
            name,
            arch,
            accelerator,
            pace: Pace::measured(Duration::ZERO),
            firmware,
            disk: None,
            bus: Bus::default(),
            write_log: None,
            credentials: Vec::new(),
            key: None,
            memory_mib: 1536,
            processors: accelerator.processors(),
            forwards: Vec::new(),
            display: false,
            clock: None,
            tpm: false,
            folder: folders.sockets().to_owned(),
            continued: false,
            logs: folders.logs().to_owned(),
        }
    }
}

/// A machine that runs until it is dropped, switched off or ends by itself.
#[derive(Debug)]
pub struct Machine {
    plan: Plan,
    process: Process,
    starvation: Starvation,
    monitor: Monitor,
    console: Arc<Console>,
    console_log: PathBuf,
    console_reader: JoinHandle<()>,
    ssh: Option<SocketAddr>,
    crashes_expected: Cell<bool>,
    session: Rc<tokio::sync::Mutex<Option<guest::Session>>>,
    _tpm: Option<Tpm>,
    // Last, since all of the above have files in it.
    folder: TempDir,
}

impl Machine {
    /// Starts it; on return its processors run and its console is being recorded.
    pub async fn start(plan: Plan) -> Result<Self> {
        let qemu = tools::qemu(plan.arch).await?;
        // Its name is short whatever the machine is called.
        let folder = tempfile::Builder::new()
            .prefix("")
            .tempdir_in(&plan.folder)
            .map_err(|source| Error::file("make a folder for a machine in", &plan.folder, source))?;
        let at = |name: &str| folder.path().join(name);
        let variables = at("vars");
        std::fs::copy(&plan.firmware.variables, &variables)
            .map_err(|source| Error::file("copy the firmware's variables to", &variables, source))?;
        let console_socket = at("console");
        let monitor_socket = at("monitor");
        let consoles = listen(&console_socket)?;
        let monitors = listen(&monitor_socket)?;
        let tpm = if plan.tpm {
            Some(Tpm::start(&plan, folder.path()).await?)
        } else {
            None
        };
        let ssh = plan.key.as_ref().map(|_| ports::free()).transpose()?;
        let line = Arguments {
            arch: plan.arch,
            accelerator: plan.accelerator,
            processors: plan.processors,
            memory_mib: plan.memory_mib,
            firmware_code: &plan.firmware.code,
            secure: plan.firmware.secure,
            firmware_variables: &variables,
            disk: plan.disk.as_deref(),
            bus: plan.bus,
            write_log: plan.write_log.as_deref(),
            ssh,
            forwards: &plan.forwards,
            display: plan.display,
            clock: plan.clock,
            tpm: tpm.as_ref().map(Tpm::socket),
            credentials: &plan.credentials,
            console_socket: &console_socket,
            monitor_socket: &monitor_socket,
        }
        .command_line();
        let log = |kind: &str| plan.logs.join(format!("{}.{kind}.log", plan.name));
        let qemu_log = log("qemu");
        let console_log = log("console");
        let recording = std::fs::File::options()
            .create(true)
            .write(true)
            .append(plan.continued)
            .truncate(!plan.continued)
            .open(&console_log)
            .map_err(|source| Error::file("create the console log", &console_log, source))?;
        let process = Process::start(&qemu, line, &qemu_log)?;
        let console = Arc::new(Console::default());
        let position = {
            let console = Arc::clone(&console);
            move || console.position()
        };
        let (stream, monitor) = tokio::select! {
            // An end of QEMU also breaks its connections, but tells more.
            biased;
            status = process.wait() => return Err(ended_early(status, &qemu_log)),
            connected = connect(&consoles, &monitors, position, plan.pace.limit(30)) => match connected {
                Ok(both) => both,
                Err(error) => {
                    return Err(match tokio::time::timeout(Duration::from_secs(2), process.wait()).await {
                        Ok(status) => ended_early(status, &qemu_log),
                        Err(_) => error,
                    });
                }
            },
        };
        let console_reader = tokio::spawn(record(stream, Arc::clone(&console), recording));
        Ok(Self {
            plan,
            starvation: Starvation::of(process.id()),
            process,
            monitor,
            console,
            console_log,
            console_reader,
            ssh,
            crashes_expected: Cell::new(false),
            session: Rc::default(),
            _tpm: tpm,
            folder,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// What it has written on its console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Its disk.
    pub fn disk(&self) -> Option<&Path> {
        self.plan.disk.as_deref()
    }

    /// A limit of `seconds` on the reference machine, scaled to this one.
    pub fn limit(&self, seconds: u32) -> Duration {
        self.plan.pace.limit(seconds)
    }

    /// How long it was kept from running by other work of the host.
    pub fn starved(&self) -> Duration {
        self.starvation.lost()
    }

    /// How often it has been reset, by itself, its watchdog or [`Machine::reset`].
    pub fn resets(&self) -> usize {
        self.monitor.happened(RESET).len()
    }

    /// Where on the console the text of the boot after reset `number` begins; the first reset is 0. `None` if it was not reset
    /// so often.
    pub fn boot_after(&self, number: usize) -> Option<u64> {
        self.monitor.happened(RESET).get(number).copied()
    }

    /// The id of the process that runs it.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Bytes that it has read from its disk since power-on.
    pub(crate) async fn bytes_read(&self) -> Result<u64> {
        let answer = self.monitor.ask("query-blockstats").await?;
        let disks = answer.as_array().into_iter().flatten();
        let mut disk = disks.filter(|disk| disk["device"] == "disk");
        let read = disk.next().and_then(|disk| disk.pointer("/stats/rd_bytes")?.as_u64());
        read.ok_or_else(|| Error::Monitor {
            command: "query-blockstats".to_owned(),
            reason: format!("no disk in {answer}"),
        })
    }

    /// From now on a panic is part of the plan: waiting goes on after one.
    pub fn expect_crashes(&self) {
        self.crashes_expected.set(true);
    }

    /// Pushes the reset button.
    pub async fn reset(&self) -> Result<()> {
        self.monitor.ask("system_reset").await.map(drop)
    }

    /// Unplugs its network, or plugs it in again. While it is unplugged, nothing can be run in the guest.
    pub async fn set_network(&self, plugged: bool) -> Result<()> {
        let link = json!({ "name": "net", "up": plugged });
        self.monitor.ask_with("set_link", link).await.map(drop)
    }

    /// Makes its disk larger while it runs: `size` in bytes, a multiple of 512. A SATA disk is not told to the guest.
    pub async fn grow_disk(&self, size: u64) -> Result<()> {
        let resize = json!({ "device": "disk", "size": size });
        self.monitor.ask_with("block_resize", resize).await.map(drop)
    }

    /// Whether [`Machine::picture`] can be taken.
    pub fn has_display(&self) -> bool {
        self.plan.display
    }

    /// Writes what is on its display into the file `path`, as PNG.
    pub async fn picture(&self, path: &Path) -> Result<()> {
        let dump = json!({ "filename": path, "format": "png" });
        self.monitor.ask_with("screendump", dump).await.map(drop)
    }

    /// Whether QEMU still runs.
    pub fn is_on(&self) -> bool {
        self.process.status().is_none()
    }

    /// The last lines of its console.
    pub fn last_lines(&self) -> ConsoleTail {
        self.tail()
    }

    /// Cuts its power: nothing in the guest gets to do anything any more. Its disk can be looked at afterwards.
    pub async fn cut_power(&self) {
        self.process.kill().await;
    }

    /// Asks the guest to shut down in order, and waits until it has. Its disk can be looked at afterwards.
    pub async fn shut_down(&self) -> Result<()> {
        self.shut_down_within(self.limit(90)).await
    }

    /// As [`Machine::shut_down`], within `limit`.
    pub async fn shut_down_within(&self, limit: Duration) -> Result<()> {
        match self.run("systemctl --no-block poweroff").await {
            // Nobody can log in, or the guest has closed the connection before it answered: it goes down already, and the button
            // changes nothing. Whether it does is seen below.
            Err(Error::Unreachable(_)) => drop(self.monitor.ask("system_powerdown").await),
            answered => drop(answered?),
        }
        self.wait_until_off(limit).await
    }

    /// Waits until it is off. Its disk can be looked at afterwards.
    pub async fn wait_until_off(&self, limit: Duration) -> Result<()> {
        let patience = Patience::new(&self.starvation, limit);
        tokio::select! {
            _ = self.process.wait() => Ok(()),
            () = patience.over() => Err(self.timed_out("power-off", limit, "the machine still runs")),
        }
    }

    /// Waits until it is off, for whatever reason.
    pub async fn ended(&self) {
        self.process.wait().await;
    }

    fn tail(&self) -> ConsoleTail {
        ConsoleTail {
            lines: self.console.tail(TAIL),
            log: self.console_log.clone(),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.console_reader.abort();
    }
}

fn listen(path: &Path) -> Result<UnixListener> {
    UnixListener::bind(path).map_err(|source| Error::file("listen on the socket", path, source))
}

/// Takes both connections that QEMU makes, and greets the monitor, which takes note of the `position` of each event.
async fn connect(
    consoles: &UnixListener,
    monitors: &UnixListener,
    position: impl Fn() -> u64 + Send + 'static,
    limit: Duration,
) -> Result<(UnixStream, Monitor)> {
    let failed = |reason: String| Error::Monitor {
        command: "connect".to_owned(),
        reason,
    };
    let both = async {
        let (console, _) = consoles.accept().await.map_err(|error| failed(error.to_string()))?;
        let (monitor, _) = monitors.accept().await.map_err(|error| failed(error.to_string()))?;
        Ok((console, Monitor::greet(monitor, position).await?))
    };
    let outcome = tokio::time::timeout(limit, both).await;
    outcome.map_err(|_| failed(format!("QEMU did not come up within {} s", limit.as_secs())))?
}

/// QEMU ended instead of running; its log says why.
fn ended_early(status: Option<ExitStatus>, log: &Path) -> Error {
    Error::Program {
        program: "QEMU".to_owned(),
        status: status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string()),
        output: tools::last_part(&std::fs::read(log).unwrap_or_default()),
    }
}

/// Copies the console to its log file and to whoever searches it, until QEMU ends.
async fn record(mut stream: UnixStream, console: Arc<Console>, mut log: std::fs::File) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        console.feed(&buffer[..read]);
        if log.write_all(&buffer[..read]).is_err() {
            tracing::warn!("the console log cannot be written; is the disk full?");
        }
    }
}
