//! What must not be installed, and is not; then what may be, and is.

use std::path::Path;
use std::rc::Rc;

use twinhull_layout::Slot;

use super::agent;
use super::stage::{Stage, version};
use super::update::{blessed, listed};
use crate::artefacts::Image;
use crate::disk::{Disk, SlotContent};
use crate::error::{Error, Result, expect};
use crate::machine::Machine;

pub(super) async fn run(stage: Rc<Stage>) -> Result<()> {
    let (old, new, other) = (stage.image("1.0.0")?, stage.image("1.1.0")?, stage.image("1.2.0")?);
    stage.step("publishing 1.1.0");
    let repository = stage.repository("repo").await?;
    let release = repository.offer(&new, Some(&old)).await?;
    let foreign = repository
        .signed_by_others(&stage.folder().join("foreign"), &release)
        .await?;
    let releases = stage.serve(&repository).await?;

    stage.step("booting 1.0.0");
    let machine = stage.boot(&old, Some(&stage.site(&releases, None, "off"))).await?;
    machine.wait_for_login(stage.limit(120)).await?;
    let host = Host::new(&stage, &machine, &old).await?;

    for payload in release.root.payloads.iter().chain(&release.uki.payloads) {
        releases.spoil(
            &payload.path,
            payload.header_size + (payload.size - payload.header_size) / 2,
        );
    }
    host.refuses("a payload with one flipped byte", &["payload"]).await?;
    releases.heal();

    releases.serve(foreign.folder());
    host.refuses("metadata signed by other keys", &["signature"]).await?;
    releases.serve(repository.folder());

    repository.offer_as(&release, &version("0.9.0")?)?;
    host.refuses("an older version", &["older"]).await?;

    let like = repository.offer(&other, Some(&old)).await?;
    repository.offer_for_other_architecture(&like)?;
    host.refuses("an image for the other architecture", &["architecture"])
        .await?;

    // Without this, a host that refuses everything would pass.
    stage.step("installing 1.1.0 as it was published");
    repository.offer(&new, Some(&old)).await?;
    agent::installs(&machine, stage.limit(300)).await?;
    let disk = host.disk().await?;
    let content = disk.content(Slot::B)?;
    expect(content == SlotContent::Release(new.version.clone()), || {
        format!("slot B holds {content:?}, not 1.1.0")
    })?;
    disk.check_intact(Slot::B, &new.root_hash)?;
    drop(disk);
    machine.cut_power().await;
    Ok(())
}

struct Host<'a> {
    stage: &'a Stage,
    machine: &'a Machine,
    image: &'a Image,
    esp: Vec<(String, u64)>,
}

impl<'a> Host<'a> {
    async fn new(stage: &'a Stage, machine: &'a Machine, image: &'a Image) -> Result<Self> {
        let mut host = Self {
            stage,
            machine,
            image,
            esp: Vec::new(),
        };
        host.esp = host.disk().await?.esp_files()?;
        Ok(host)
    }

    /// An update is refused for one of `reasons`, and the disk would boot what it booted before.
    async fn refuses(&self, what: &str, reasons: &[&str]) -> Result<()> {
        self.stage.step(format!("offering {what}"));
        let problem = agent::refuses(self.machine, self.stage.limit(300)).await?;
        self.stage.steps().note(&format!("{}: {}", problem.code, problem.text));
        expect(reasons.iter().any(|reason| problem.code.contains(reason)), || {
            format!(
                "{what} was refused for the wrong reason, {}: {}",
                problem.code, problem.text
            )
        })?;
        let disk = self.disk().await?;
        let content = disk.content(Slot::B)?;
        expect(content == SlotContent::Empty, || {
            format!("after {what}, slot B says it holds {content:?}")
        })?;
        let content = disk.content(Slot::A)?;
        expect(content == SlotContent::Release(self.image.version.clone()), || {
            format!("after {what}, slot A says it holds {content:?}")
        })?;
        let entries = disk.boot_entries()?;
        expect(entries == [blessed(&self.image.version.to_string())?], || {
            format!("after {what}, the boot entries are {}", listed(&entries))
        })?;
        let files = disk.esp_files()?;
        expect(files == self.esp, || {
            format!("after {what}, the ESP holds {files:?} and not {:?}", self.esp)
        })?;
        disk.check_intact(Slot::A, &self.image.root_hash)
    }

    /// The disk from outside, with everything on it that the guest has written so far.
    async fn disk(&self) -> Result<Disk> {
        self.machine.run("sync").await?;
        let path = self
            .machine
            .disk()
            .ok_or_else(|| Error::Expectation("the machine has no disk".to_owned()))?;
        Disk::open(Path::new(path), self.stage.artefacts().arch())
    }
}
