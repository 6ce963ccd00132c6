//! The effects on a real host.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Instant;

use tokio::runtime::Handle;
use twinhull_layout::paths::ENTRIES;
use twinhull_layout::table::Flaw;
use twinhull_layout::{BootEntry, Product, Version};
use twinhull_trust::{Client, SystemClock, TrustError};

use super::confine::confined;
use super::{Hands, choice, reboot};
use crate::config::{BeyondMaxFetch, Config, Updates};
use crate::gates::{self, Observed};
use crate::health;
use crate::hooks::Hooks;
use crate::host::{BootDisk, BootDiskError, IdError, Running, RunningError, counted_boot, host_id};
use crate::http::{Http, HttpError, HttpRepository};
use crate::install::{self, InstallError, MaxFetch, Progress, our_entries};
use crate::io::{HostIo, Io, OpenError};
use crate::lock::{FleetLock, Outcome, Report};
use crate::machine::{Grant, Installed, Now, Offer, Problem, RecordKind, Seen};
use crate::paths::Paths;
use crate::scrub::{self, Finding, ScrubError};

/// Longest trusted root that is read, in bytes.
const MAX_ROOT: u64 = 1024 * 1024;

/// The agent on this host.
#[derive(Debug)]
pub struct Agent {
    /// Where everything is.
    pub paths: Paths,
    /// What runs.
    pub running: Running,
    config: Config,
    disk: BootDisk,
    lock: Option<FleetLock>,
    runtime: Handle,
    started: Instant,
}

/// The agent cannot work on this host.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The host does not say what it runs.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// The boot disk cannot be told.
    #[error(transparent)]
    Disk(#[from] BootDiskError),
    /// The host has no id to ask for the lock with.
    #[error(transparent)]
    Id(#[from] IdError),
    /// There is no HTTP client.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The configuration is for another product.
    #[error(
        "updates.product is {configured}, but this host runs {running}: changing the product takes a new installation"
    )]
    Product {
        /// From the configuration.
        configured: Product,
        /// From os-release.
        running: Product,
    },
}

