//! What a boot costs: from the moment at which the firmware hands over to texts on the console.
//!
//! Time on a clock depends on what else the host does. What an emulator computes and reads for its guest hardly does, so images are
//! compared by these, booted in turns.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::accelerator::Choice;
use crate::alone::Alone;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::steps::Board;

/// What the firmware writes when it starts what is on the disk (EDK II, `BdsDxe`).
const HANDED_OVER: &str = "BdsDxe: starting Boot";

/// Seconds to wait for a text, on the reference machine.
const LIMIT: u32 = 300;

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, which is 100 on both architectures.
const TICKS: u64 = 100;

/// What is measured, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// Raw disk images of one architecture.
    pub images: Vec<PathBuf>,
    /// Texts on the console, in whatever order they come.
    pub texts: Vec<String>,
    /// How often each image is booted.
    pub runs: u16,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// How processors are run.
    pub accelerator: Choice,
}

/// One boot up to one text.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// The image.
    pub image: PathBuf,
    /// The text.
    pub text: String,
    /// Seconds that the emulator computed since the firmware handed over.
    pub cpu_seconds: f64,
    /// The same by the clock.
    pub seconds: f64,
    /// Bytes that were read from the disk since the firmware handed over.
    pub bytes_read: u64,
    /// What the emulator holds in memory: what the guest has touched, and what emulation needs.
    pub memory: u64,
}

/// Where a machine is.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    cpu: Duration,
    read: u64,
}

/// Boots the images in turns; every boot begins with a fresh copy. Tells each cost as it comes.
///
/// # Errors
/// An image that cannot be read, a text that does not come.
pub async fn measure(request: &Request, tell: impl FnMut(&Cost)) -> Result<()> {
    let first = request.images.first().map_or(Path::new(""), PathBuf::as_path);
    let alone = Alone::prepare(first, request.accelerator, &Board::new()).await?;
    let outcome = in_turns(&alone, request, tell).await;
    alone.conclude(outcome)
}

async fn in_turns(alone: &Alone, request: &Request, mut tell: impl FnMut(&Cost)) -> Result<()> {
    for run in 0..request.runs {
        for (number, image) in request.images.iter().enumerate() {
            let name = format!("boot-{number}");
            let machine = alone.start(name, image, request.memory_mib, run > 0).await?;
            let limit = machine.limit(LIMIT);
            let position = machine.wait_for_text(HANDED_OVER, 0, limit).await?;
            let begun = Mark::of(&machine).await?;
            let mut texts: Vec<&str> = request.texts.iter().map(String::as_str).collect();
            while !texts.is_empty() {
                let (number, _) = machine.wait_for_one_of(&texts, position, limit).await?;
                let now = Mark::of(&machine).await?;
                tell(&Cost {
                    image: image.clone(),
                    text: texts.remove(number).to_owned(),
                    cpu_seconds: now.cpu.saturating_sub(begun.cpu).as_secs_f64(),
                    seconds: now.at.duration_since(begun.at).as_secs_f64(),
                    bytes_read: now.read.saturating_sub(begun.read),
                    memory: resident(machine.process_id())?,
                });
            }
            machine.cut_power().await;
        }
    }
    Ok(())
}

impl Mark {
    async fn of(machine: &Machine) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            cpu: computed(machine.process_id())?,
            read: machine.bytes_read().await?,
        })
    }
}

/// What the process has computed so far (`utime` and `stime` of `proc_pid_stat(5)`).
fn computed(process: u32) -> Result<Duration> {
    let ticks = |text: &str| {
        // The name, in brackets, may hold anything.
        let (_, fields) = text.rsplit_once(')')?;
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
        Some(times.next()?.ok()? + times.next()?.ok()?)
    };
    let ticks = of_process(process, "stat", ticks)?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// Bytes that the process holds in memory (`VmRSS` of `proc_pid_status(5)`).
fn resident(process: u32) -> Result<u64> {
    of_process(process, "status", |text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib << 10)
    })
}

fn of_process<T>(process: u32, file: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T> {
    let path = PathBuf::from(format!("/proc/{process}/{file}"));
    let text = fs::read_to_string(&path).map_err(|source| Error::file("read", &path, source))?;
    read(&text).ok_or_else(|| Error::file("read", &path, std::io::Error::other("its form is not known")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_computes_and_holds_is_read_from_the_kernel() {
        let mut busy = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let process = busy.id();
        let before = computed(process).unwrap();
        while computed(process).unwrap() < before + Duration::from_millis(50) {
            std::thread::yield_now();
        }
        // A shell needs some hundred KiB and no GiB: neither pages nor KiB are taken for bytes.
        let held = resident(process).unwrap();
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert!((64 << 10..256 << 20).contains(&held), "{held}");
        assert!(computed(u32::MAX).is_err());
    }
}
