//! One whole update, shown: what the first command of the README ends with.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use indicatif::HumanBytes;

use crate::error::Result;
use crate::machine::Machine;
use crate::scenario::{Options, Stage, Theatre, agent, update};
use crate::servers::lock::{Event, LockServer};
use crate::servers::release::{ReleaseServer, Traffic};
use crate::steps::Board;

/// What the paths of payloads in a repository begin with.
const PAYLOADS: &str = "payloads/";

/// Runs it; what to print at the end.
///
/// To be called on a runtime of one thread (see [`crate::process::Process`]).
pub async fn run(options: &Options) -> Result<String> {
    let board = Board::new();
    let theatre = Rc::new(Theatre::for_one(options, &board).await?);
    let stage = Stage::open(Rc::clone(&theatre), "demo", &board)?;
    let mut outcome = show(&stage).await;
    stage.collect().await;
    match &outcome {
        Ok(_) => stage.steps().finish("done"),
        Err(_) => stage.steps().finish(&format!(
            "failed; the log of this phase is the last one in {}",
            stage.logs().display()
        )),
    }
    // Machines end with their stage.
    drop(stage);
    if options.keep
        && let Some(theatre) = Rc::into_inner(theatre)
    {
        let disks = format!("disks: {}\n", theatre.keep_disks().display());
        match &mut outcome {
            Ok(shown) => shown.push_str(&disks),
            Err(_) => eprint!("{disks}"),
        }
    }
    outcome
}

/// Times the phases, and writes what happened in each to a log of its own: also in the one that fails.
struct Phases<'a> {
    stage: &'a Stage,
    machine: &'a Machine,
    name: &'static str,
    began: Instant,
    taken: Vec<(&'static str, Duration)>,
    /// Where the console and the release server's log were when the phase began.
    seen: (u64, usize),
}

impl Phases<'_> {
    /// Ends the present phase and begins the one called `name`, announced as `step`.
    fn next(&mut self, name: &'static str, step: &str) {
        self.end();
        self.name = name;
        self.stage.step(step);
    }

    /// Ends the last phase; every phase with its time.
    fn finish(mut self) -> Vec<(&'static str, Duration)> {
        self.end();
        self.name = "";
        std::mem::take(&mut self.taken)
    }

    fn end(&mut self) {
        self.taken.push((self.name, self.began.elapsed()));
        self.began = Instant::now();
        let (console, end) = self.machine.console().text_from(self.seen.0);
        let requests = fs::read_to_string(self.stage.release_log()).unwrap_or_default();
        let new = requests.get(self.seen.1..).unwrap_or_default();
        self.seen = (end, requests.len());
        let text = format!("== console ==\n{console}\n== requests to the release server ==\n{new}");
        let name = format!("{}-{}.log", self.taken.len(), self.name.replace(' ', "-"));
        let path = self.stage.logs().join(name);
        if let Err(error) = fs::write(&path, text) {
            tracing::warn!(log = %path.display(), "the log of a phase cannot be written: {error}");
        }
    }
}

impl Drop for Phases<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            self.end();
        }
    }
}

async fn show(stage: &Stage) -> Result<String> {
    let (old, new) = (stage.image("1.0.0")?, stage.image("1.1.0")?);
    stage.step("offering 1.1.0 in the signed repository");
    let repository = stage.repository("repo").await?;
    repository.offer(&new, Some(&old)).await?;
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
        name: "boot 1.0.0",
        began,
        taken: Vec::new(),
        seen: (0, 0),
    };
    let asked = |prefix| releases.traffic(prefix).requests > 0;
    machine
        .until("first look at the repository", stage.limit(180), async || {
            Ok(asked("").then_some(()).ok_or_else(|| "no request".to_owned()))
        })
        .await?;

    phases.next("find and verify", "1.0.0 runs and looks for an update");
    machine
        .until("first byte of the update", stage.limit(120), async || {
            Ok(asked(PAYLOADS)
                .then_some(())
                .ok_or_else(|| "no payload was asked for".to_owned()))
        })
        .await?;

    phases.next("fetch and write", "fetching 1.1.0 and writing it to the other slot");
    fetched(stage, &machine, &releases, &lock).await?;

    phases.next("shut down", "rebooting into 1.1.0 under the reboot lock");
    machine.wait_for_reset(0, stage.limit(120)).await?;

    phases.next("boot 1.1.0 and bless it", "1.1.0 boots and has to prove itself healthy");
    agent::runs_proven(&machine, &new.version, stage.limit(300)).await?;

    phases.next("release the lock", "giving the lock back");
    update::lock_was_used(&machine, &lock, stage.limit(60)).await?;
    update::check_running(&machine, &new).await?;
    let phases = phases.finish();

    let history = lock.status().await?.history;
    let traffic = (releases.traffic(PAYLOADS), releases.traffic(""));
    let versions = (old.version.to_string(), new.version.to_string());
    let table = table(&versions, traffic, &phases, &history);
    Ok(format!("{table}\nlogs: {}\n", stage.logs().display()))
}

/// Waits until the update is written and the lock is taken, showing how far the agent says it is.
async fn fetched(stage: &Stage, machine: &Machine, releases: &ReleaseServer, lock: &LockServer) -> Result<()> {
    let bar = stage.steps().bar();
    let shown = Cell::new(None);
    let outcome = machine
        .until("reboot lock taken", stage.limit(420), async || {
            if lock.status().await?.history.iter().any(|event| event.what == "granted") {
                return Ok(Ok(()));
            }
            let status = agent::status(machine).await?;
            let fetched = HumanBytes(releases.traffic(PAYLOADS).bytes);
            if let Some(agent::Progress { step, done, total }) = status.progress() {
                // Without a terminal, a line for each fifth of each step is enough.
                let fifth = (step.clone(), (done * 5).checked_div(total));
                match &bar {
                    Some(bar) => {
                        bar.set_length(total);
                        bar.set_position(done);
                        bar.set_message(format!("{step}, {fetched} fetched"));
                    }
                    None if shown.take().as_ref() != Some(&fifth) => {
                        stage.step(format!(
                            "{step}: {} of {}, {fetched} fetched",
                            HumanBytes(done),
                            HumanBytes(total)
                        ));
                    }
                    None => {}
                }
                shown.set(Some(fifth));
            }
            Ok(Err(format!("{}, {fetched} fetched", status.in_words())))
        })
        .await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    outcome
}

/// The short table at the end: versions, bytes, seconds, and who held the lock when.
fn table(
    (before, after): &(String, String),
    (payload, all): (Traffic, Traffic),
    phases: &[(&str, Duration)],
    history: &[Event],
) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:28}{value}");
    };
    row("version before", before.to_owned());
    row("version after", after.to_owned());
    row(
        "bytes fetched",
        format!("{} ({} of them payloads)", all.bytes, payload.bytes),
    );
    for (name, taken) in phases {
        row(name, format!("{:.1} s", taken.as_secs_f64()));
    }
    for event in history.iter().rev() {
        if let Some(host) = &event.id {
            row(&format!("lock {}", event.what), format!("{} by {host}", event.at));
        }
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
        let phases = [("boot 1.0.0", Duration::from_millis(1500))];
        let versions = ("1.0.0".to_owned(), "1.1.0".to_owned());
        let text = table(&versions, (traffic, traffic), &phases, &history);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[2], "bytes fetched               7 (7 of them payloads)");
        assert_eq!(lines[3], "boot 1.0.0                  1.5 s");
        assert!(lines[4].starts_with("lock granted") && lines[5].starts_with("lock released"));
    }
}
