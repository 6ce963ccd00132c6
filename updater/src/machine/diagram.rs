//! The state diagram, drawn by walking the machine: from a host that has just started, through every answer to every effect.
//!
//! A state is the phase that people see and the effect that is under way; an arrow is an event. What is drawn is what [`decide`]
//! does, so the diagram in `docs/agent.md`, which must be this one, cannot say anything else.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use twinhull_layout::Version;

use super::{
    Effect, Event, Grant, Installed, Known, Live, Now, Offer, Phase, Problem, Rules, Seen, Situation, Turn, decide,
};
use crate::config::Strategy;
use crate::gates::{Gates, Marker, Observed};

/// A host at one moment of the walk.
#[derive(Clone)]
struct Place {
    known: Known,
    live: Live,
    pending: VecDeque<Effect>,
    runs: Runs,
}

/// What runs, as a look at the host finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Runs {
    Old,
    NewOnTrial,
    New,
    OldAgain,
}

/// The diagram, as Mermaid takes it (<https://mermaid.js.org/syntax/stateDiagram.html>): strategy `lock`, with hooks.
fn diagram() -> String {
    let mut edges = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut queue = VecDeque::from([Place {
        known: Known::default(),
        live: Live::default(),
        pending: VecDeque::from([Effect::Look]),
        runs: Runs::Old,
    }]);
    while let Some(place) = queue.pop_front() {
        for (label, next) in place.steps() {
            edges.insert((place.name(), next.name(), label));
            if seen.insert(next.key()) {
                queue.push_back(next);
            }
        }
    }
    let names: BTreeSet<&String> = edges.iter().flat_map(|(from, to, _)| [from, to]).collect();
    let mut text = String::from("stateDiagram-v2\n    direction TB\n");
    for name in names {
        let _ = writeln!(text, "    state \"{name}\" as {}", id(name));
    }
    let _ = writeln!(text, "    [*] --> {}: start", id("idle, look"));
    for (from, to, label) in &edges {
        let _ = writeln!(text, "    {} --> {}: {label}", id(from), id(to));
    }
    text
}

fn id(name: &str) -> String {
    name.replace(", ", "_").replace([' ', '-'], "")
}

fn rules() -> Rules {
    Rules {
        strategy: Some(Strategy::Lock),
        poll: Duration::from_hours(1),
        retry: Duration::from_mins(1),
        lock: true,
        hooks: true,
        gates: Gates::none(),
        place: 0,
    }
}

/// The releases of the walk.
fn version(number: u32) -> Version {
    format!("1.{number}.0").parse().unwrap()
}

impl Place {
    fn name(&self) -> String {
        let phase = serde_json::to_value(Situation::of(&self.known, &self.live).phase).unwrap_or_default();
        let phase = phase.as_str().unwrap_or_default().to_owned();
        match self.pending.front() {
            Some(effect) => {
                let word = format!("{effect:?}").to_lowercase();
                let word = word.split(['(', ' ']).next().unwrap_or_default();
                format!("{phase}, {word}")
            }
            None => phase,
        }
    }

    /// What tells this place from others, without times and history.
    fn key(&self) -> String {
        let (known, live) = (&self.known, &self.live);
        let attempt = known.attempt.as_ref().map(|attempt| attempt.stage);
        format!(
            "{:?}",
            (
                (
                    self.runs,
                    &self.pending,
                    attempt,
                    known.lock,
                    known.prepared,
                    known.halted,
                    known.withdrawn
                ),
                (known.failed.len(), known.setbacks.min(1), known.rollback.is_some()),
                (live.trial, live.settled, live.standing_down, live.running.is_some()),
            )
        )
    }

