//! One image, several hosts. Each becomes somebody of its own, and is told the rest by system credentials alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::stage::{Host, Stage, copy_sparse};
use crate::artefacts::Image;
use crate::error::{Error, Result, expect};
use crate::machine::Machine;
use crate::machine::credential::Credential;

/// The hosts, with what their disks have more than the image, in bytes.
const HOSTS: [(&str, u64); 2] = [("port", 1 << 30), ("starboard", 3 << 30)];
/// How many hosts [`ten`] provisions.
const MANY: usize = 10;
/// Who may log in beside root.
const USER: &str = "sailor";
/// The kernel's network device that a site asks for.
const BRIDGE: &str = "quay0";
/// The state partition of the image, as its definition says.
const IMAGE_STATE: u64 = 1 << 30;
/// What a partition may lose to the file system's own bookkeeping, in percent.
const BOOKKEEPING: u64 = 12;

/// What makes a host itself.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    machine_id: String,
    host_key: String,
}

pub(super) async fn run(stage: Rc<Stage>) -> Result<()> {
    let image = stage.image("1.0.0")?;
    let mut identities = Vec::new();
    for (name, more) in HOSTS {
        stage.step(format!(
            "booting {name}, whose disk is {} GiB larger than the image",
            more >> 30
        ));
        let machine = start(&stage, &image, name, more).await?;
        machine.wait_for_login(stage.limit(120)).await?;
        grew(&machine, more).await?;
        is_what_it_was_told(&machine, name).await?;
        let identity = identity(&machine).await?;
        machine.shut_down().await?;

        stage.step(format!("booting {name} again"));
        let machine = stage.switch_on(told(&stage, name, disk(&stage, name))).await?;
        machine.wait_for_login(stage.limit(120)).await?;
        let again = self::identity(&machine).await?;
        expect(again == identity, || {
            format!("{name} became somebody else: {identity:?}, then {again:?}")
        })?;
        machine.cut_power().await;
        identities.push(identity);
    }
    nobody_is_somebody_else(&identities)
}

/// Ten hosts one after the other, each with as much disk as the image.
pub(super) async fn ten(stage: Rc<Stage>) -> Result<()> {
    let image = stage.image("1.0.0")?;
    let mut identities = Vec::new();
    for number in 1..=MANY {
        let name = format!("berth-{number}");
        stage.step(format!("booting {name}"));
        let machine = start(&stage, &image, &name, 0).await?;
        machine.wait_for_login(stage.limit(120)).await?;
        is_what_it_was_told(&machine, &name).await?;
        identities.push(identity(&machine).await?);
        machine.cut_power().await;
        stage.forget(&machine);
        let disk = disk(&stage, &name);
        fs::remove_file(&disk).map_err(|source| Error::file("remove", disk, source))?;
    }
    stage.step("comparing the ten");
    nobody_is_somebody_else(&identities)
}

/// No machine id and no host key is there twice.
fn nobody_is_somebody_else(identities: &[Identity]) -> Result<()> {
    let (mut ids, mut keys) = (BTreeMap::new(), BTreeMap::new());
    for (at, identity) in identities.iter().enumerate() {
        let earlier = [
            ids.insert(&identity.machine_id, at),
            keys.insert(&identity.host_key, at),
        ];
        if let Some(earlier) = earlier.into_iter().flatten().next() {
            let other = &identities[earlier];
            return Err(Error::Expectation(format!(
                "two hosts share an identity: {other:?} and {identity:?}"
            )));
        }
    }
    Ok(())
}

fn disk(stage: &Stage, name: &str) -> PathBuf {
    stage.folder().join(format!("{name}.raw"))
}

/// A copy of the image on a larger disk, as an installer or a cloud leaves it: its backup table is where the image ended.
async fn start(stage: &Stage, image: &Image, name: &str, more: u64) -> Result<Rc<Machine>> {
    let disk = disk(stage, name);
    copy_sparse(&image.disk, &disk).await?;
    let failed = |source| Error::file("enlarge the disk", &disk, source);
    let file = File::options().write(true).open(&disk).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    file.set_len(size + more).map_err(failed)?;
    stage.switch_on(told(stage, name, disk)).await
}

/// Hostname, a user with a key, and a network device; see `systemd.system-credentials(7)`.
fn told<'a>(stage: &Stage, name: &'a str, disk: PathBuf) -> Host<'a> {
    let key = STANDARD.encode(stage.public_key());
    let home = format!("/var/home/{USER}");
    Host {
        credentials: vec![
            Credential::new("system.hostname", name),
            Credential::new("sysusers.extra", format!("u {USER} 1000 - {home} /bin/bash\n")),
            Credential::new(
                "tmpfiles.extra",
                format!(
                    "d {home} 0700 {USER} {USER}\nd {home}/.ssh 0700 {USER} {USER}\n\
                     f+~ {home}/.ssh/authorized_keys 0600 {USER} {USER} - {key}\n"
                ),
            ),
            Credential::new(
                "network.netdev.50-quay",
                format!("[NetDev]\nName={BRIDGE}\nKind=bridge\n"),
            ),
        ],
        ..Host::new(name, disk)
    }
}

/// The state file system fills what the disk has more than the image: it is larger than that, less its own bookkeeping.
async fn grew(machine: &Machine, more: u64) -> Result<()> {
    let said = machine.run("findmnt --noheadings --bytes --output SIZE /state").await?;
    let size: u64 = said.trim().parse().unwrap_or_default();
    // Without growing it has at most what the image gives it.
    let least = (IMAGE_STATE + more) / 100 * (100 - BOOKKEEPING);
    expect(size >= least, || {
        format!("the state file system has {size} bytes and should have {least} or more")
    })
}

async fn is_what_it_was_told(machine: &Machine, name: &str) -> Result<()> {
    let said = machine.run("hostname").await?;
    expect(said.trim() == name, || {
        format!("the host is called {said:?} and not {name}")
    })?;
    machine
        .until(&format!("login as {USER}"), machine.limit(90), async || {
            let user = machine.log_in_as(USER).await?;
            Ok(if user == USER { Ok(()) } else { Err(user) })
        })
        .await?;
    let kind = machine.run(&format!("networkctl status --no-pager {BRIDGE}")).await?;
    expect(kind.contains("bridge"), || format!("{BRIDGE} is no bridge: {kind}"))
}

async fn identity(machine: &Machine) -> Result<Identity> {
    let machine_id = machine.run("cat /etc/machine-id").await?.trim().to_owned();
    let host_key = machine
        .run("cat /etc/ssh/ssh_host_ed25519_key.pub")
        .await?
        .trim()
        .to_owned();
    expect(machine_id.len() == 32 && host_key.starts_with("ssh-ed25519 "), || {
        format!("an identity is incomplete: {machine_id:?}, {host_key:?}")
    })?;
    Ok(Identity { machine_id, host_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(machine_id: &str, host_key: &str) -> Identity {
        let (machine_id, host_key) = (machine_id.to_owned(), host_key.to_owned());
        Identity { machine_id, host_key }
    }

    #[test]
    fn half_an_identity_in_common_is_too_much() {
        let [one, two] = [identity("1", "a"), identity("2", "b")];
        nobody_is_somebody_else(&[one, two]).unwrap();
        for third in [identity("1", "c"), identity("3", "b")] {
            let error = nobody_is_somebody_else(&[identity("1", "a"), identity("2", "b"), third]).unwrap_err();
            assert!(error.to_string().contains("share an identity"));
        }
    }
}