impl Agent {
    /// Looks at the host once; what it finds cannot change before the next boot.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn new(paths: Paths, config: Config, runtime: Handle) -> Result<Self, AgentError> {
        let running = Running::read(&paths)?;
        let configured = config.updates.as_ref().and_then(|updates| updates.product.as_ref());
        if let Some(configured) = configured.filter(|configured| **configured != running.product) {
            return Err(AgentError::Product {
                configured: configured.clone(),
                running: running.product,
            });
        }
        let lock = match &config.lock {
            None => None,
            Some(lock) => {
                let http = Http::for_commands(runtime.clone(), &config.http)?;
                Some(FleetLock::new(
                    http,
                    lock.url.clone(),
                    lock.group.clone(),
                    host_id(&paths)?,
                ))
            }
        };
        Ok(Self {
            disk: BootDisk::find(&paths)?,
            paths,
            running,
            config,
            lock,
            runtime,
            started: Instant::now(),
        })
    }

    /// The configuration it works by.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same agent with another configuration; on an error nothing has changed.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn reconfigure(&mut self, config: Config) -> Result<(), AgentError> {
        let started = self.started;
        *self = Self::new(self.paths.clone(), config, self.runtime.clone())?;
        // The times of the state machine count from there.
        self.started = started;
        Ok(())
    }

    /// What the lock server is told with every request.
    fn report(&self) -> Report<'_> {
        Report {
            version: Some(&self.running.version),
            zone: self.config.lock.as_ref().and_then(|lock| lock.zone.as_deref()),
            ..Report::default()
        }
    }

    /// The boot disk, to read only.
    ///
    /// # Errors
    /// It cannot be opened; only root may.
    pub fn open_to_read(&self) -> Result<HostIo, OpenError> {
        HostIo::open_to_read(&self.disk, &self.paths)
    }

    /// The boot disk.
    ///
    /// # Errors
    /// It cannot be opened; only root may.
    pub fn open(&self) -> Result<HostIo, OpenError> {
        HostIo::open(&self.disk, &self.paths)
    }

    /// All that an install may write to.
    fn writes_to(&self) -> [PathBuf; 3] {
        [self.disk.device.clone(), self.paths.esp(), self.paths.state()]
    }

    /// Looks at the files that start this host, and puts right what has rotted. Gives what there is to tell about it; nothing when
    /// they could not be looked at.
    pub fn scrub(&self) -> Option<Vec<RecordKind>> {
        // Also mounts the EFI system partition, and makes sure that it is the one of the boot disk.
        if let Err(error) = self
            .open_to_read()
            .map_err(io::Error::other)
            .and_then(|io| io.entries())
        {
            tracing::warn!("cannot look at the files that start this host: {error}");
            return None;
        }
        let (esp, copies) = (self.paths.esp(), self.paths.boot_copies());
        let (files, table) = confined(&self.writes_to(), &mut |()| {}, |_| {
            (scrub::scrub(&esp, &copies), self.mend_table())
        });
        let files = files.into_iter().filter_map(|(file, found)| told(file, found));
        Some(files.chain(table).collect())
    }

    /// Puts a partition table right of which one copy has rotted. Gives what there is to tell about it.
    fn mend_table(&self) -> Option<RecordKind> {
        let mended = self
            .open()
            .map_err(|error| error.to_string())
            .and_then(|io| install::mend_table(&io).map_err(|error| error.to_string()));
        match mended {
            Ok(None) => None,
            Ok(Some(Flaw::Primary)) => Some(RecordKind::MendedTable { copy: 1 }),
            Ok(Some(Flaw::Backup)) => Some(RecordKind::MendedTable { copy: 2 }),
            Ok(Some(Flaw::NotAtTheEnd)) => {
                tracing::info!("the disk has grown: the second copy of the partition table is at its end again");
                None
            }
            Err(error) => {
                tracing::error!("cannot look after the partition table: {error}");
                None
            }
        }
    }

    fn hooks(&self) -> Hooks {
        Hooks {
            folders: self.paths.hook_folders(),
            journal: self.paths.hook_journal(),
            limit: self.config.hooks.limit,
            must_succeed: self.config.hooks.must_succeed,
        }
    }

    fn updates(&self) -> Result<&Updates, Problem> {
        let missing = || Problem::new("no-repository", "no repository is configured");
        self.config.updates.as_ref().ok_or_else(missing)
    }

    fn repository(&self) -> Result<HttpRepository, Problem> {
        let http = Http::for_downloads(self.runtime.clone(), &self.config.http)
            .map_err(|error| Problem::new("network", error))?;
        let updates = self.updates()?;
        Ok(
            HttpRepository::new(http, updates.repository.clone()).with_max_fetch(MaxFetch {
                bytes: updates.max_fetch,
                go_on: updates.beyond_max_fetch == BeyondMaxFetch::Continue,
            }),
        )
    }

    fn client(&self) -> Result<Client, InstallError> {
        Ok(Client::open(&self.paths.metadata(), &trusted_root(&self.paths)?)?)
    }

    fn offer(&self) -> Result<Offer, Problem> {
        let updates = self.updates()?;
        let mut repository = self.repository()?;
        let asked = self.client().and_then(|mut client| {
            client.refresh(&mut repository, &SystemClock)?;
            Ok(client.channel(&mut repository, &SystemClock, &self.running.product, &updates.channel)?)
        });
        let channel = asked.map_err(|error| error.problem())?;
        let offer = channel.offer(self.running.arch).ok_or_else(|| {
            Problem::new(
                "no-release",
                format!("channel {} offers nothing for {}", updates.channel, self.running.arch),
            )
        })?;
        let id = host_id(&self.paths).map_err(|error| Problem::new("no-id", error))?;
        Ok(choice::offer(
            &offer,
            updates,
            &id,
            &self.running.version,
            jiff::Timestamp::now(),
        ))
    }

    fn install_release(&self, version: &Version, watch: &mut dyn FnMut(Progress)) -> Result<Installed, Problem> {
        let mut repository = self.repository()?;
        let io = self.open().map_err(|error| Problem::new("disk", error))?;
        let installed = self.client().and_then(|mut client| {
            client.refresh(&mut repository, &SystemClock)?;
            let running = &self.running;
            let release = client.release(&mut repository, &SystemClock, &running.product, running.arch, version)?;
            install::install(&io, &mut repository, running, &release, watch)
        });
        installed.map_err(|error| error.problem())
    }

    /// Keeps a copy of the kernel image of `version`, which was just compared with what was signed. The release is installed,
    /// whatever becomes of that.
    fn keep_copy(&self, entry: &BootEntry) {
        let path = format!("{ENTRIES}/{entry}");
        if let Err(error) = scrub::file(&self.paths.esp(), &self.paths.boot_copies(), &path) {
            tracing::warn!("no copy of {path} is kept, and it cannot be mended should it rot: {error}");
        }
    }
}

