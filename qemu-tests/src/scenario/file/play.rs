//! Plays a scenario file on a stage.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use twinhull_layout::Arch;

use super::document::{self, Action, Expectation, Place};
use super::names::Names;
use super::on_disk::{Spot, Wanted};
use super::reading::{Step, Written};
use super::services::{Running, Surroundings, fill};
use crate::artefacts::Image;
use crate::error::{Error, Result, expect};
use crate::machine::Machine;
use crate::machine::credential::Credential;
use crate::ports;
use crate::scenario::{Hardware, Host, Stage, copy_sparse};
use crate::servers::http_client::{self, Method};
use crate::servers::seen_by_guest;

/// Bytes of a MiB. Sizes in a scenario are far from where their bytes could not be counted.
const MIB: u64 = 1 << 20;

/// Plays `written`; machines that name no image of their own get `image`.
pub async fn play(stage: Rc<Stage>, written: Rc<Written>, image: Option<PathBuf>) -> Result<()> {
    let mut play = Play::prepare(&stage, &written, image).await?;
    let outcome = play.steps().await;
    play.take_pictures().await;
    outcome
}

struct Play<'a> {
    stage: &'a Stage,
    written: &'a Written,
    names: Names,
    actors: BTreeMap<String, Actor>,
    services: BTreeMap<String, Running>,
}

/// A machine, on or off.
struct Actor {
    image: PathBuf,
    disk: PathBuf,
    size_mib: Option<u64>,
    arch: Arch,
    hardware: Hardware,
    credentials: Vec<Credential>,
    machine: Option<Rc<Machine>>,
    was_on: bool,
    /// The position on the console after the last text that was waited for.
    mark: u64,
    /// How many resets steps have waited for, or caused.
    resets: usize,
}

impl Actor {
    fn running(&self, name: &str) -> Result<&Rc<Machine>> {
        let on = self.machine.as_ref().filter(|machine| machine.is_on());
        on.ok_or_else(|| Error::Expectation(format!("machine {name} is off")))
    }

    fn is_on(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.is_on())
    }
}

impl<'a> Play<'a> {
    async fn prepare(stage: &'a Stage, written: &'a Written, image: Option<PathBuf>) -> Result<Self> {
        stage.step("preparing machines and services");
        let mut names = Names::default();
        names.set("key", stage.public_key().trim());
        names.set("work", stage.artefacts().work().to_string_lossy());
        let efi = stage.artefacts().arch().efi();
        names.set("efi", efi);
        names.set("EFI", efi.to_ascii_uppercase());
        let mut addresses = BTreeMap::new();
        for (name, _) in &written.services {
            let address = ports::free()?;
            let folder = stage.folder().join(name);
            names.set(format!("{name}.port"), address.port().to_string());
            names.set(format!("{name}.url"), seen_by_guest(address));
            names.set(format!("{name}.folder"), folder.to_string_lossy());
            addresses.insert(name, (address, folder));
        }
        let mut forwards = BTreeMap::new();
        for (name, machine) in &written.machines {
            let mut of_machine = Vec::new();
            for (port, number) in &machine.ports {
                let address = ports::free()?;
                names.set(format!("{name}.{port}"), address.port().to_string());
                of_machine.push((address, *number));
            }
            forwards.insert(name, of_machine);
        }
        let mut play = Self {
            stage,
            written,
            names,
            actors: BTreeMap::new(),
            services: BTreeMap::new(),
        };
        for (name, machine) in &written.machines {
            let forwards = forwards.remove(name).unwrap_or_default();
            let actor = play.actor(name, machine, forwards, image.as_deref())?;
            play.actors.insert(name.clone(), actor);
        }
        for (name, service) in &written.services {
            let Some((address, private)) = addresses.remove(name) else {
                continue;
            };
            let surroundings = Surroundings {
                stage,
                names: &play.names,
                folder: &written.folder,
                private,
                address,
            };
            let mut running = Running::prepare(name, service, surroundings).await?;
            if !matches!(service, document::Service::Client { .. }) {
                running.start().await?;
            }
            play.services.insert(name.clone(), running);
        }
        Ok(play)
    }

