//! What somebody changed in a signed kernel image does not start, and the host falls back to one that nobody changed.

use std::path::Path;
use std::rc::Rc;

use tokio::process::Command;
use twinhull_layout::{BootEntry, Tries};

use super::secure_boot::IMAGE;
use super::stage::{Hardware, Host, Stage, copy_sparse};
use super::update::{blessed, listed};
use crate::disk::{Disk, put_on_esp};
use crate::error::{Error, Result, expect};
use crate::tools;

/// The changed images, under the versions that the loader tries before the good one: the last is the first that is tried.
const VERSIONS: [&str; 4] = ["1.5.0", "1.6.0", "1.7.0", "1.8.0"];

pub(super) async fn run(stage: Rc<Stage>) -> Result<()> {
    let image = stage.image(IMAGE)?;
    let uki = std::fs::read(&image.uki).map_err(|source| Error::file("read", &image.uki, source))?;
    let good = blessed(IMAGE)?;

    stage.step("putting changed kernel images before the good one");
    let disk = stage.folder().join("host.raw");
    copy_sparse(&image.disk, &disk).await?;
    let changed = [
        with_another_byte(&uki, ".cmdline")?,
        with_another_byte(&uki, ".initrd")?,
        twinhull_uki::without_signatures(&uki).map_err(|error| unfit(&error))?,
        signed_by_another(&uki, stage.folder()).await?,
    ];
    let mut entries = Vec::new();
    for (version, content) in VERSIONS.into_iter().zip(changed) {
        let entry = BootEntry {
            // One try: it is refused once.
            tries: Some(Tries { left: 1, done: 0 }),
            ..blessed(version)?
        };
        put_on_esp(&disk, stage.artefacts().arch(), &entry, &content)?;
        entries.push(entry);
    }
    let found = Disk::open(&disk, stage.artefacts().arch())?.boot_entries()?;
    expect(found.iter().rev().skip(1).eq(entries.iter()), || {
        format!("the boot entries are {}", listed(&found))
    })?;

    stage.step("booting on firmware that is given the image's keys");
    let hardware = Hardware {
        secure: true,
        ..Hardware::default()
    };
    let host = Host::new("host", disk.clone());
    let machine = stage.switch_on(Host { hardware, ..host }).await?;
    machine.expect_crashes();
    let mut seen = 0;
    for (what, entry) in [
        "another's signature",
        "no signature",
        "another initramfs",
        "another command line",
    ]
    .into_iter()
    .zip(entries.iter().rev())
    {
        stage.step(format!("waiting until {entry} is refused: {what}"));
        // The loader has counted the try when it says this.
        let tried = BootEntry {
            tries: Some(Tries { left: 0, done: 1 }),
            ..entry.clone()
        };
        let refusal = format!("{tried}: Access denied");
        machine.wait_for_text(&refusal, seen, stage.limit(120)).await?;
        seen = machine.console().position();
        machine.reset().await?;
    }

    stage.step("waiting until the image that nobody changed runs");
    machine.wait_for_login(stage.limit(240)).await?;
    machine.shut_down().await?;
    let left = Disk::open(&disk, stage.artefacts().arch())?.boot_entries()?;
    let all_bad = left.iter().skip(1).all(BootEntry::is_bad);
    expect(
        left.first() == Some(&good) && left.len() == 1 + entries.len() && all_bad,
        || format!("the boot entries are {}", listed(&left)),
    )
}

fn unfit(reason: &dyn std::fmt::Display) -> Error {
    Error::Expectation(format!("the kernel image of {IMAGE}: {reason}"))
}

/// `uki` with one byte in the middle of a section changed.
fn with_another_byte(uki: &[u8], section: &str) -> Result<Vec<u8>> {
    let content = twinhull_uki::section(uki, section).map_err(|error| unfit(&error))?;
    let at = content.as_ptr().addr() - uki.as_ptr().addr() + content.len() / 2;
    let mut changed = uki.to_vec();
    changed[at] ^= 1;
    Ok(changed)
}

/// `uki` with the signature of a key that no firmware knows in place of ours.
async fn signed_by_another(uki: &[u8], folder: &Path) -> Result<Vec<u8>> {
    let [key, certificate, bare, signed] =
        ["other.key", "other.crt", "bare.efi", "signed.efi"].map(|name| folder.join(name));
    let content = twinhull_uki::without_signatures(uki).map_err(|error| unfit(&error))?;
    std::fs::write(&bare, content).map_err(|source| Error::file("write", &bare, source))?;
    let mut make = Command::new(tools::program("openssl")?);
    make.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "30",
        "-subj",
        "/CN=somebody else",
    ]);
    tools::output(make.arg("-keyout").arg(&key).arg("-out").arg(&certificate)).await?;
    let mut sign = Command::new(tools::program("sbsign")?);
    sign.arg("--key")
        .arg(&key)
        .arg("--cert")
        .arg(&certificate)
        .arg("--output")
        .arg(&signed);
    tools::output(sign.arg(&bare)).await?;
    std::fs::read(&signed).map_err(|source| Error::file("read", &signed, source))
}
