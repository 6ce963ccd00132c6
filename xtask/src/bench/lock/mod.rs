//! The reboot lock under load: one etcd member, server and load on the same machine.

mod load;
mod programs;

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::evidence::{Evidence, Figure, Goal, Publication};
use crate::phase::Phases;
use crate::workspace;
use load::Loaded;
use programs::{Etcd, Programs};

/// How often each load is put on, in turns with the others. The figure is the one in the middle.
const TURNS: usize = 3;

/// How long each load lasts.
const LOAD: Duration = Duration::from_secs(5);

/// How many hosts are known at last, and how often each of them asks.
const HOSTS: usize = 100_000;
const EVERY: Duration = Duration::from_mins(1);

/// Connections of the larger load.
const MANY: usize = 16;

/// Ten times what a widely used server is said to manage: 300 a second with one connection, 445 of 998 with the larger load.
const ONE_GOAL: f64 = 3000.0;
const MANY_GOAL: f64 = 4450.0;

/// What is wanted with 16 connections: milliseconds, and grants or releases per second of the embedded store.
const P99_GOAL: f64 = 20.0;
const EMBEDDED_GOAL: f64 = 5000.0;
const MEMORY_GOAL: f64 = 128e6;

/// Not in Debian, so that it cannot be run beside ours.
const PEER: (&str, &str) = ("airlock", "not packaged for this distribution");

pub(super) fn run(phases: &mut Phases, publication: &Publication) -> Result<()> {
    let programs = Programs::build(phases)?;
    let folder = workspace::work().join("bench-lock");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;

    let mut evidence = Evidence::new("bench lock");
    let peer = |figure: Figure| figure.without(PEER.0, PEER.1);
    {
        let etcd = Etcd::start(&folder)?;
        let store = format!("[store.etcd]\nendpoints = [\"{}\"]\n", etcd.url);
        let server = programs.serve(&folder, &store)?;
        let (mut one, mut alone, mut many) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            one.push(load::in_turns(server.address, 1, LOAD)?.per_second());
            alone.push(programs.write_alone(&etcd, LOAD)?);
            many.push(load::in_turns(server.address, MANY, LOAD)?);
        }
        let (one, alone) = (middle(one), middle(alone));
        let granted = Figure::new("lock.etcd.c1.granted_per_s", one, "1/s");
        evidence.add(peer(granted.goal(Goal::AtLeast(ONE_GOAL))));
        // Each change waits for the one before, so that no server over etcd can be faster than etcd alone.
        let bound = Figure::new("lock.etcd.c1.of_bound", one, "1/s");
        evidence.add(bound.against("etcd alone, one client that puts", alone));
        let granted = Figure::new("lock.etcd.c16.granted_per_s", rate(&many), "1/s");
        evidence.add(peer(granted.goal(Goal::AtLeast(MANY_GOAL))));
        let failed = Figure::count("lock.etcd.c16.failed", failures(&many), "1");
        evidence.add(peer(failed.goal(Goal::AtMost(0.0))));
        let p99 = middle(many.iter().map(Loaded::p99).collect());
        let p99 = Figure::new("lock.etcd.c16.p99", p99, "ms");
        evidence.add(peer(p99.goal(Goal::AtMost(P99_GOAL))));
    }
    let store = format!("[store]\npath = \"{}\"\n", folder.join("lock.redb").display());
    let server = programs.serve(&folder, &store)?;
    let many = (0..TURNS)
        .map(|_| load::in_turns(server.address, MANY, LOAD))
        .collect::<Result<Vec<_>>>()?;
    let granted = Figure::new("lock.embedded.c16.granted_per_s", rate(&many), "1/s");
    evidence.add(granted.goal(Goal::AtLeast(EMBEDDED_GOAL)));
    let failed = failures(&many);
    ensure!(failed == 0, "{failed} requests failed over the embedded store");

    // All hosts are met, and then ask again for a minute: as fast as they can, and as they would.
    let met = load::fleet(server.address, HOSTS, Duration::ZERO)?;
    let before = server.cpu()?;
    let polled = load::fleet(server.address, HOSTS, EVERY)?;
    let cpu = server.cpu()? - before;
    let p99 = polled.p99();
    let failed = failures(&[met, polled]);
    ensure!(failed == 0, "{failed} of the hosts that asked got no answer");
    let memory = Figure::count("lock.hosts_100k.memory", server.peak_memory()?, "B");
    evidence.add(memory.goal(Goal::AtMost(MEMORY_GOAL)));
    evidence.add(Figure::new("lock.hosts_100k.cpu_per_minute", cpu, "s"));
    evidence.add(Figure::new("lock.hosts_100k.p99", p99, "ms"));
    evidence.publish(publication)
}

fn rate(turns: &[Loaded]) -> f64 {
    middle(turns.iter().map(Loaded::per_second).collect())
}

fn failures(turns: &[Loaded]) -> u64 {
    turns.iter().map(|turn| turn.failed as u64).sum()
}

/// The median of an odd number of values.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