    fn actor(
        &self,
        name: &str,
        machine: &document::Machine,
        forwards: Vec<(std::net::SocketAddr, u16)>,
        image: Option<&Path>,
    ) -> Result<Actor> {
        let arch = machine.arch.unwrap_or(self.stage.artefacts().arch());
        let given = self.written.disk_of(name, machine, self.stage.artefacts(), image)?;
        let mut credentials = Vec::new();
        let mut lines = String::new();
        if !machine.files.is_empty() {
            let mut files = Vec::new();
            for (path, text) in &machine.files {
                files.push((path.as_str(), fill(&self.names, text)?));
            }
            let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
            lines = Credential::file_lines(&files);
        }
        for (key, text) in &machine.credentials {
            let text = fill(&self.names, text)?;
            if key == Credential::FILES {
                let _ = writeln!(lines, "{text}");
            } else {
                credentials.push(Credential::new(key, text));
            }
        }
        if !lines.is_empty() {
            credentials.push(Credential::new(Credential::FILES, lines));
        }
        Ok(Actor {
            image: given,
            disk: self.stage.folder().join(format!("{name}.raw")),
            size_mib: machine.disk,
            arch,
            hardware: Hardware {
                arch: Some(arch),
                memory_mib: machine.memory.unwrap_or(super::super::stage::MEMORY),
                processors: machine.processors,
                bus: machine.bus.unwrap_or_default(),
                display: machine.display.unwrap_or(false),
                secure: machine.secure_boot.unwrap_or(false),
                tpm: machine.tpm.unwrap_or(false),
                forwards,
                clock: None,
            },
            credentials,
            machine: None,
            was_on: false,
            mark: 0,
            resets: 0,
        })
    }

    async fn steps(&mut self) -> Result<()> {
        for step in &self.written.steps {
            self.stage.step(step.about.clone().unwrap_or_else(|| step.in_short()));
            if let Err(error) = self.step(step).await {
                return Err(self.explained(step, &error));
            }
        }
        Ok(())
    }

