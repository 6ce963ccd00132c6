//! The outcome of a run: a table for people, JSON and `JUnit` XML for machines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::steps::Step;

/// How one scenario went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The scenario.
    pub name: String,
    /// What it shows, in one line.
    pub about: String,
    /// How long it took.
    pub taken: Duration,
    /// What it did.
    pub steps: Vec<Step>,
    /// What it counted, by the name of the figure.
    pub counts: BTreeMap<&'static str, u64>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// The folder of its logs, consoles and pictures.
    pub logs: PathBuf,
}

impl Outcome {
    /// Whether it did what it must.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }

    /// The step during which it ended.
    fn last_step(&self) -> &str {
        let last = self.steps.iter().rfind(|step| !step.aside);
        last.map_or("preparing", |step| &step.text)
    }
}

/// One line for each scenario, then every failure with its step and console, then the counts alone on the last line.
pub fn table(outcomes: &[Outcome]) -> String {
    let width = outcomes
        .iter()
        .map(|outcome| outcome.name.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for outcome in outcomes {
        let verdict = if outcome.passed() { "passed" } else { "FAILED" };
        line(
            &mut text,
            &format!(
                "{:width$}  {verdict}  {:6.1} s",
                outcome.name,
                outcome.taken.as_secs_f64()
            ),
        );
    }
    for outcome in outcomes {
        if let Some(failure) = &outcome.failure {
            line(
                &mut text,
                &format!("\n{} failed while {}:\n  {failure}", outcome.name, outcome.last_step()),
            );
        }
    }
    let passed = passed(outcomes);
    line(
        &mut text,
        &format!("\n{passed} passed, {} failed", outcomes.len() - passed),
    );
    text
}

fn passed(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| outcome.passed()).count()
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

/// The evidence as JSON: one row for each figure.
pub fn evidence(outcomes: &[Outcome], commit: &str, machine: &Value) -> Value {
    let count = |name: &str, value: usize, goal: Option<usize>| {
        let mut row = json!({ "name": name, "value": value, "unit": "scenarios" });
        if let Some(goal) = goal {
            row["goal"] = json!(format!("= {goal}"));
            row["met"] = json!(value == goal);
        }
        row
    };
    let mut results = vec![
        count("qemu.scenarios", outcomes.len(), None),
        count("qemu.passed", passed(outcomes), Some(outcomes.len())),
    ];
    results.extend(
        outcomes
            .iter()
            .flat_map(|outcome| &outcome.counts)
            .map(|(name, count)| json!({ "name": name, "value": count, "unit": "1" })),
    );
    results.extend(outcomes.iter().map(|outcome| {
        let seconds = (outcome.taken.as_secs_f64() * 10.0).round() / 10.0;
        json!({ "name": format!("qemu.scenario.{}.wall", outcome.name), "value": seconds, "unit": "s" })
    }));
    let scenarios: Vec<_> = outcomes.iter().map(scenario).collect();
    json!({ "command": "qemu", "commit": commit, "machine": machine, "results": results, "scenarios": scenarios })
}

/// How one scenario went, for machines.
fn scenario(outcome: &Outcome) -> Value {
    let at = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
    let steps: Vec<_> = outcome
        .steps
        .iter()
        .map(|step| json!({ "at": at(step.at), "text": step.text, "aside": step.aside }))
        .collect();
    json!({
        "name": outcome.name,
        "about": outcome.about,
        "passed": outcome.passed(),
        "seconds": at(outcome.taken),
        "failed_while": outcome.failure.as_ref().map(|_| outcome.last_step()),
        "failure": outcome.failure,
        "steps": steps,
        "logs": outcome.logs,
    })
}

/// `JUnit` XML as the usual readers take it: one suite, one case for each scenario, its steps as output.
pub fn junit(outcomes: &[Outcome]) -> String {
    let total: f64 = outcomes.iter().map(|outcome| outcome.taken.as_secs_f64()).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    line(
        &mut xml,
        &format!(
            "<testsuite name=\"qemu\" tests=\"{}\" failures=\"{}\" errors=\"0\" time=\"{total:.1}\">",
            outcomes.len(),
            outcomes.len() - passed(outcomes)
        ),
    );
    for outcome in outcomes {
        let name = escaped(&outcome.name);
        line(
            &mut xml,
            &format!(
                "  <testcase classname=\"qemu\" name=\"{name}\" time=\"{:.1}\">",
                outcome.taken.as_secs_f64()
            ),
        );
        if let Some(failure) = &outcome.failure {
            let step = escaped(outcome.last_step());
            line(
                &mut xml,
                &format!("    <failure message=\"{step}\">{}</failure>", escaped(failure)),
            );
        }
        let mut steps = String::new();
        for step in &outcome.steps {
            line(&mut steps, &format!("{:8.1} s  {}", step.at.as_secs_f64(), step.text));
        }
        line(&mut xml, &format!("    <system-out>{}</system-out>", escaped(&steps)));
        line(&mut xml, "  </testcase>");
    }
    xml + "</testsuite>\n"
}

/// Text as XML 1.0 takes it: five characters by name, and no control characters, which cannot be written at all.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&apos;".to_owned(),
            '\n' | '\t' => character.to_string(),
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => "\u{fffd}".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

/// Writes a report whole or not at all.
pub fn write(path: &Path, content: &str) -> Result<()> {
    let failed = |source| Error::file("write the report", path, source);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    // As any program's file: who may read it is for the umask to say.
    let file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(failed)?;
    fs::write(file.path(), content).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error)).map(drop)
}

