//! The agent's own files beside the disk: what it knows, what it must never forget, and what its hooks did to the host's work.
//!
//! One life is recorded, by the real engine with the real trust client, hooks and transaction: 1.0.0 is installed over 0.9.0, is
//! sick, and falls back; then 1.1.0 is installed, and stays. Every change to a file of the agent is cut, in every way that POSIX
//! leaves open ([`super::folder`]). Whatever the agent had acted upon before the cut it must still know after it: the oldest
//! release it may run, the releases that failed, what it saw of the repository, and which hooks are to be undone. From a part of
//! the states, and from cuts of the disk with the files of that moment, it is started again and has to get to 1.1.0.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use twinhull_durable::record::{self, Change};
use twinhull_layout::{BootEntry, Version};
use twinhull_trust::{Client, SystemClock, TrustError};
use twinhull_updater::agent::{Engine, Hands};
use twinhull_updater::config::Strategy;
use twinhull_updater::gates::{Gates, Observed};
use twinhull_updater::health::{self, Report};
use twinhull_updater::hooks::Hooks;
use twinhull_updater::install::{self, InstallError, Progress, our_entries};
use twinhull_updater::machine::{self, Event, Grant, Installed, Known, Live, Now, Offer, Problem, Rules, Seen, Turn};

use super::folder::{self, Folder};
use super::vfat::Medium;
use super::{Effort, cuts};
use crate::oracle;
use crate::recorder::{Machine, Op, Recorder};
use crate::script;
use crate::world::{ARCH, Files, Image, Signed, images, product, release, version};

/// The states of the agent's folder, below the root of a life.
const STATE: &str = "state";

/// The release that is sick.
const SICK: usize = 1;

/// The release that is good.
const GOOD: usize = 2;

/// Something that happened, in its order.
#[derive(Clone)]
enum Step {
    /// A change to the agent's files.
    Kept(Change),
    /// A change to the disk by the agent.
    Disk(Op),
    /// A change to the disk by the boot loader or systemd-bless-boot.
    Loader(Op),
    /// The hook has sent the host's work away, or brought it back.
    Drained(bool),
    /// The agent has acted upon this.
    Sworn(Sworn),
}

/// What is never to be forgotten.
#[derive(Clone, Default, Hash)]
struct Sworn {
    floor: Option<Version>,
    failed: BTreeSet<Version>,
    history: usize,
    /// The repository that was believed last.
    seen: Option<usize>,
}

/// What the agent meets: releases, and what the repository holds at three times.
pub(super) struct World {
    images: [Image; 3],
    trusted: Vec<u8>,
    repositories: [BTreeMap<String, Vec<u8>>; 3],
}

impl World {
    pub(super) fn new() -> Self {
        let images = images();
        let folder = scratch();
        let signed = Signed::new(folder.path());
        let content = || crate::world::folder(&signed.folder).content;
        let publish = |image: &Image| {
            let (document, files) = release(image, Some(&images[0]));
            signed.publish(&document, &files);
            content()
        };
        let (first, second) = (publish(&images[SICK]), publish(&images[GOOD]));
        signed.offer(&images[GOOD].version);
        let third = content();
        Self {
            trusted: signed.root(),
            repositories: [first, second, third],
            images,
        }
    }

    /// The index of what boots.
    fn boots(&self, machine: &Machine) -> Result<usize, String> {
        let version = oracle::boots(machine, &self.images)?;
        Ok(self
            .images
            .iter()
            .position(|image| image.version == version)
            .expect("a release of this world"))
    }
}

/// A folder that costs no disk its life: what is flushed in it is decided by [`Folder`].
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn rules() -> Rules {
    Rules {
        strategy: Some(Strategy::Immediate),
        poll: Duration::from_hours(1),
        retry: Duration::from_mins(1),
        lock: false,
        hooks: true,
        gates: Gates::none(),
        place: 0,
    }
}

type Log = Rc<RefCell<Vec<Step>>>;

/// One boot of the host: the agent's hands are real but for the machine below them.
struct Host<'w> {
    world: &'w World,
    root: PathBuf,
    io: Recorder,
    running: usize,
    repository: usize,
    /// The repository that was believed last.
    seen: Rc<Cell<Option<usize>>>,
    uptime: Duration,
    rebooted: bool,
    log: Log,
}

