//! Figures in one shape: a table for people, and JSON for machines.
//!
//! Every command that measures or proves something ends here, so that two runs, or a run and its goal, can be compared
//! without reading prose.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

/// Where the figures of a run go, and what a missed goal means.
#[derive(Args, Debug, Clone)]
pub(crate) struct Publication {
    /// Write the figures as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail when a goal is missed; otherwise the exit status only says whether everything ran
    #[arg(long)]
    strict: bool,
}

/// The figures of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Evidence {
    command: String,
    commit: String,
    machine: Machine,
    results: Vec<Entry>,
}

/// One figure.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    peer: Option<Peer>,
    goal: Option<Goal>,
}

/// What a figure is compared with: measured in the same run, on the same input.
#[derive(Debug, Clone)]
enum Peer {
    Measured { name: String, value: f64 },
    Missing { name: String, why: String },
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// The value itself, in the figure's unit.
    AtMost(f64),
    /// The value itself, in the figure's unit.
    AtLeast(f64),
    /// The value divided by the peer's. A peer that is missing leaves the goal open.
    RatioAtMost(f64),
    /// The value divided by the peer's. A peer that is missing leaves the goal open.
    RatioAtLeast(f64),
}

/// The machine that the figures are from.
#[derive(Debug, Serialize)]
struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: u64,
    os: String,
}

/// A figure as it is written.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    value: Number,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_value: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_missing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

/// Counts and bytes are written without a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Fraction(f64),
}

impl Figure {
    /// A figure called `name`, as listed in the documentation of its command. `unit` is `B`, `s`, `1/s`, `1` for a count.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            peer: None,
            goal: None,
        }
    }

    /// A count or a number of bytes; exact below 2^53.
    pub(crate) fn count(name: impl Into<String>, value: u64, unit: &'static str) -> Self {
        Self::new(name, number(value), unit)
    }

    /// What the peer needed for the same, in the same unit.
    pub(crate) fn against(mut self, name: impl Into<String>, value: f64) -> Self {
        self.peer = Some(Peer::Measured {
            name: name.into(),
            value,
        });
        self
    }

    /// The peer that should stand here, and why it does not.
    pub(crate) fn without(mut self, name: impl Into<String>, why: impl Into<String>) -> Self {
        self.peer = Some(Peer::Missing {
            name: name.into(),
            why: why.into(),
        });
        self
    }

    /// What the figure should be.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    fn ratio(&self) -> Option<f64> {
        match &self.peer {
            Some(Peer::Measured { value, .. }) if *value > 0.0 => Some(self.value / value),
            _ => None,
        }
    }

    fn met(&self) -> Option<bool> {
        match self.goal? {
            Goal::AtMost(bound) => Some(self.value <= bound),
            Goal::AtLeast(bound) => Some(self.value >= bound),
            Goal::RatioAtMost(bound) => self.ratio().map(|ratio| ratio <= bound),
            Goal::RatioAtLeast(bound) => self.ratio().map(|ratio| ratio >= bound),
        }
    }

    fn entry(self) -> Entry {
        let (ratio, met) = (self.ratio().map(three_digits), self.met());
        let (peer, peer_value, peer_missing) = match self.peer {
            Some(Peer::Measured { name, value }) => (Some(name), Some(Number::from(value)), None),
            Some(Peer::Missing { name, why }) => (Some(name), None, Some(why)),
            None => (None, None, None),
        };
        Entry {
            name: self.name,
            value: self.value.into(),
            unit: self.unit,
            peer,
            peer_value,
            peer_missing,
            ratio,
            goal: self.goal.map(|goal| goal.to_string()),
            met,
        }
    }
}

impl Evidence {
    /// Begins the figures of `command`, the words after `cargo xtask`.
    pub(crate) fn new(command: impl Into<String>) -> Self {
        Self {
            command: command.into(),
            commit: commit(),
            machine: Machine::this(),
            results: Vec::new(),
        }
    }

    /// Adds a figure.
    pub(crate) fn add(&mut self, figure: Figure) {
        self.results.push(figure.entry());
    }

