//! One whole update, shown: what the first command of the README ends with.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::scenario::{Options, Stage, Theatre, agent, update};
use crate::servers::lock::Event;
use crate::servers::release::{ReleaseServer, Traffic};
use crate::steps::Board;

/// Runs it; what to print at the end.
///
/// To be called on a runtime of one thread (see [`crate::process::Process`]).
pub async fn run(options: &Options) -> Result<String> {
    let board = Board::new();
    let theatre = Rc::new(Theatre::open(options, &board).await?);
    let stage = Stage::open(Rc::clone(&theatre), "demo", &board)?;
    let outcome = show(&stage).await;
    match &outcome {
        Ok(_) => stage.steps().finish("done"),
        Err(_) => stage.steps().finish(&format!(
            "failed; the log of each phase is in {}",
            stage.logs().display()
        )),
    }
    outcome
}

/// Times the phases and writes what the console said during each to a log of its own.
struct Phases<'a> {
    stage: &'a Stage,
    machine: &'a Machine,
    taken: Vec<(String, Duration)>,
    began: Instant,
    position: u64,
}

impl Phases<'_> {
    /// Ends the present phase under `name` and begins the one that is announced as `next`.
    fn end(&mut self, name: &str, next: &str) -> Result<()> {
        self.taken.push((name.to_owned(), self.began.elapsed()));
        self.began = Instant::now();
        let (text, end) = self.machine.console().text_from(self.position);
        self.position = end;
        let path = self
            .stage
            .logs()
            .join(format!("{}-{}.log", self.taken.len(), name.replace(' ', "-")));
        fs::write(&path, text).map_err(|source| Error::file("write the log", &path, source))?;
        self.stage.step(next);
        Ok(())
    }
}

async fn show(stage: &Stage) -> Result<String> {
    let (old, new) = (stage.image("1.0.0")?, stage.image("1.1.0")?);
    stage.step("offering 1.1.0 in the signed repository");
    let repository = stage.repository("repo").await?;
    let release = repository.offer(&new, Some(&old)).await?;
    let releases = stage.serve(&repository).await?;
    let lock = stage.lock_server().await?;

    stage.step("booting 1.0.0");
    let began = Instant::now();
    let machine = stage
        .boot(&old, Some(&stage.site(&releases, Some(&lock), "lock")))
        .await?;
    let mut phases = Phases {
        stage,
        machine: &machine,
        taken: Vec::new(),
        began,
        position: 0,
    };

    machine
        .until("first look at the repository", stage.limit(180), async || {
            Ok(if releases.traffic("").requests > 0 {
                Ok(())
            } else {
                Err("no request".to_owned())
            })
        })
        .await?;
    phases.end("boot 1.0.0", "1.0.0 runs and looks for an update")?;
    machine
        .until("first byte of the update", stage.limit(120), async || {
            Ok(if payload(&releases).requests > 0 {
                Ok(())
            } else {
                Err("no payload was asked for".to_owned())
            })
        })
        .await?;

    let size = smallest(&release);
    phases.end("find and verify", "fetching 1.1.0 and writing it to the other slot")?;
    let bar = stage.steps().bar(size);
    let position = Cell::new(0);
    machine
        .until("reboot lock taken", stage.limit(420), async || {
            let bytes = payload(&releases).bytes;
            if let Some(bar) = &bar {
                bar.set_position(bytes.min(size));
            }
            position.set(bytes);
            let taken = lock.status().await?.history.iter().any(|event| event.what == "granted");
            Ok(if taken {
                Ok(())
            } else {
                Err(format!("{bytes} bytes fetched"))
            })
        })
        .await?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }

    phases.end("fetch and write", "rebooting into 1.1.0 under the reboot lock")?;
    machine.wait_for_reset(0, stage.limit(120)).await?;
    phases.end("shut down", "1.1.0 boots and has to prove itself healthy")?;
    agent::runs_proven(&machine, &new.version, stage.limit(300)).await?;
    phases.end("boot 1.1.0 and bless it", "giving the lock back")?;
    update::lock_was_used(&machine, &lock, stage.limit(60)).await?;
    update::check_running(&machine, &new).await?;
    phases.end("release the lock", "switching off")?;

    let history = lock.status().await?.history;
    let traffic = (payload(&releases), releases.traffic(""));
    let table = table(
        &old.version.to_string(),
        &new.version.to_string(),
        traffic,
        &phases.taken,
        &history,
    );
    machine.cut_power().await;
    Ok(format!("{table}\nlogs: {}\n", stage.logs().display()))
}

fn payload(releases: &ReleaseServer) -> Traffic {
    releases.traffic("payloads/")
}

/// The fewest bytes in which the release can be fetched: what a host that has the base asks for.
fn smallest(release: &twinhull_trust::ReleaseDocument) -> u64 {
    let least = |payloads: &[twinhull_trust::PayloadRef]| payloads.iter().map(|payload| payload.size).min();
    least(&release.root.payloads).unwrap_or(0) + least(&release.uki.payloads).unwrap_or(0)
}

fn table(
    before: &str,
    after: &str,
    (payload, all): (Traffic, Traffic),
    phases: &[(String, Duration)],
    history: &[Event],
) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:28}{value}");
    };
    row("version before", before.to_owned());
    row("version after", after.to_owned());
    row("bytes fetched", format!("{} (payloads {})", all.bytes, payload.bytes));
    for (name, taken) in phases {
        row(name, format!("{:.1} s", taken.as_secs_f64()));
    }
    for event in history.iter().rev() {
        let host = event.id.as_deref().unwrap_or("-");
        row(&format!("lock {}", event.what), format!("{host} at {}", event.at));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_the_lock_in_the_order_it_happened() {
        let event = |what: &str, at: &str| Event {
            at: at.parse().unwrap(),
            what: what.to_owned(),
            id: Some("host".to_owned()),
        };
        let history = [
            event("released", "2026-01-01T00:02:00Z"),
            event("granted", "2026-01-01T00:01:00Z"),
        ];
        let traffic = Traffic {
            requests: 1,
            bytes: 7,
            ..Traffic::default()
        };
        let phases = [("boot 1.0.0".to_owned(), Duration::from_millis(1500))];
        let text = table("1.0.0", "1.1.0", (traffic, traffic), &phases, &history);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[2], "bytes fetched               7 (payloads 7)");
        assert_eq!(lines[3], "boot 1.0.0                  1.5 s");
        assert!(lines[4].starts_with("lock granted") && lines[5].starts_with("lock released"));
    }
}