impl<'w> Host<'w> {
    fn new(world: &'w World, root: &Path, machine: Machine, running: usize, log: &Log) -> Self {
        Self {
            world,
            root: root.to_owned(),
            io: Recorder::new(machine, &world.images[running]),
            running,
            repository: 0,
            seen: Rc::default(),
            uptime: Duration::ZERO,
            rebooted: false,
            log: Rc::clone(log),
        }
    }

    fn state(&self, name: &str) -> PathBuf {
        self.root.join(STATE).join(name)
    }

    fn hooks(&self) -> Hooks {
        Hooks {
            folders: vec![self.root.join("hooks.d")],
            journal: self.state("hooks.json"),
            limit: Duration::from_mins(1),
            must_succeed: true,
        }
    }

    /// What was done since the last time goes into the log.
    fn note(&self) {
        note(&self.root, &self.log);
    }

    fn say(&self, step: Step) {
        self.note();
        self.log.borrow_mut().push(step);
    }

    fn files(&self) -> Files {
        Files::new(self.world.repositories[self.repository].clone())
    }

    fn client(&self, files: &mut Files) -> Result<Client, InstallError> {
        let mut client = Client::open(&self.state("metadata"), &self.world.trusted)?;
        client.refresh(files, &SystemClock)?;
        Ok(client)
    }

    /// Runs the agent from its start until it has ordered a reboot, or nothing more is to be done for `rounds` rounds.
    fn live(&mut self, rounds: usize) -> Result<Known, String> {
        let mut engine = Engine::open(self.state("state.json"), rules())
            .map_err(|error| format!("the agent does not start: {error}"))?;
        for _ in 0..rounds {
            let (root, log) = (self.root.clone(), Rc::clone(&self.log));
            // As the service does it: what is kept is read again for each round.
            engine.reload().map_err(|error| error.to_string())?;
            let seen = Rc::clone(&self.seen);
            let mut watcher = |known: &Known, _: &Live, progress: Option<Progress>| {
                if progress.is_some() {
                    return;
                }
                note(&root, &log);
                let sworn = Sworn {
                    floor: known.floor.clone(),
                    failed: known.failed.keys().cloned().collect(),
                    history: known.history.len(),
                    seen: seen.get(),
                };
                log.borrow_mut().push(Step::Sworn(sworn));
            };
            let wake = engine
                .run(Event::Woke, self, &mut watcher)
                .map_err(|error| error.to_string())?;
            self.note();
            self.uptime += wake;
            if self.rebooted {
                break;
            }
        }
        Ok(engine.known)
    }
}

fn note(root: &Path, log: &Log) {
    let relative = |path: PathBuf| path.strip_prefix(root).unwrap().to_owned();
    let changes = record::take().into_iter().map(|change| match change {
        Change::Create(path) => Change::Create(relative(path)),
        Change::Write(path, bytes) => Change::Write(relative(path), bytes),
        Change::Flush(path) => Change::Flush(relative(path)),
        Change::Rename(from, to) => Change::Rename(relative(from), relative(to)),
        Change::Remove(path) => Change::Remove(relative(path)),
        Change::CreateDirectory(path) => Change::CreateDirectory(relative(path)),
        Change::FlushDirectory(path) => Change::FlushDirectory(relative(path)),
    });
    log.borrow_mut().extend(changes.map(Step::Kept));
}