    /// Prints the table and writes the JSON.
    ///
    /// # Errors
    /// When the file cannot be written; when a goal is missed and that is to count.
    pub(crate) fn publish(&self, to: &Publication) -> Result<()> {
        print!("{}", self.table());
        if let Some(path) = &to.json {
            self.write(path)?;
        }
        let missed = self.results.iter().filter(|entry| entry.met == Some(false)).count();
        if to.strict && missed > 0 {
            bail!("{missed} goals are missed; the table above says which");
        }
        Ok(())
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("cannot express the figures as JSON")?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("cannot write the figures to {}", path.display()))
    }

    fn table(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "\n{} at {}, on {} x {}, {} GiB, {}\n\n",
            self.command, self.commit, machine.cores, machine.cpu, machine.memory_gib, machine.os
        );
        let rows: Vec<[String; 5]> = self.results.iter().map(Entry::row).collect();
        let heads = ["figure", "value", "peer", "ratio", "goal"].map(str::to_owned);
        let mut widths = [0; 5];
        for row in std::iter::once(&heads).chain(&rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in std::iter::once(&heads).chain(&rows) {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                // Numbers end where their column ends; words begin where it begins.
                let _ = match column {
                    1 | 3 => write!(line, "{cell:>width$}  "),
                    _ => write!(line, "{cell:width$}  "),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

impl Entry {
    fn row(&self) -> [String; 5] {
        let unit = if self.unit == "1" { "" } else { self.unit };
        let peer = match (&self.peer, self.peer_value, &self.peer_missing) {
            (Some(name), Some(value), _) => format!("{value} {unit} {name}"),
            (Some(name), None, Some(why)) => format!("{name}: missing, {why}"),
            _ => String::new(),
        };
        let goal = match (&self.goal, self.met) {
            (Some(goal), Some(true)) => format!("{goal}: met"),
            (Some(goal), Some(false)) => format!("{goal}: MISSED"),
            (Some(goal), None) => format!("{goal}: open"),
            (None, _) => String::new(),
        };
        [
            self.name.clone(),
            format!("{} {unit}", self.value).trim_end().to_owned(),
            peer,
            self.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default(),
            goal,
        ]
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "value <= {}", Number::from(*bound)),
            Self::AtLeast(bound) => write!(f, "value >= {}", Number::from(*bound)),
            Self::RatioAtMost(bound) => write!(f, "ratio <= {}", Number::from(*bound)),
            Self::RatioAtLeast(bound) => write!(f, "ratio >= {}", Number::from(*bound)),
        }
    }
}

impl From<f64> for Number {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be a whole number that f64 holds exactly"
    )]
    fn from(value: f64) -> Self {
        if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
            Self::Whole(value as i64)
        } else {
            Self::Fraction(three_digits(value))
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Fraction(value) => value.fmt(f),
        }
    }
}

/// Three digits after the point: more would claim a precision that no measurement here has.
fn three_digits(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl Machine {
    fn this() -> Self {
        let field = |file: &str, key: &str, separator: char| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let value = text.lines().find_map(|line| {
                let (name, value) = line.split_once(separator)?;
                (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
            });
            value.unwrap_or_else(|| "unknown".to_owned())
        };
        let kib = field("/proc/meminfo", "MemTotal", ':');
        let kib: u64 = kib.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        Self {
            cpu: field("/proc/cpuinfo", "model name", ':'),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            memory_gib: (kib + (1 << 19)) >> 20,
            os: field("/etc/os-release", "PRETTY_NAME", '='),
        }
    }
}

/// The commit of the checkout, with `-dirty` when files differ from it.
fn commit() -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// A count as the number that figures and goals are.
#[expect(clippy::cast_precision_loss, reason = "nothing here counts to 2^53")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_goal_is_judged_by_the_ratio_and_open_without_a_peer() {
        let figure = || Figure::count("payload.server.root.delta", 7, "B").goal(Goal::RatioAtMost(0.7));
        assert_eq!(figure().against("zstd", 10.0).met(), Some(true));
        assert_eq!(figure().against("zstd", 9.0).met(), Some(false));
        assert_eq!(figure().without("zstd", "not installed").met(), None);
    }

    #[test]
    fn the_json_has_the_agreed_shape() {
        let entry = Figure::count("a.b", 7_568_217, "B")
            .against("zstd --patch-from -19", 10_248_554.0)
            .goal(Goal::RatioAtMost(0.70))
            .entry();
        let json = serde_json::to_value(entry).unwrap();
        let wanted = serde_json::json!({
            "name": "a.b", "value": 7_568_217, "unit": "B", "peer": "zstd --patch-from -19",
            "peer_value": 10_248_554, "ratio": 0.738, "goal": "ratio <= 0.7", "met": false
        });
        assert_eq!(json, wanted);
    }

    #[test]
    fn a_missed_goal_fails_only_a_strict_run() {
        let mut evidence = Evidence::new("bench nothing");
        evidence.add(Figure::new("x", 2.0, "s").goal(Goal::AtMost(1.0)));
        let publication = |strict| Publication { json: None, strict };
        assert!(evidence.publish(&publication(false)).is_ok());
        assert!(evidence.publish(&publication(true)).is_err());
    }
}
