//! Every gate on the way to the reboot, one after the other; hooks around it; and the way back by hand.

use std::rc::Rc;

use super::agent;
use super::stage::Stage;
use super::update::check_running;
use crate::error::{Result, expect};
use crate::machine::Machine;

/// Where the hook writes down what it was called for: what the agent's unit lets it write to, and a reboot leaves.
const LOG: &str = "/var/lib/twinhull-updater/hook-calls";

/// Where the gates of the configuration are written, one at a time.
const GATES: &str = "/etc/twinhull-updater/config.d/60-gates.toml";

/// Those gates, as the guest's shell writes them, each with its code and a part of its words.
const CONFIGURED: [(&str, &str, &str); 4] = [
    // An hour of a day that is neither today nor tomorrow.
    (
        "windows = [\\\"$(LC_ALL=C date -u -d '3 days' +%a) 02:00-03:00\\\"]",
        "window",
        "opens",
    ),
    ("min_uptime_seconds = 86400", "min-uptime", "of at least 1440 minutes"),
    ("users = true", "users", "logged in: root"),
    ("healthy = true", "unhealthy", "the disk is nearly full"),
];

pub(super) async fn run(stage: Rc<Stage>) -> Result<()> {
    let (old, new) = (stage.image("1.0.0")?, stage.image("1.1.0")?);
    stage.step("publishing 1.1.0");
    let repository = stage.repository("repo").await?;
    repository.offer(&new, Some(&old)).await?;
    let releases = stage.serve(&repository).await?;

    stage.step("booting 1.0.0 with every gate closed");
    let machine = stage
        .boot(&old, Some(&stage.site(&releases, None, "immediate")))
        .await?;
    machine.wait_for_login(stage.limit(120)).await?;
    // A boot on a starved host may have been cut short and begun again.
    let before = machine.resets();
    script(&machine, "gates.d/10-orders", "echo three orders are open; exit 1").await?;
    script(&machine, "hooks.d/10-drain", &format!("echo $1 >> {LOG}")).await?;
    machine
        .run("mkdir -p /run/twinhull-updater && echo nightly batch > /run/twinhull-updater/no-reboot")
        .await?;
    machine
        .run(
            "systemd-run --unit=busy systemd-inhibit --what=shutdown --who=backup --why=running --mode=block sleep infinity",
        )
        .await?;

    stage.step("waiting for each gate to refuse");
    refuses(&stage, &machine, "marker", "nightly batch", 420).await?;
    machine
        .run("rm /run/twinhull-updater/no-reboot && systemctl reload twinhull-updater")
        .await?;
    refuses(&stage, &machine, "inhibited", "backup", 90).await?;
    machine
        .run("systemctl stop busy && systemctl reload twinhull-updater")
        .await?;
    refuses(&stage, &machine, "gate-script", "three orders are open", 90).await?;
    // The script stays closed behind the others, so that nothing goes on between two of them.
    machine
        .run("systemd-run --unit=person -p PAMName=login -p User=root --setenv=XDG_SESSION_CLASS=user sleep infinity")
        .await?;
    script(&machine, "health.d/50-disk", "echo the disk is nearly full; exit 1").await?;
    for (gate, code, words) in CONFIGURED {
        machine
            .run(&format!(
                "printf '[gates]\\n%s\\n' \"{gate}\" > {GATES} && systemctl reload twinhull-updater"
            ))
            .await?;
        refuses(&stage, &machine, code, words, 90).await?;
    }
    machine
        .run(&format!(
            "rm {GATES} /etc/twinhull/health.d/50-disk && systemctl stop person && systemctl reload twinhull-updater"
        ))
        .await?;
    refuses(&stage, &machine, "gate-script", "three orders are open", 90).await?;
    machine.run("twinhull-updater hold --reason audit").await?;
    refuses(&stage, &machine, "held", "audit", 30).await?;
    expect(machine.resets() == before, || {
        "the host rebooted although a gate was closed".to_owned()
    })?;

    stage.step("opening the last gates and waiting for the reboot");
    machine.run("rm /etc/twinhull/gates.d/10-orders").await?;
    machine.run("twinhull-updater unhold").await?;
    agent::reboots(&machine, before, stage.limit(120)).await?;
    agent::runs_proven(&machine, &new.version, stage.limit(240)).await?;
    check_running(&machine, &new).await?;
    let calls = machine.run(&format!("cat {LOG}")).await?;
    expect(calls.split_whitespace().eq(["before", "after"]), || {
        format!("the hook was called for: {calls}")
    })?;

    stage.step("going back by hand");
    // By the guest itself: the connection would break when the reboot is quicker than the answer.
    machine
        .run("systemd-run --collect --no-block twinhull-updater rollback --reboot")
        .await?;
    agent::fell_back(&machine, &old.version, &new.version, stage.limit(240)).await?;
    check_running(&machine, &old).await?;
    machine.cut_power().await;
    Ok(())
}

/// An executable script below `/etc/twinhull`.
async fn script(machine: &Machine, path: &str, text: &str) -> Result<()> {
    let path = format!("/etc/twinhull/{path}");
    let command =
        format!("mkdir -p $(dirname {path}) && printf '#!/bin/sh\\n%s\\n' '{text}' > {path} && chmod 755 {path}");
    machine.run(&command).await.map(drop)
}

/// Waits until the reboot is refused with `code`, for a reason that has `words`.
async fn refuses(stage: &Stage, machine: &Machine, code: &str, words: &str, seconds: u32) -> Result<()> {
    machine
        .until(&format!("refusal with {code}"), stage.limit(seconds), async || {
            let status = agent::status(machine).await?;
            Ok(match (status.phase(), status.waiting()) {
                ("staged", Some((found, reason))) if found == code && reason.contains(words) => Ok(()),
                _ => Err(status.in_words()),
            })
        })
        .await
}