impl Hands for Host<'_> {
    fn now(&self) -> Now {
        Now {
            wall: Timestamp::now(),
            uptime: self.uptime,
            dice: 0,
        }
    }

    fn look(&mut self) -> Result<Seen, Problem> {
        let running = self.world.images[self.running].running();
        let entries = our_entries(&self.io, &running).map_err(|error| error.problem())?;
        Ok(Seen {
            running: running.version,
            trial: entries.on_trial(),
            aside: entries.set_aside(),
            others: entries.others,
            unhealthy: health::read_report::<Report>(&self.state("health.json"))
                .map(|report| (report.version, report.reasons.join("; "))),
        })
    }

    fn check(&mut self) -> Result<Offer, Problem> {
        let mut files = self.files();
        let mut client = self.client(&mut files).map_err(|error| error.problem())?;
        let channel = client
            .channel(&mut files, &SystemClock, &product(), "stable")
            .map_err(|error| InstallError::from(error).problem())?;
        self.seen.set(Some(self.repository));
        self.note();
        let mut log = self.log.borrow_mut();
        let last = log.iter().rev().find_map(|step| match step {
            Step::Sworn(sworn) => Some(sworn.clone()),
            _ => None,
        });
        log.push(Step::Sworn(Sworn {
            seen: self.seen.get(),
            ..last.unwrap_or_default()
        }));
        Ok(Offer {
            version: channel.releases[&ARCH].clone(),
            turn: Turn::Now,
        })
    }

    fn install(&mut self, version: &Version, watch: &mut dyn FnMut(Progress)) -> Result<Installed, Problem> {
        health::forget(&self.state("health.json")).map_err(|error| Problem::new("state", error))?;
        let mut files = self.files();
        let running = self.world.images[self.running].running();
        let installed = self.client(&mut files).and_then(|mut client| {
            let release = client.release(&mut files, &SystemClock, &product(), ARCH, version)?;
            self.note();
            install::install(&self.io, &mut files, &running, &release, watch)
        });
        self.log
            .borrow_mut()
            .extend(self.io.take_log().into_iter().map(Step::Disk));
        installed.map_err(|error| error.problem())
    }

    fn discard(&mut self, version: &Version) -> Result<(), Problem> {
        let running = self.world.images[self.running].running();
        let done = install::discard(&self.io, &running, version).map_err(|error| error.problem());
        self.note();
        self.log
            .borrow_mut()
            .extend(self.io.take_log().into_iter().map(Step::Disk));
        done
    }

    fn observe(&mut self) -> Observed {
        Observed {
            hooks: true,
            ..Observed::default()
        }
    }

    fn prepare(&mut self) -> Result<(), Problem> {
        self.hooks().before()?;
        self.say(Step::Drained(true));
        Ok(())
    }

    fn undo(&mut self) -> Result<(), Problem> {
        self.say(Step::Drained(false));
        self.hooks().after()
    }

    fn take(&mut self, _: Option<&Version>) -> Grant {
        Grant::Granted
    }

    fn release(&mut self, _: Option<&Version>) -> Result<(), Problem> {
        Ok(())
    }

    fn reboot(&mut self) -> Result<(), Problem> {
        self.rebooted = true;
        Ok(())
    }
}

/// The hook of every host: the file `drained` stands for work that was sent away.
fn install_hook(root: &Path) {
    let folder = root.join("hooks.d");
    std::fs::create_dir(&folder).unwrap();
    let (hook, mark) = (folder.join("10-drain"), root.join("drained"));
    let mark = mark.display();
    script::write(
        &hook,
        &format!("if [ $1 = before ]; then : > {mark}; else rm -f {mark}; fi"),
    );
}

/// As the health check leaves it when a release is sick.
fn report_sick(host: &Path, image: &Image) {
    let report = Report {
        version: image.version.clone(),
        at: Timestamp::now(),
        reasons: vec!["unit app.service is failed".to_owned()],
    };
    let path = host.join(STATE).join("health.json");
    health::write_report(&path, &report).unwrap();
}

/// Gives the entry of `image` another counter.
fn recount(machine: &mut Machine, image: &Image, to: &str) -> Option<(String, String)> {
    let on_trial = |name: &&String| {
        let entry = name.parse::<BootEntry>();
        entry.is_ok_and(|entry| entry.version == image.version && entry.is_on_trial())
    };
    let from = machine.entries.keys().find(on_trial)?.clone();
    let to = format!("{}_{}{to}.efi", product(), image.version);
    let content = machine.entries.remove(&from)?;
    machine.entries.insert(to.clone(), content);
    Some((from, to))
}

/// A recorded life.
pub(super) struct Life {
    world: World,
    start: Machine,
    steps: Vec<Step>,
}

