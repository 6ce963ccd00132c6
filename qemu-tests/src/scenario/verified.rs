//! The root is what was signed, or an error.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use twinhull_layout::Slot;

use super::stage::Stage;
use crate::disk::{Disk, flip_byte};
use crate::error::{Error, Result, expect};
use crate::machine::Machine;

/// The unit in which dm-verity checks, and on which an uncompressed erofs puts file data.
const BLOCK: usize = 4096;

/// Files that nothing reads by itself, largest last.
const CANDIDATES: &str = "find /usr/share -xdev -type f -size +64k -printf '%s %p\\n' | sort -n | tail -n 20";

pub(super) async fn run(stage: Rc<Stage>) -> Result<()> {
    let image = stage.image("1.0.0")?;
    stage.step("booting 1.0.0");
    let machine = stage.boot(&image, None).await?;
    machine.wait_for_login(stage.limit(120)).await?;

    stage.step("looking at the root's mount");
    root_is_verified_erofs(&machine).await?;
    let line = machine.run("cat /proc/cmdline").await?;
    expect(line.contains(&format!("roothash={}", image.root_hash)), || {
        format!("the kernel command line lacks the root hash of the image: {line}")
    })?;

    stage.step("waiting until everything has started, and nothing has failed");
    let asked = "systemctl is-system-running --wait; systemctl --failed --no-legend";
    let started = machine.try_run_within(asked, stage.limit(120)).await?.stdout;
    expect(started.trim() == "running", || {
        format!("not everything has started: {started}")
    })?;

    stage.step("writing to /usr");
    for attempt in ["touch /usr/new", "rm /usr/lib/os-release", "mount -o remount,rw /"] {
        let output = machine.try_run(attempt).await?;
        expect(output.status != 0, || {
            format!("`{attempt}` went through on an immutable root")
        })?;
    }

    stage.step("flipping a byte of a file behind the guest's back");
    let disk = machine
        .disk()
        .ok_or_else(|| Error::Expectation("the machine has no disk".to_owned()))?
        .to_owned();
    let (file, position) = a_block_on_disk(&machine, &Disk::open(&disk, stage.artefacts().arch())?).await?;
    let digest = digest(&machine, &file).await?;
    flip_byte(&disk, position)?;
    stage.step(format!("reading {file} with its flipped byte"));
    // The image may also be set to panic at corruption; both are right, only silence is wrong.
    machine.expect_crashes();
    match read_again(&machine, &file).await {
        Ok((0, text)) => {
            return Err(Error::Expectation(format!(
                "{file} was read with a flipped byte, as if nothing were: {text}"
            )));
        }
        Ok((_, text)) => expect(text.contains("Input/output error"), || {
            format!("reading {file} with a flipped byte failed, but not for that: {text}")
        })?,
        Err(Error::Unreachable(_)) => {
            machine.wait_for_text("is corrupted", 0, stage.limit(30)).await?;
            return Ok(());
        }
        Err(error) => return Err(error),
    }

    stage.step("putting the byte right");
    flip_byte(&disk, position)?;
    let (status, text) = read_again(&machine, &file).await?;
    expect(status == 0 && text.contains(&digest), || {
        format!("{file} cannot be read as before although its byte is right again: {text}")
    })?;
    machine.cut_power().await;
    Ok(())
}

/// The mount of `/` is read-only erofs on a device-mapper device over two partitions of the boot disk.
async fn root_is_verified_erofs(machine: &Machine) -> Result<()> {
    let mounts = machine.run("cat /proc/self/mountinfo").await?;
    // Fields of proc_pid_mountinfo(5): 3 is the device, 5 the mount point, 6 its options; the type follows a dash.
    let root = mounts
        .lines()
        .rev()
        .find(|line| line.split(' ').nth(4) == Some("/"))
        .unwrap_or_default()
        .to_owned();
    let device = root.split(' ').nth(2).unwrap_or_default();
    let read_only = root
        .split(' ')
        .nth(5)
        .is_some_and(|options| options.split(',').any(|option| option == "ro"));
    let kind = root
        .split_once(" - ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .unwrap_or_default();
    expect(kind == "erofs" && read_only, || {
        format!("the root is not a read-only erofs: {root}")
    })?;
    let slaves = machine.run(&format!("ls /sys/dev/block/{device}/slaves")).await?;
    let parts: Vec<_> = slaves.split_whitespace().collect();
    expect(parts.len() == 2, || {
        format!("the root's device should lie over data and hash tree, not over: {parts:?}")
    })?;
    let uuid = machine.run(&format!("cat /sys/dev/block/{device}/dm/uuid")).await?;
    expect(uuid.to_ascii_uppercase().contains("VERITY"), || {
        format!("the root's device is not dm-verity: {uuid}")
    })
}

/// A file and the place of one of its blocks on the disk, found by content: the block must be there exactly once.
async fn a_block_on_disk(machine: &Machine, disk: &Disk) -> Result<(String, u64)> {
    let candidates = machine.run(CANDIDATES).await?;
    for line in candidates.lines().rev() {
        let Some((size, file)) = line.split_once(' ') else {
            continue;
        };
        let middle = size.parse::<usize>().unwrap_or(0) / BLOCK / 2;
        let read = format!("dd if='{file}' bs={BLOCK} skip={middle} count=1 status=none | base64 -w 0");
        let text = machine.run(&read).await?;
        let block = STANDARD.decode(text.trim()).unwrap_or_default();
        if block.len() == BLOCK
            && let [position] = disk.find_block(Slot::A, &block)?[..]
        {
            return Ok((file.to_owned(), position));
        }
    }
    Err(Error::Expectation(format!(
        "none of these files has a block that stands on the disk exactly once:\n{candidates}"
    )))
}

async fn digest(machine: &Machine, file: &str) -> Result<String> {
    let line = machine.run(&format!("sha256sum '{file}'")).await?;
    Ok(line.split(' ').next().unwrap_or_default().to_owned())
}

/// Reads the file from the medium; exit status and everything written.
async fn read_again(machine: &Machine, file: &str) -> Result<(i32, String)> {
    let command = format!("sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum '{file}'");
    let output = machine.try_run(&command).await?;
    Ok((output.status, format!("{}{}", output.stdout, output.stderr)))
}
