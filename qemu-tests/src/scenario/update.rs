//! From one release to the next, by itself.

use std::rc::Rc;

use twinhull_layout::{BootEntry, Slot};

use super::agent;
use super::stage::{Stage, version};
use crate::artefacts::{Image, PRODUCT};
use crate::disk::{Disk, SlotContent};
use crate::error::{Error, Result, expect};
use crate::machine::Machine;
use crate::servers::lock::LockServer;

pub(super) async fn run(stage: Rc<Stage>) -> Result<()> {
    let (old, new) = (stage.image("1.0.0")?, stage.image("1.1.0")?);
    stage.step("publishing 1.1.0");
    let repository = stage.repository("repo").await?;
    repository.offer(&new, Some(&old)).await?;
    let releases = stage.serve(&repository).await?;
    let lock = stage.lock_server().await?;

    stage.step("booting 1.0.0");
    let machine = stage
        .boot(&old, Some(&stage.site(&releases, Some(&lock), "lock")))
        .await?;
    machine.wait_for_login(stage.limit(120)).await?;
    let boot = machine.boot_id().await?;

    stage.step("waiting for the reboot into 1.1.0");
    agent::reboots(&machine, 0, stage.limit(420)).await?;

    stage.step("waiting until 1.1.0 is blessed");
    agent::runs_proven(&machine, &new.version, stage.limit(240)).await?;
    expect(machine.boot_id().await? != boot, || {
        "the boot id is still the old one".to_owned()
    })?;
    check_running(&machine, &new).await?;

    stage.step("looking at the lock");
    lock_was_used(&machine, &lock, stage.limit(60)).await?;

    stage.step("switching off and reading the disk");
    let path = machine.disk().map(std::path::Path::to_owned);
    machine.shut_down().await?;
    let path = path.ok_or_else(|| Error::Expectation("the machine has no disk".to_owned()))?;
    check_disk(&stage, &path, &old, &new)
}

/// The kernel and the root are those of `image`.
pub(crate) async fn check_running(machine: &Machine, image: &Image) -> Result<()> {
    let line = machine.run("cat /proc/cmdline").await?;
    expect(line.contains(&format!("roothash={}", image.root_hash)), || {
        format!(
            "the kernel command line lacks the root hash of {}: {line}",
            image.version
        )
    })?;
    let release = machine.run("cat /usr/lib/os-release").await?;
    let wanted = format!("IMAGE_VERSION={}", image.version);
    expect(release.lines().any(|line| line.replace('"', "") == wanted), || {
        format!("os-release lacks {wanted}")
    })
}

/// One host took the slot, then gave it back; nobody holds it now.
pub(crate) async fn lock_was_used(machine: &Machine, lock: &LockServer, limit: std::time::Duration) -> Result<()> {
    machine
        .until("free reboot lock", limit, async || {
            Ok(lock.holder().await?.map_or(Ok(()), |holder| {
                Err(format!("held by {} since {}", holder.id, holder.since))
            }))
        })
        .await?;
    let history = lock.status().await?.history;
    let mut changes: Vec<_> = history
        .iter()
        .map(|event| (event.what.as_str(), event.id.as_deref()))
        .collect();
    changes.reverse();
    let in_order = matches!(changes[..], [.., ("granted", Some(taker)), ("released", Some(giver))] if taker == giver);
    expect(in_order, || {
        format!("the lock was not taken and given back by one host: {changes:?}")
    })
}

/// `old` is intact in slot A, `new` in slot B; both may boot for good, `new` first.
fn check_disk(stage: &Stage, path: &std::path::Path, old: &Image, new: &Image) -> Result<()> {
    let disk = Disk::open(path, stage.artefacts().arch())?;
    for (slot, image) in [(Slot::A, old), (Slot::B, new)] {
        let content = disk.content(slot)?;
        expect(content == SlotContent::Release(image.version.clone()), || {
            format!("slot {slot} says it holds {content:?} and not {}", image.version)
        })?;
        disk.check_intact(slot, &image.root_hash)?;
    }
    expect(disk.primary_table_is_valid(), || {
        "the partition table's first copy is damaged".to_owned()
    })?;
    let entries = disk.boot_entries()?;
    let wanted = [blessed(&new.version.to_string())?, blessed(&old.version.to_string())?];
    expect(entries == wanted, || {
        format!("boot entries are {} and not {}", listed(&entries), listed(&wanted))
    })
}

/// The entry of a release that has proved itself.
pub(super) fn blessed(release: &str) -> Result<BootEntry> {
    let product = PRODUCT
        .parse()
        .map_err(|error| Error::Expectation(format!("{error}")))?;
    Ok(BootEntry::blessed(product, version(release)?))
}

/// Boot entries in one line.
pub(super) fn listed(entries: &[BootEntry]) -> String {
    entries.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