    /// Everything that can happen here.
    fn steps(&self) -> Vec<(&'static str, Place)> {
        let fault = || Problem::new("network", "");
        let Some(effect) = self.pending.front() else {
            return self.at_rest();
        };
        let mut steps = match effect {
            Effect::Look => vec![
                ("looked", Event::Seen(Ok(self.look()))),
                ("cannot look", Event::Seen(Err(fault()))),
            ],
            Effect::Check => {
                let newer = if matches!(self.runs, Runs::Old | Runs::OldAgain) {
                    1
                } else {
                    2
                };
                let offer = |version, turn| Event::Checked(Ok(Offer { version, turn }));
                vec![
                    ("newer offered", offer(version(newer), Turn::Now)),
                    ("same offered", offer(self.look().running, Turn::Now)),
                    ("halted", offer(version(newer), Turn::Halted("halted".to_owned()))),
                    ("no answer", Event::Checked(Err(fault()))),
                ]
            }
            Effect::Install(_) => vec![
                (
                    "installed",
                    Event::Installed(Ok(Installed {
                        fetched: 0,
                        phases: Vec::new(),
                    })),
                ),
                ("not installed", Event::Installed(Err(fault()))),
            ],
            Effect::Discard(_) => vec![
                ("discarded", Event::Discarded(Ok(()))),
                ("not discarded", Event::Discarded(Err(fault()))),
            ],
            Effect::Observe => {
                let hooks = Observed {
                    hooks: true,
                    ..Observed::default()
                };
                let marker = Marker {
                    path: "/".into(),
                    until: None,
                    reason: String::new(),
                };
                let closed = Observed {
                    markers: vec![marker],
                    ..hooks.clone()
                };
                vec![
                    ("gates open", Event::Observed(Box::new(hooks))),
                    ("gate closed", Event::Observed(Box::new(closed))),
                ]
            }
            Effect::Prepare => vec![
                ("hooks ran", Event::Prepared(Ok(()))),
                ("hook failed", Event::Prepared(Err(fault()))),
            ],
            Effect::Undo => vec![
                ("undone", Event::Undone(Ok(()))),
                ("hook failed", Event::Undone(Err(fault()))),
            ],
            Effect::Take => vec![
                ("granted", Event::Taken(Grant::Granted)),
                ("refused", Event::Taken(Grant::Refused(fault()))),
                ("no clear answer", Event::Taken(Grant::Unknown(fault()))),
            ],
            Effect::Release => vec![
                ("released", Event::Released(Ok(()))),
                ("not released", Event::Released(Err(fault()))),
            ],
            Effect::Reboot => vec![("cannot reboot", Event::RebootFailed(fault()))],
            Effect::Wake(_) => Vec::new(),
        };
        let boots = matches!(effect, Effect::Reboot);
        let mut places: Vec<_> = steps
            .drain(..)
            .map(|(label, event)| (label, self.after(event)))
            .collect();
        if boots {
            places.push(("boots the new release", self.boot(Runs::NewOnTrial)));
        }
        places
    }

    /// What can happen while nothing is under way.
    fn at_rest(&self) -> Vec<(&'static str, Place)> {
        let phase = Situation::of(&self.known, &self.live).phase;
        match (phase, self.runs) {
            (Phase::Trial, _) => {
                let mut blessed = self.clone();
                blessed.runs = Runs::New;
                vec![
                    ("still on trial", self.after(Event::Woke)),
                    ("blessed", blessed.after(Event::Woke)),
                    ("falls back", self.boot(Runs::OldAgain)),
                ]
            }
            _ => vec![("time passes", self.after(Event::Woke))],
        }
    }

    fn look(&self) -> Seen {
        let (running, others): (u32, &[&str]) = match self.runs {
            Runs::Old => (0, &[]),
            Runs::NewOnTrial | Runs::New => (1, &["p_1.0.0.efi"]),
            Runs::OldAgain => (0, &["p_1.1.0+0-3.efi"]),
        };
        Seen {
            aside: false,
            running: version(running),
            trial: self.runs == Runs::NewOnTrial,
            others: others.iter().filter_map(|name| name.parse().ok()).collect(),
            unhealthy: None,
        }
    }

    fn boot(&self, runs: Runs) -> Self {
        Self {
            known: self.known.clone(),
            live: Live::default(),
            pending: VecDeque::from([Effect::Look]),
            runs,
        }
    }

    fn after(&self, event: Event) -> Self {
        let mut place = self.clone();
        place.pending.pop_front();
        // Late enough for everything to be due.
        let now = Now {
            wall: Timestamp::UNIX_EPOCH,
            uptime: Duration::from_secs(1 << 40),
            dice: 0,
        };
        let mut live = place.live;
        (live.next_check, live.next_try, live.next_release) = Default::default();
        let (known, live, effects) = decide(place.known, live, event, &rules(), &now);
        (place.known, place.live) = (known, live);
        place
            .pending
            .extend(effects.into_iter().filter(|effect| !matches!(effect, Effect::Wake(_))));
        place
    }
}

#[test]
fn documentation_shows_the_diagram_that_the_code_draws() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/agent.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("```mermaid\n").unwrap();
    let (shown, after) = rest.split_once("```").unwrap();
    let drawn = diagram();
    if std::env::var_os("TWINHULL_DRAW").is_some() {
        std::fs::write(path, format!("{before}```mermaid\n{drawn}```{after}")).unwrap();
        return;
    }
    assert!(
        shown == drawn,
        "docs/agent.md shows another diagram; `TWINHULL_DRAW=1 cargo test -p twinhull-updater diagram` draws it anew:\n{drawn}"
    );
}

#[test]
fn every_effect_is_on_the_walk() {
    let drawn = diagram();
    for effect in [
        "look", "check", "install", "discard", "observe", "prepare", "undo", "take", "release", "reboot",
    ] {
        assert!(drawn.contains(&format!(", {effect}\"")), "{effect}:\n{drawn}");
    }
}
