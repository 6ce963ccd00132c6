//! From what the tools needed to rows of the table.

use anyhow::Result;

use super::pair::Pair;
use super::peers::{Cost, Peer};
use crate::evidence::{Evidence, Figure, Goal, number};
use crate::measure::Usage;

/// Bytes of output that the goal for applying is about, and the processor time for them.
const APPLY_GOAL_BYTES: f64 = 508e6;
const APPLY_GOAL_SECONDS: f64 = 1.0;

/// Processor time to make a delta of the pair `server`.
const QUICK_GOAL_SECONDS: f64 = 12.0;
const BEST_GOAL_SECONDS: f64 = 120.0;

/// Memory to make any delta with.
const MAKE_GOAL_BYTES: f64 = 2e9;

/// What all tools made of one image of a pair.
pub(super) struct Outcome {
    /// Bytes of the new image.
    pub(super) size: u64,
    pub(super) quick: Cost,
    pub(super) best: Cost,
    pub(super) peers: Vec<(&'static Peer, Result<Cost>)>,
}

/// The bytes of root and kernel image, and of both, beside each peer.
pub(super) fn bytes(pair: Pair, root: &Outcome, uki: &Outcome, evidence: &mut Evidence) {
    for (name, outcome, goals) in [("root", root, true), ("uki", uki, false)] {
        let name = format!("payload.{pair}.{name}.delta");
        evidence.add(Figure::count(format!("{name}.quick"), outcome.quick.bytes, "B"));
        let figure = || Figure::count(&name, outcome.best.bytes, "B");
        if outcome.peers.is_empty() {
            evidence.add(figure());
        }
        for (peer, cost) in &outcome.peers {
            let figure = against(figure(), peer, cost, |cost| Some(number(cost.bytes)));
            evidence.add(match peer.goal.filter(|_| goals) {
                Some(goal) => figure.goal(Goal::RatioAtMost(goal)),
                None => figure,
            });
        }
    }
    let total = || {
        let bytes = root.best.bytes + uki.best.bytes;
        Figure::count(format!("payload.{pair}.total"), bytes, "B")
    };
    if root.peers.is_empty() {
        evidence.add(total());
    }
    for ((peer, of_root), (_, of_uki)) in root.peers.iter().zip(&uki.peers) {
        let failed = [of_root, of_uki].into_iter().find_map(|cost| cost.as_ref().err());
        evidence.add(match (of_root, of_uki, failed) {
            (Ok(of_root), Ok(of_uki), _) => total().against(peer.name, number(of_root.bytes + of_uki.bytes)),
            (_, _, why) => total().without(peer.name, why.map(|why| format!("{why:#}")).unwrap_or_default()),
        });
    }
}

/// Processor time and memory for the root.
pub(super) fn costs(pair: Pair, root: &Outcome, evidence: &mut Evidence) {
    let make = format!("payload.{pair}.make");
    let goal = |figure: Figure, bound| {
        if pair == Pair::Server {
            figure.goal(Goal::AtMost(bound))
        } else {
            figure
        }
    };
    let quick = Figure::new(format!("{make}.quick.cpu"), seconds(&root.quick.make), "s");
    evidence.add(goal(quick, QUICK_GOAL_SECONDS));
    let best = Figure::new(format!("{make}.best.cpu"), seconds(&root.best.make), "s");
    evidence.add(goal(best, BEST_GOAL_SECONDS));
    let memory = root.quick.make.peak_memory.max(root.best.make.peak_memory);
    evidence.add(Figure::count(format!("{make}.peak_memory"), memory, "B").goal(Goal::AtMost(MAKE_GOAL_BYTES)));
    let Some(apply) = &root.best.apply else { return };
    let bound = APPLY_GOAL_SECONDS * number(root.size) / APPLY_GOAL_BYTES;
    let name = format!("payload.{pair}.apply");
    evidence.add(Figure::new(format!("{name}.cpu"), seconds(apply), "s").goal(Goal::AtMost(bound)));
    for (peer, cost) in &root.peers {
        for (what, pick) in PICKS {
            let (value, unit) = pick(&root.best.make);
            let figure = Figure::new(format!("{make}.best.{what}"), value, unit);
            evidence.add(against(figure, peer, cost, |cost| Some(pick(&cost.make).0)));
            let (value, unit) = pick(apply);
            let figure = Figure::new(format!("{name}.{what}"), value, unit);
            evidence.add(against(figure, peer, cost, |cost| {
                cost.apply.as_ref().map(|usage| pick(usage).0)
            }));
        }
    }
}

/// Name, and value with its unit.
type Pick = (&'static str, fn(&Usage) -> (f64, &'static str));

const PICKS: [Pick; 2] = [
    ("cpu", |usage| (seconds(usage), "s")),
    ("peak_memory", |usage| (number(usage.peak_memory), "B")),
];

/// The full payload beside `peer`.
pub(super) fn full(pair: Pair, ours: &Cost, peer: Option<(&str, &Result<Cost>)>, evidence: &mut Evidence) {
    let name = format!("payload.{pair}.full");
    let figure = Figure::count(&name, ours.bytes, "B").goal(Goal::RatioAtMost(1.05));
    evidence.add(match peer {
        Some((name, Ok(cost))) => figure.against(name, number(cost.bytes)),
        Some((name, Err(error))) => figure.without(name, format!("{error:#}")),
        None => figure,
    });
    evidence.add(Figure::new(format!("{name}.make.cpu"), seconds(&ours.make), "s"));
    let memory = ours.make.peak_memory;
    evidence.add(Figure::count(format!("{name}.make.peak_memory"), memory, "B").goal(Goal::AtMost(MAKE_GOAL_BYTES)));
    if let Some(apply) = &ours.apply {
        evidence.add(Figure::count(
            format!("{name}.apply.peak_memory"),
            apply.peak_memory,
            "B",
        ));
    }
}

/// Says at once what a tool needed: the table comes much later.
pub(super) fn say(pair: Pair, image: &str, tool: &str, cost: &Result<Cost>) {
    let usage = |usage: &Usage| format!("{:.2} CPU s, {} MB", seconds(usage), usage.peak_memory / 1_000_000);
    match cost {
        Ok(cost) => eprintln!(
            "{pair} {image}: {tool}: {} bytes; make {}; apply {}",
            cost.bytes,
            usage(&cost.make),
            cost.apply.as_ref().map_or_else(|| "not run".to_owned(), usage)
        ),
        Err(error) => eprintln!("{pair} {image}: {tool}: {error:#}"),
    }
}

fn seconds(usage: &Usage) -> f64 {
    usage.cpu.as_secs_f64()
}

fn against(figure: Figure, peer: &Peer, cost: &Result<Cost>, value: impl Fn(&Cost) -> Option<f64>) -> Figure {
    match cost {
        Ok(cost) => match value(cost) {
            Some(value) => figure.against(peer.name, value),
            None => figure.without(peer.name, "only its bytes are counted here"),
        },
        Err(error) => figure.without(peer.name, format!("{error:#}")),
    }
}