    /// The error with the place of the step, and with what the machines last said if it does not have that.
    fn explained(&self, step: &Step, error: &Error) -> Error {
        let mut text = format!("line {} of {}.toml: {error}", step.line, self.written.name);
        let told = matches!(
            error,
            Error::Stopped { .. } | Error::BrokeDown { .. } | Error::TimedOut { .. }
        );
        if !told {
            for (name, actor) in &self.actors {
                let concerned = step.on.is_empty() || step.on.contains(name);
                if let Some(machine) = actor.machine.as_ref().filter(|_| concerned) {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "\n  machine {name}:{}", machine.last_lines());
                }
            }
        }
        Error::Expectation(text)
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        let limit = self.stage.limit(step.within.unwrap_or(step.action.usual_limit()));
        if !step.action.is_on_machines() {
            return self.on_the_host(&step.action, limit).await;
        }
        for name in &step.on {
            self.on_machine(name, &step.action, limit).await?;
        }
        Ok(())
    }

    async fn on_the_host(&mut self, action: &Action, limit: Duration) -> Result<()> {
        match action {
            Action::Expect { text, expect: wanted } => {
                let (text, wanted) = (fill(&self.names, text)?, wanted.filled(&self.names)?);
                wanted
                    .check_text(&text)
                    .map_err(|wrong| Error::Expectation(format!("the text is {wrong}")))
            }
            Action::Publish {
                service,
                release,
                description,
                base,
                product,
            } => {
                let artefacts = self.stage.artefacts();
                let image_of = |version| artefacts.image_of(product.as_ref(), version);
                let image = match (release, description) {
                    (Some(version), _) => image_of(version)?,
                    (None, Some(path)) => Image::open(&self.written.folder.join(path))?,
                    (None, None) => return Err(Error::Expectation("no release is named".to_owned())),
                };
                let base = base.as_ref().map(image_of).transpose()?;
                let repository = match service {
                    Some(name) => self.services.get(name).and_then(Running::repository),
                    None => self.services.values().find_map(Running::repository),
                };
                let repository = repository.ok_or_else(|| Error::Expectation("there is no repository".to_owned()))?;
                repository.offer(&image, base.as_ref()).await.map(drop)
            }
            Action::Stop { service } => {
                self.service(service)?.stop().await;
                Ok(())
            }
            Action::Start { service } => self.service(service)?.start().await,
            Action::Request {
                service,
                path,
                body,
                expect: wanted,
                repeat,
            } => {
                let address = self.service(service)?.address;
                // One that is asked again may hang as long as any, and not use up all the time.
                let each = if *repeat { limit.min(http_client::USUAL) } else { limit };
                let path = fill(&self.names, path)?;
                let body = body.as_ref().map(|body| self.names.fill_json(body)).transpose();
                let body = body.map_err(|name| Error::Expectation(format!("${{{name}}} is used before it is kept")))?;
                let wanted = wanted.filled(&self.names)?;
                let mut seen = "no answer yet".to_owned();
                let asking = async {
                    loop {
                        match request(address, &path, body.clone(), &wanted, each).await {
                            Ok(()) => return Ok(()),
                            Err(error) if !repeat => return Err(error),
                            Err(error) => seen = error.to_string(),
                        }
                        tokio::time::sleep(Duration::from_millis(250)).await;
                    }
                };
                match tokio::time::timeout(limit, asking).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(Error::Expectation(format!("not within {} s: {seen}", limit.as_secs()))),
                }
            }
            Action::ExpectAnswers {
                service,
                failed,
                answered,
            } => {
                let client = self.service(service)?.client();
                let client =
                    client.ok_or_else(|| Error::Expectation(format!("the client {service} was not started")))?;
                // One that has stopped asking would pass for one that is always answered.
                tokio::time::timeout(limit, client.asked_once_more())
                    .await
                    .map_err(|_| Error::Expectation(format!("{service} asks nothing any more")))?;
                let answers = client.answers();
                let slowest = answers.slowest.as_secs_f64();
                let said = format!(
                    "{} answered, {} failed, the slowest after {slowest:.2} s",
                    answers.answered, answers.failed
                );
                self.stage.steps().note(&said);
                expect(answers.failed <= *failed && answers.answered >= *answered, || {
                    format!("{said}: {}", answers.failures.join("; "))
                })
            }
            _ => Ok(()),
        }
    }

    fn service(&mut self, name: &str) -> Result<&mut Running> {
        let service = self.services.get_mut(name);
        service.ok_or_else(|| Error::Expectation(format!("there is no service {name}")))
    }

    async fn on_machine(&mut self, name: &str, action: &Action, limit: Duration) -> Result<()> {
        let (stage, names) = (self.stage, &self.names);
        let actor = self
            .actors
            .get_mut(name)
            .ok_or_else(|| Error::Expectation(format!("there is no machine {name}")))?;
        match action {
            Action::Boot {} => boot(stage, name, actor).await,
            Action::WaitForLogin {} => actor.running(name)?.wait_for_login(limit).await,
            Action::WaitForText { text } => {
                let text = fill(names, text)?;
                actor.mark = actor.running(name)?.wait_for_text(&text, actor.mark, limit).await?;
                Ok(())
            }
            Action::WaitUntil { command, expect } => {
                let (command, wanted) = (fill(names, command)?, expect.filled(names)?);
                let machine = actor.running(name)?;
                machine
                    .until(&format!("`{}` as expected", shortened(&command)), limit, async || {
                        let output = machine.try_run(&command).await?;
                        Ok(wanted
                            .check(&output.stdout, output.status, 0)
                            .map_err(|wrong| wrong + &output.stderr))
                    })
                    .await
            }
            Action::Run { command, expect, save } => {
                let (command, wanted) = (fill(names, command)?, expect.filled(names)?);
                let output = actor.running(name)?.try_run_within(&command, limit).await?;
                wanted.check(&output.stdout, output.status, 0).map_err(|wrong| {
                    Error::Expectation(format!(
                        "in {name}, `{}` gave {wrong}{}",
                        shortened(&command),
                        output.stderr
                    ))
                })?;
                if let Some(save) = save {
                    self.names.set(format!("{name}.{save}"), output.stdout.trim());
                }
                Ok(())
            }
            Action::WaitForReboot {} => {
                let machine = actor.running(name)?;
                machine.wait_for_reset(actor.resets, limit).await?;
                if let Some(begin) = machine.boot_after(actor.resets) {
                    actor.mark = actor.mark.max(begin);
                }
                actor.resets += 1;
                Ok(())
            }
            Action::WaitUntilOff {} => {
                // It may have been quicker than the steps before this one.
                let machine = actor.machine.clone();
                let machine = machine.ok_or_else(|| Error::Expectation(format!("machine {name} was never on")))?;
                machine.wait_until_off(limit).await
            }
            Action::ShutDown {} => actor.running(name)?.shut_down_within(limit).await,
            Action::CutPower {} => {
                actor.running(name)?.cut_power().await;
                Ok(())
            }
            Action::Reset {} => {
                let machine = actor.running(name)?;
                let (mark, before) = (machine.console().position(), machine.resets());
                machine.reset().await?;
                machine.wait_for_reset(before, limit).await?;
                (actor.mark, actor.resets) = (mark, machine.resets());
                Ok(())
            }
            Action::ExpectCrashes {} => {
                actor.running(name)?.expect_crashes();
                Ok(())
            }
            Action::ExpectDisk {
                a,
                b,
                intact,
                damaged,
                entries,
                table,
            } => {
                expect(!actor.is_on(), || {
                    format!("machine {name} is on: its disk is not at rest")
                })?;
                let wanted = Wanted {
                    a: a.as_deref(),
                    b: b.as_deref(),
                    intact,
                    damaged,
                    entries: entries.as_deref(),
                    table: *table,
                };
                wanted.check(&actor.disk, actor.arch)
            }
            Action::Corrupt {
                place,
                file,
                offset,
                bytes,
                damage,
            } => {
                make_disk(actor).await?;
                let file = file.as_ref().map(|file| fill(names, file)).transpose()?;
                let (offset, bytes) = (*offset, *bytes);
                let spot = Spot {
                    place: place.unwrap_or(Place::Disk),
                    file: file.as_deref(),
                    offset,
                    bytes,
                };
                let at = spot.damage(*damage, &actor.disk, actor.arch)?;
                stage.steps().note(&format!("from byte {at} of the disk on"));
                Ok(())
            }
            Action::PauseNetwork {} => actor.running(name)?.set_network(false).await,
            Action::ResumeNetwork {} => actor.running(name)?.set_network(true).await,
            Action::GrowDisk { mib } => {
                make_disk(actor).await?;
                let failed = |source| Error::file("enlarge the disk", &actor.disk, source);
                let file = File::options().write(true).open(&actor.disk).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len() + mib * MIB;
                match actor.machine.as_ref().filter(|machine| machine.is_on()) {
                    Some(machine) => machine.grow_disk(size).await,
                    None => file.set_len(size).map_err(failed),
                }
            }
            Action::SetClock { to } => {
                let time = to
                    .parse()
                    .map_err(|error| Error::Expectation(format!("{to}: {error}")))?;
                actor.hardware.clock = Some(time);
                Ok(())
            }
            Action::Picture { name: picture } => {
                let path = stage.logs().join(format!("{name}.{picture}.png"));
                actor.running(name)?.picture(&path).await
            }
            _ => Ok(()),
        }
    }

    /// Keeps what is on every display that is still on.
    async fn take_pictures(&self) {
        for (name, actor) in &self.actors {
            let machine = actor.machine.as_ref();
            let Some(machine) = machine.filter(|machine| machine.is_on() && machine.has_display()) else {
                continue;
            };
            let path = self.stage.logs().join(format!("{name}.png"));
            if let Err(error) = machine.picture(&path).await {
                tracing::warn!("no picture of {name}: {error}");
            }
        }
    }
}