/// The commit of the sources below the present folder, or `unknown`.
pub fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let commit = output.ok().filter(|output| output.status.success());
    commit.map_or_else(
        || "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// What the run was on: processor, cores, memory, operating system.
pub fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory, os) = (read("/proc/cpuinfo"), read("/proc/meminfo"), read("/etc/os-release"));
    let kib: f64 = value_of(&memory, "MemTotal:")
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0);
    json!({
        "cpu": value_of(&cpu, "model name").trim_start_matches([':', ' ', '\t']),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "memory_gib": (kib / f64::from(1 << 20)).round(),
        "os": value_of(&os, "PRETTY_NAME=").trim_matches('"'),
    })
}

/// What follows `key` on its first line.
fn value_of<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap_or_default()
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> [Outcome; 2] {
        let outcome = |name: &str, failure: Option<&str>| Outcome {
            name: name.to_owned(),
            about: "what it shows".to_owned(),
            taken: Duration::from_millis(61_250),
            steps: vec![
                Step {
                    text: "booting".to_owned(),
                    at: Duration::ZERO,
                    aside: false,
                },
                Step {
                    text: "state 3 recovered".to_owned(),
                    at: Duration::from_secs(9),
                    aside: true,
                },
            ],
            counts: BTreeMap::from([("qemu.power_cuts", 3)]),
            failure: failure.map(str::to_owned),
            logs: PathBuf::new(),
        };
        [
            outcome("update", None),
            outcome("refused", Some("no <such> \u{1b} & \"thing\"")),
        ]
    }

    #[test]
    fn counts_stand_alone_on_the_last_line() {
        assert_eq!(table(&outcomes()).lines().last(), Some("1 passed, 1 failed"));
        assert_eq!(table(&[]).lines().last(), Some("0 passed, 0 failed"));
    }

    #[test]
    fn a_failure_is_told_with_its_step() {
        assert!(table(&outcomes()).contains("refused failed while booting:\n  no <such>"));
    }

    #[test]
    fn evidence_says_whether_all_passed() {
        let evidence = evidence(&outcomes(), "abc", &json!({}));
        let rows = evidence["results"].as_array().unwrap();
        let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
        assert_eq!(row("qemu.scenarios")["value"], 2);
        assert_eq!(
            (&row("qemu.passed")["value"], &row("qemu.passed")["met"]),
            (&json!(1), &json!(false))
        );
        assert_eq!(row("qemu.power_cuts")["value"], 3);
        assert_eq!(evidence["command"], "qemu");
        let refused = &evidence["scenarios"][1];
        assert_eq!(
            (&refused["name"], &refused["passed"]),
            (&json!("refused"), &json!(false))
        );
        assert_eq!(refused["failed_while"], "booting");
        assert!(refused["failure"].as_str().unwrap().contains("no <such>"));
        assert_eq!(refused["steps"][1]["text"], "state 3 recovered");
        assert_eq!(evidence["scenarios"][0]["failure"], Value::Null);
    }

    #[test]
    fn report_is_as_readable_as_any_file_of_this_user() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let (other, report) = (folder.path().join("other"), folder.path().join("a/report"));
        fs::write(&other, "").unwrap();
        write(&report, "x").unwrap();
        assert_eq!(mode(&report), mode(&other));
    }

    #[test]
    fn whatever_a_console_holds_is_valid_xml() {
        let xml = junit(&outcomes());
        assert!(xml.contains("no &lt;such&gt; \u{fffd} &amp; &quot;thing&quot;"));
        assert!(!xml.contains('\u{1b}'));
        assert_eq!(xml.matches("<testcase").count(), xml.matches("</testcase>").count());
    }
}