/// What there is to tell of a file that starts this host.
fn told(file: String, found: Result<Finding, ScrubError>) -> Option<RecordKind> {
    match found {
        Ok(Finding::Whole | Finding::New) => None,
        Ok(Finding::Changed) => {
            tracing::info!("{file} on the EFI system partition was changed; it is taken as it is now");
            None
        }
        Ok(Finding::Mended { blocks }) => Some(RecordKind::Mended { file, blocks }),
        Ok(Finding::Damaged { why: reason }) => Some(RecordKind::Rotten { file, reason }),
        Err(error) => {
            tracing::warn!("cannot look at {file} on the EFI system partition: {error}");
            None
        }
    }
}

/// The bytes of the trusted root of the repository.
///
/// # Errors
/// [`TrustError::TrustedRoot`].
pub fn trusted_root(paths: &Paths) -> Result<Vec<u8>, TrustError> {
    let path = paths.trusted_root();
    let mut root = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_ROOT).read_to_end(&mut root))
        .map_err(|error| TrustError::TrustedRoot {
            why: format!("cannot read {}: {error}", path.display()),
        })?;
    Ok(root)
}

impl Hands for Agent {
    fn now(&self) -> Now {
        Now {
            wall: jiff::Timestamp::now(),
            uptime: self.started.elapsed(),
            // Nothing secret depends on it.
            dice: uuid::Uuid::new_v4().as_fields().0,
        }
    }

    fn look(&mut self) -> Result<Seen, Problem> {
        let io = self.open_to_read().map_err(|error| Problem::new("disk", error))?;
        let unhealthy = health::read_report::<health::Report>(&self.paths.health_report())
            .map(|report| (report.version, report.reasons.join("; ")));
        match our_entries(&io, &self.running) {
            Ok(entries) => Ok(Seen {
                running: self.running.version.clone(),
                trial: entries.on_trial(),
                aside: entries.set_aside(),
                others: entries.others,
                unhealthy,
            }),
            // Without the EFI system partition the firmware's word is the best there is: wait as long as it may be a trial.
            Err(error) if counted_boot(&self.paths).is_none() => {
                tracing::warn!("{error}");
                Ok(Seen {
                    running: self.running.version.clone(),
                    trial: false,
                    // A way back that was asked for is not forgotten because of that.
                    aside: true,
                    others: Vec::new(),
                    unhealthy,
                })
            }
            Err(error) => Err(error.problem()),
        }
    }

    fn check(&mut self) -> Result<Offer, Problem> {
        self.offer()
    }

    fn install(&mut self, version: &Version, watch: &mut dyn FnMut(Progress)) -> Result<Installed, Problem> {
        // What an earlier release left behind must not be held against this one.
        health::forget(&self.paths.health_report()).map_err(|error| Problem::new("state", error))?;
        confined(&self.writes_to(), watch, |watch| {
            // The repository's time-outs need the runtime, which a thread of our own does not know.
            let _runtime = self.runtime.enter();
            let entry = BootEntry::fresh(self.running.product.clone(), version.clone());
            // What an earlier file of that name was is not what this one is to be.
            scrub::forget_release(&self.paths.boot_copies(), &entry).map_err(|error| Problem::new("state", error))?;
            let installed = self.install_release(version, watch)?;
            self.keep_copy(&entry);
            Ok(installed)
        })
    }

    fn discard(&mut self, version: &Version) -> Result<(), Problem> {
        confined(&self.writes_to(), &mut |()| {}, |_| {
            let io = self.open().map_err(|error| Problem::new("disk", error))?;
            install::discard(&io, &self.running, version).map_err(|error| error.problem())
        })
    }

    fn observe(&mut self) -> Observed {
        gates::observe(&self.paths, &self.config)
    }

    fn prepare(&mut self) -> Result<(), Problem> {
        self.hooks().before()
    }

    fn undo(&mut self) -> Result<(), Problem> {
        self.hooks().after()
    }

    fn take(&mut self, target: Option<&Version>) -> Grant {
        let report = Report {
            target,
            ..self.report()
        };
        match &self.lock {
            Some(lock) => lock.take(&report),
            None => Grant::Refused(Problem::new("lock-refused", "no lock server is configured")),
        }
    }

    fn release(&mut self, failed: Option<&Version>) -> Result<(), Problem> {
        // The server compares the release with the one that the lock was taken for, so that an old failure does no harm.
        let outcome = if failed.is_some() {
            Outcome::RolledBack
        } else {
            Outcome::Healthy
        };
        let report = Report {
            target: failed,
            outcome: Some(outcome),
            ..self.report()
        };
        self.lock.as_ref().map_or(Ok(()), |lock| lock.release(&report))
    }

    fn reboot(&mut self) -> Result<(), Problem> {
        reboot()
    }
}