/// The private copy of the image, as large as it is to be, unless it is there already.
async fn make_disk(actor: &Actor) -> Result<()> {
    if actor.disk.exists() {
        return Ok(());
    }
    copy_sparse(&actor.image, &actor.disk).await?;
    let failed = |source| Error::file("enlarge the disk", &actor.disk, source);
    let file = File::options().write(true).open(&actor.disk).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    match actor.size_mib.map(|mib| mib * MIB) {
        Some(wanted) if wanted < size => Err(Error::Expectation(format!(
            "the image has {} MiB, more than the {} of `disk`",
            size >> 20,
            wanted >> 20
        ))),
        Some(wanted) => file.set_len(wanted).map_err(failed),
        None => Ok(()),
    }
}

async fn boot(stage: &Stage, name: &str, actor: &mut Actor) -> Result<()> {
    expect(!actor.is_on(), || format!("machine {name} is on already"))?;
    make_disk(actor).await?;
    let host = Host {
        credentials: actor.credentials.clone(),
        hardware: actor.hardware.clone(),
        again: actor.was_on,
        ..Host::new(name, actor.disk.clone())
    };
    // The earlier one is let go first: two of one name would share their sockets.
    if let Some(earlier) = actor.machine.take() {
        stage.forget(&earlier);
    }
    actor.machine = Some(stage.switch_on(host).await?);
    (actor.was_on, actor.mark, actor.resets) = (true, 0, 0);
    Ok(())
}