impl Life {
    pub(super) fn record() -> Self {
        let world = World::new();
        let folder = scratch();
        let root = folder.path();
        install_hook(root);
        let start = Machine::new(&world.images[0], None);
        let log = Log::default();
        record::start();

        let mut first = Host::new(&world, root, start.clone(), 0, &log);
        first.live(6).unwrap();
        assert!(first.rebooted, "1.0.0 is staged");
        let mut machine = first.io.machine();
        assert_eq!(world.boots(&machine), Ok(SICK));
        let (from, to) = recount(&mut machine, &world.images[SICK], "+0-3").unwrap();
        first.say(Step::Loader(Op::Rename(from, to)));
        first.say(Step::Loader(Op::FlushEntries));
        report_sick(root, &world.images[SICK]);

        let mut second = Host::new(&world, root, machine, 0, &log);
        second.seen.set(Some(0));
        let known = second.live(3).unwrap();
        assert!(
            !second.rebooted && known.failed.contains_key(&version("1.0.0")),
            "1.0.0 fell back"
        );
        second.repository = 1;
        second.uptime = Duration::from_hours(2);
        second.live(6).unwrap();
        assert!(second.rebooted, "1.1.0 is staged");
        let mut machine = second.io.machine();
        assert_eq!(world.boots(&machine), Ok(GOOD));
        let (from, to) = recount(&mut machine, &world.images[GOOD], "").unwrap();
        second.say(Step::Loader(Op::Rename(from, to)));
        second.say(Step::Loader(Op::FlushEntries));

        let mut third = Host::new(&world, root, machine, GOOD, &log);
        third.seen.set(Some(1));
        third.repository = 2;
        let known = third.live(4).unwrap();
        assert_eq!(known.floor, Some(version("1.1.0")));
        record::stop();
        let steps = log.take();
        Self { world, start, steps }
    }

    /// Cuts the power at every change to the agent's files, and starts it again on each `rerun`th of those states and of the
    /// sampled states of the disk.
    fn judge(&self, steps: &[Step], effort: Effort) -> Verdict {
        let mut verdict = Verdict::default();
        let mut known = HashSet::new();
        let mut dice = 0;
        let (mut kept, mut medium) = (Folder::default(), Medium::new(&self.start));
        let (mut sworn, mut drained) = (Sworn::default(), false);
        for (index, step) in steps.iter().enumerate() {
            match step {
                Step::Kept(change) => kept.step(change),
                Step::Sworn(now) => sworn = now.clone(),
                Step::Drained(now) => drained = *now,
                Step::Loader(op) => medium.step(op, &mut |_| {}).unwrap(),
                Step::Disk(op) => {
                    let files = kept.durable();
                    let mut number = 0;
                    medium
                        .step(op, &mut |medium| {
                            cuts(medium, effort, &mut dice, &mut |disk| {
                                number += 1;
                                if effort.rerun != usize::MAX && number % (effort.rerun * 3) == 0 {
                                    let machine = Medium::mount(disk).machine();
                                    verdict.converge(self, index, &files, machine, drained);
                                }
                            });
                        })
                        .unwrap();
                    continue;
                }
            }
            kept.cuts(&mut |files| {
                let mut hash = DefaultHasher::new();
                (&files, &sworn, drained).hash(&mut hash);
                if !known.insert(hash.finish()) {
                    return;
                }
                verdict.states += 1;
                if let Err(problem) = self.remembers(&files, &sworn, drained) {
                    verdict.forgotten.push(format!("step {index}: {problem}"));
                } else if effort.rerun != usize::MAX && verdict.states % effort.rerun == 0 {
                    let machine = Medium::mount(medium.durable.clone()).machine();
                    verdict.converge(self, index, &files, machine, drained);
                }
            });
        }
        assert!(
            kept.is_durable() || effort.rerun == usize::MAX,
            "the last change was never flushed"
        );
        verdict
    }

    pub(super) fn judge_recorded(&self, effort: Effort) -> Verdict {
        self.judge(&self.steps, effort)
    }

    /// Whether the agent, with these files, still knows what it acted upon.
    fn remembers(&self, files: &folder::Files, sworn: &Sworn, drained: bool) -> Result<(), String> {
        let folder = scratch();
        folder::write(files, folder.path());
        let state = folder.path().join(STATE);
        let known = machine::load(&state.join("state.json")).map_err(|error| error.to_string())?;
        if known.floor < sworn.floor {
            return Err(format!("floor {:?}, was {:?}", known.floor, sworn.floor));
        }
        if let Some(version) = sworn.failed.iter().find(|version| !known.failed.contains_key(version)) {
            return Err(format!("forgotten that {version} failed"));
        }
        if known.history.len() < sworn.history {
            return Err("a record of what happened is gone".to_owned());
        }
        let journal = std::fs::read_to_string(state.join("hooks.json")).unwrap_or_default();
        if drained && !(known.prepared && journal.contains("10-drain")) {
            return Err("forgotten that the hook is to be undone".to_owned());
        }
        if sworn.seen.is_none() && !state.exists() {
            return Ok(());
        }
        let mut client =
            Client::open(&state.join("metadata"), &self.world.trusted).map_err(|error| error.to_string())?;
        let Some(older) = sworn.seen.and_then(|seen| seen.checked_sub(1)) else {
            return Ok(());
        };
        let mut repository = Files::new(self.world.repositories[older].clone());
        match client.refresh(&mut repository, &SystemClock) {
            Err(TrustError::Rollback { .. }) => Ok(()),
            other => Err(format!("yesterday's repository is believed: {other:?}")),
        }
    }

