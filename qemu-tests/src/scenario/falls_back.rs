//! A release that does not become healthy: the host is on the old one again by itself.

use std::rc::Rc;

use twinhull_layout::Slot;

use super::agent;
use super::stage::Stage;
use super::update::{blessed, check_running, listed, lock_was_used};
use crate::disk::Disk;
use crate::error::{Error, Result, expect};

/// A release whose health check fails.
pub(super) async fn sick(stage: Rc<Stage>) -> Result<()> {
    falls_back(stage, "1.2.0", 420).await
}

/// A release that hangs in early boot.
pub(super) async fn hang(stage: Rc<Stage>) -> Result<()> {
    falls_back(stage, "1.3.0", 780).await
}

async fn falls_back(stage: Rc<Stage>, bad: &str, seconds: u32) -> Result<()> {
    let (old, new) = (stage.image("1.1.0")?, stage.image(bad)?);
    stage.step(format!("publishing {bad}"));
    let repository = stage.repository("repo").await?;
    repository.offer(&new, Some(&old)).await?;
    let releases = stage.serve(&repository).await?;
    let lock = stage.lock_server().await?;

    stage.step("booting 1.1.0");
    let machine = stage
        .boot(&old, Some(&stage.site(&releases, Some(&lock), "lock")))
        .await?;
    machine.wait_for_login(stage.limit(120)).await?;

    stage.step(format!("waiting for the reboot into {bad}"));
    agent::reboots(&machine, 0, stage.limit(420)).await?;

    stage.step(format!("waiting until {bad} has failed and 1.1.0 runs again"));
    machine.expect_crashes();
    agent::fell_back(&machine, &old.version, &new.version, stage.limit(seconds)).await?;
    let resets = machine.resets();
    expect(resets >= 2, || {
        format!("{resets} resets: {bad} was left without a reboot")
    })?;
    check_running(&machine, &old).await?;

    stage.step("looking at the lock");
    lock_was_used(&machine, &lock, stage.limit(60)).await?;

    stage.step(format!(
        "waiting for a further look at the repository that leaves {bad} alone"
    ));
    agent::declines(&machine, &new.version, stage.limit(60)).await?;
    expect(machine.resets() == resets, || {
        format!("the host rebooted again after {bad} had failed")
    })?;

    stage.step("switching off and reading the disk");
    let path = machine.disk().map(std::path::Path::to_owned);
    machine.shut_down().await?;
    let path = path.ok_or_else(|| Error::Expectation("the machine has no disk".to_owned()))?;
    let disk = Disk::open(&path, stage.artefacts().arch())?;
    disk.check_intact(Slot::A, &old.root_hash)?;
    let entries = disk.boot_entries()?;
    let first = entries.first() == Some(&blessed("1.1.0")?);
    let others_are_bad = entries
        .iter()
        .skip(1)
        .all(|entry| entry.version == new.version && entry.is_bad());
    expect(first && others_are_bad, || {
        format!("{bad} could boot again: boot entries are {}", listed(&entries))
    })
}