async fn request(
    address: std::net::SocketAddr,
    path: &str,
    body: Option<serde_json::Value>,
    wanted: &Expectation,
    limit: Duration,
) -> Result<()> {
    let method = if body.is_some() { Method::Post } else { Method::Get };
    let (status, answer) = http_client::request(address, method, path, body, limit).await?;
    wanted
        .check(&String::from_utf8_lossy(&answer), status.into(), 200)
        .map_err(|wrong| Error::Expectation(format!("{path} gave {wrong}")))
}

/// A command as far as a line of a message has room.
fn shortened(command: &str) -> String {
    let line = command.lines().next().unwrap_or_default();
    let short: String = line.chars().take(80).collect();
    if short.len() < command.trim_end().len() {
        format!("{short}…")
    } else {
        short
    }
}

impl Step {
    /// What it does, where the file says nothing about it.
    fn in_short(&self) -> String {
        let what = match &self.action {
            Action::Boot {} => "booting".to_owned(),
            Action::WaitForLogin {} => "waiting for a login".to_owned(),
            Action::WaitForText { text } => format!("waiting for \"{text}\" on the console"),
            Action::WaitUntil { command, .. } => format!("waiting until `{}` is as expected", shortened(command)),
            Action::Run { command, .. } => format!("running `{}`", shortened(command)),
            Action::WaitForReboot {} => "waiting for a reboot".to_owned(),
            Action::WaitUntilOff {} => "waiting until it is off".to_owned(),
            Action::ShutDown {} => "shutting down".to_owned(),
            Action::CutPower {} => "cutting the power".to_owned(),
            Action::Reset {} => "pushing the reset button".to_owned(),
            Action::ExpectCrashes {} => "expecting crashes from here on".to_owned(),
            Action::Expect { text, .. } => format!("comparing {text}"),
            Action::ExpectDisk { .. } => "looking at the disk".to_owned(),
            Action::Corrupt { file: Some(file), .. } => format!("damaging {file}"),
            Action::Corrupt { place, .. } => format!("damaging the disk ({place:?})"),
            Action::PauseNetwork {} => "unplugging the network".to_owned(),
            Action::ResumeNetwork {} => "plugging the network in".to_owned(),
            Action::GrowDisk { mib } => format!("growing the disk by {mib} MiB"),
            Action::SetClock { to } => format!("setting the clock to {to}"),
            Action::Picture { name } => format!("taking the picture {name}"),
            Action::Publish {
                release, description, ..
            } => match (release, description) {
                (Some(version), _) => format!("publishing {version}"),
                (None, description) => format!("publishing {}", description.clone().unwrap_or_default().display()),
            },
            Action::Stop { service } => format!("stopping {service}"),
            Action::Start { service } => format!("starting {service}"),
            Action::Request { service, path, .. } => format!("asking {service} for {path}"),
            Action::ExpectAnswers { service, .. } => format!("looking at the answers to {service}"),
        };
        if self.on.is_empty() {
            what
        } else {
            format!("{what} ({})", self.on.join(", "))
        }
    }
}

impl Action {
    /// The limit in seconds where the file gives none.
    fn usual_limit(&self) -> u32 {
        match self {
            Self::WaitForLogin {} | Self::ShutDown {} | Self::WaitUntilOff {} => 120,
            Self::WaitForReboot {} | Self::WaitUntil { .. } | Self::WaitForText { .. } => 300,
            _ => 60,
        }
    }
}