    /// The agent, started on what a cut left, gets to the good release: past the sick one if that boots first.
    fn goes_on(&self, files: &folder::Files, mut machine: Machine, drained: bool) -> Result<(), String> {
        let folder = scratch();
        let root = folder.path();
        folder::write(files, root);
        install_hook(root);
        if drained {
            std::fs::write(root.join("drained"), "").unwrap();
        }
        let log = Log::default();
        for _ in 0..6 {
            let running = self.world.boots(&machine)?;
            if running == SICK {
                let sick = &self.world.images[SICK];
                recount(&mut machine, sick, "+0-3").ok_or("the sick release boots without a counter")?;
                let _ = std::fs::create_dir(root.join(STATE));
                report_sick(root, sick);
                continue;
            }
            recount(&mut machine, &self.world.images[running], "");
            let mut host = Host::new(&self.world, root, machine, running, &log);
            host.repository = 2;
            let known = host.live(6)?;
            if running == GOOD {
                let done = !host.rebooted && known.floor == Some(version("1.1.0")) && !root.join("drained").exists();
                return if done { Ok(()) } else { Err(format!("{known:?}")) };
            }
            if !host.rebooted {
                return Err(format!("0.9.0 stays: {known:?}"));
            }
            machine = host.io.machine();
        }
        Err("it goes round in circles".to_owned())
    }

    /// Lives in which something is left out, or done before what it must follow; each must be noticed.
    fn mutations(&self) -> Vec<(&'static str, Vec<Step>)> {
        let without = |what: &dyn Fn(&Change) -> bool| {
            let kept = |step: &&Step| !matches!(step, Step::Kept(change) if what(change));
            self.steps.iter().filter(kept).cloned().collect()
        };
        let content = |name: &'static str| {
            without(&|change| matches!(change, Change::Flush(path) if path.ends_with(format!(".{name}.new"))))
        };
        let names = |folder: &'static str| {
            without(&|change| matches!(change, Change::FlushDirectory(path) if path == Path::new(folder)))
        };
        // Each step of that kind before the changes to files that come right before it.
        let too_early = |early: &dyn Fn(&Step) -> bool| {
            let mut steps = self.steps.clone();
            for index in 0..steps.len() {
                if early(&steps[index]) {
                    let kept = |step: &Step| matches!(step, Step::Kept(_));
                    let run = steps[..index].iter().rev().take_while(|step| kept(step)).count();
                    steps[index - run..=index].rotate_right(1);
                }
            }
            steps
        };
        vec![
            ("the state's content is not flushed", content("state.json")),
            ("the state's name is not flushed", names("state")),
            ("the floors' content is not flushed", content("floors.json")),
            ("the floors' name is not flushed", names("state/metadata")),
            ("the hooks' journal is not flushed", content("hooks.json")),
            (
                "effects come before what is kept of them",
                too_early(&|step| matches!(step, Step::Sworn(_))),
            ),
            (
                "a hook runs before it is written down",
                too_early(&|step| matches!(step, Step::Drained(true))),
            ),
        ]
    }

    /// Which mutations nobody noticed, and how many there were.
    pub(super) fn unnoticed(&self, effort: Effort) -> (usize, Vec<String>) {
        let mutations = self.mutations();
        let missed = mutations
            .iter()
            .filter(|(_, steps)| self.judge(steps, effort).forgotten.is_empty())
            .map(|(what, _)| (*what).to_owned())
            .collect();
        (mutations.len(), missed)
    }
}

#[derive(Default)]
pub(super) struct Verdict {
    pub(super) states: usize,
    pub(super) reruns: usize,
    /// States in which something is gone that was acted upon.
    pub(super) forgotten: Vec<String>,
    pub(super) not_converged: Vec<String>,
}

impl Verdict {
    fn converge(&mut self, life: &Life, index: usize, files: &folder::Files, machine: Machine, drained: bool) {
        self.reruns += 1;
        if let Err(problem) = life.goes_on(files, machine, drained) {
            self.not_converged.push(format!("step {index}: {problem}"));
        }
    }
}
