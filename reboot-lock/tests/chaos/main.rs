//! Three etcd members, two lock servers, fifty hosts, and everything that can go wrong between them.
//!
//! The members live in network namespaces of their own (this needs root and the packages etcd-server and iproute2), so that
//! links between them can be cut; a relay on each way from a server to a member drops answers. What is promised is checked
//! while it runs (no two hosts down that must not be) and afterwards at every single revision of etcd.
//!
//! The same run with a wrong store must be caught: one that reads what may be out of date, and one that lets records expire.
//!
//! `TWINHULL_CHAOS_SEEDS`, `TWINHULL_CHAOS_SECONDS` (of faults, each) and `TWINHULL_CHAOS_REPORT` (a JSON file) make the long
//! form of `cargo xtask chaos lock`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cluster;
mod hosts;
mod invariants;
mod relay;
mod servers;
mod wrong;

use std::time::Duration;

use cluster::Cluster;
use invariants::Verdict;
use servers::Which;

/// Faults of the short form, and at most of a control.
const SHORT: Duration = Duration::from_secs(15);
const CONTROL: Duration = Duration::from_secs(45);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// One run in a network of its own: nothing of this machine's is touched, and everything goes with the thread.
fn run(seed: u64, which: Which, faults: Duration) -> Verdict {
    let thread = std::thread::spawn(move || {
        let cluster = Cluster::in_a_new_network();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(hosts::run(seed, which, faults, cluster))
    });
    let verdict = thread.join().unwrap();
    eprintln!("seed {seed}, {which:?}: {verdict:?}");
    verdict
}

// One test, so that the runs do not take the processor from each other.
#[test]
fn no_fault_breaks_a_promise_and_both_controls_are_caught() {
    let seeds = number("TWINHULL_CHAOS_SEEDS").unwrap_or(1);
    let faults = number("TWINHULL_CHAOS_SECONDS").map_or(SHORT, Duration::from_secs);
    let verdicts: Vec<_> = (1..=seeds).map(|seed| run(seed, Which::Real, faults)).collect();
    let controls = [Which::Stale, Which::Lease].map(|which| run(1, which, CONTROL));
    let caught = controls.iter().filter(|verdict| !verdict.violations.is_empty()).count();
    let grants: u64 = verdicts.iter().map(|verdict| verdict.grants).sum();
    let violations: Vec<_> = verdicts.iter().flat_map(|verdict| &verdict.violations).collect();
    let unfinished: usize = verdicts.iter().map(|verdict| verdict.unfinished).sum();
    let revisions: usize = verdicts.iter().map(|verdict| verdict.revisions).sum();
    if let Some(path) = std::env::var_os("TWINHULL_CHAOS_REPORT") {
        let report = serde_json::json!({
            "seeds": seeds, "grants": grants, "revisions": revisions, "violations": violations.len(),
            "unfinished": unfinished, "controls": controls.len(), "controls_caught": caught,
        });
        std::fs::write(path, report.to_string()).unwrap();
    }
    assert!(violations.is_empty(), "{violations:#?}");
    assert_eq!(unfinished, 0);
    assert!(grants > 0 && revisions > 0, "nothing happened");
    assert_eq!(caught, controls.len(), "{controls:#?}");
}
