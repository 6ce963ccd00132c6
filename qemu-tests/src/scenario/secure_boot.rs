//! Firmware starts what the image's keys signed, and nothing else.

use std::rc::Rc;

use super::stage::Stage;
use crate::disk::{Disk, flip_byte};
use crate::error::{Error, Result, expect};
use crate::machine::Machine;

/// The image that is signed. The others are not: firmware that could verify would enrol their keys at every first boot.
pub(super) const IMAGE: &str = "1.4.0";

/// Bytes that are looked for on the disk to find a file there.
const BLOCK: usize = 4096;

/// The value of a global EFI variable, after its four bytes of attributes.
const SECURE_BOOT: &str =
    "od -An -tu1 -j4 -N1 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SETUP_MODE: &str = "od -An -tu1 -j4 -N1 /sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// The register that the stub extends with the parts of the kernel image.
const PCR_11: &str = "cat /sys/class/tpm/tpm0/pcr-sha256/11";

pub(super) async fn run(stage: Rc<Stage>) -> Result<()> {
    let image = stage.image(IMAGE)?;
    stage.step("booting a signed image on firmware without keys, which it is to give its own");
    let machine = stage.boot_secure(&image).await?;
    machine.wait_for_login(stage.limit(240)).await?;

    stage.step("looking whether Secure Boot is on");
    for (command, wanted) in [(SECURE_BOOT, "1"), (SETUP_MODE, "0")] {
        let found = machine.run(command).await?;
        expect(found.trim() == wanted, || {
            format!("`{command}` gave {}, where {wanted} belongs", found.trim())
        })?;
    }

    stage.step("comparing what its TPM was told with what the kernel image says");
    let uki = std::fs::read(&image.uki).map_err(|source| Error::file("read", &image.uki, source))?;
    let wanted = twinhull_uki::pcr11(&uki).map_err(|error| Error::Expectation(error.to_string()))?;
    let wanted = hex::encode_upper(wanted);
    let found = machine.run(PCR_11).await?;
    expect(found.trim() == wanted, || {
        format!("PCR 11 is {} and not {wanted}", found.trim())
    })?;

    stage.step("changing one byte of the kernel image and starting again");
    let position = on_esp(&stage, &machine, &uki)?;
    flip_byte(disk(&machine)?, position)?;
    let before = machine.console().position();
    machine.expect_crashes();
    machine.reset().await?;
    machine.wait_for_text("Error loading", before, stage.limit(120)).await?;

    stage.step("putting the byte right and starting again");
    flip_byte(disk(&machine)?, position)?;
    machine.reset().await?;
    machine.wait_for_login(stage.limit(240)).await?;
    machine.cut_power().await;
    Ok(())
}

fn disk(machine: &Machine) -> Result<&std::path::Path> {
    machine
        .disk()
        .ok_or_else(|| Error::Expectation("the machine has no disk".to_owned()))
}

/// The place on the disk of a block in the middle of the file `content`, which must be on the ESP exactly once.
fn on_esp(stage: &Stage, machine: &Machine, content: &[u8]) -> Result<u64> {
    let disk = Disk::open(disk(machine)?, stage.artefacts().arch())?;
    let middle = content.len() / BLOCK / 2;
    for block in content.chunks_exact(BLOCK).skip(middle) {
        if let [position] = disk.find_on_esp(block)?[..] {
            return Ok(position);
        }
    }
    Err(Error::Expectation("the kernel image is not on the ESP".to_owned()))
}
