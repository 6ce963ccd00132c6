//! The only slot is another host's.

use std::rc::Rc;

use super::agent;
use super::stage::Stage;
use super::update::{check_running, lock_was_used};
use crate::error::{Error, Result, expect};

/// The host that is in the way.
const OTHER: &str = "another-host";

pub(super) async fn run(stage: Rc<Stage>) -> Result<()> {
    let (old, new) = (stage.image("1.0.0")?, stage.image("1.1.0")?);
    stage.step("publishing 1.1.0, with the reboot lock held by another host");
    let repository = stage.repository("repo").await?;
    repository.offer(&new, Some(&old)).await?;
    let releases = stage.serve(&repository).await?;
    let lock = stage.lock_server().await?;
    lock.take(OTHER).await?;
    let holder = lock
        .holder()
        .await?
        .ok_or_else(|| Error::Expectation("the lock was not taken".to_owned()))?;

    stage.step("booting 1.0.0");
    let machine = stage
        .boot(&old, Some(&stage.site(&releases, Some(&lock), "lock")))
        .await?;
    machine.wait_for_login(stage.limit(120)).await?;
    // A boot on a starved host may have been cut short and begun again.
    let before = machine.resets();

    stage.step("waiting until the host says for whom it waits");
    let reason = agent::waits_for_lock(&machine, &new.version, stage.limit(420)).await?;
    for part in [holder.id.as_str(), &holder.since.to_string()] {
        expect(reason.contains(part), || {
            format!("the host does not say {part}, only: {reason}")
        })?;
    }
    expect(machine.resets() == before, || {
        "the host rebooted although another one holds the lock".to_owned()
    })?;
    let now = lock.holder().await?;
    expect(now.as_ref() == Some(&holder), || {
        format!("the lock changed hands by itself: {now:?}")
    })?;

    stage.step("releasing the other host's slot");
    lock.release(OTHER).await?;
    agent::reboots(&machine, before, stage.limit(90)).await?;

    stage.step("waiting until 1.1.0 is blessed");
    agent::runs_proven(&machine, &new.version, stage.limit(240)).await?;
    check_running(&machine, &new).await?;
    lock_was_used(&machine, &lock, stage.limit(60)).await?;
    machine.cut_power().await;
    Ok(())
}
