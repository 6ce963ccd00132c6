//! What the service counts, in the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use crate::host::Running;
use crate::machine::{Belief, Known, Phase, Problem};
use crate::status::Told;

/// All phases, so that each has a line at all times.
const PHASES: [(Phase, &str); 6] = [
    (Phase::Idle, "idle"),
    (Phase::Trial, "trial"),
    (Phase::Installing, "installing"),
    (Phase::Staged, "staged"),
    (Phase::Rebooting, "rebooting"),
    (Phase::RollbackPending, "rollback-pending"),
];

/// What the service counts.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    running: Option<Running>,
    channel: String,
    known: Known,
    refusals: BTreeMap<String, u64>,
    last_code: Option<String>,
}

impl Metrics {
    /// The media type of the text.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Nothing counted yet.
    pub fn new(running: &Running, channel: &str) -> Self {
        Self {
            running: Some(running.clone()),
            channel: channel.to_owned(),
            ..Self::default()
        }
    }

    /// Another channel is followed from now on.
    pub fn follow(&mut self, channel: &str) {
        channel.clone_into(&mut self.channel);
    }

    /// Takes note of what the service tells. A reason is counted when it begins.
    pub fn note(&mut self, known: &Known, told: &Told) {
        if self.known != *known {
            self.known = known.clone();
        }
        let code = &told.situation.code;
        if *code != self.last_code {
            if let Some(code) = code {
                *self.refusals.entry(code.clone()).or_default() += 1;
            }
            self.last_code.clone_from(code);
        }
    }

    /// The text.
    pub fn render(&self, told: &Told) -> String {
        let mut text = Text(String::new());
        let known = &self.known;
        if let Some(running) = &self.running {
            text.family("info", "gauge", "What runs on this host.");
            let labels = [
                ("product", running.product.to_string()),
                ("version", running.version.to_string()),
                ("architecture", running.arch.to_string()),
                ("channel", self.channel.clone()),
            ];
            text.sample("info", &labels, 1);
        }
        text.family("phase", "gauge", "1 for the phase the agent is in.");
        for (phase, name) in PHASES {
            let is = u8::from(told.situation.phase == phase);
            text.sample("phase", &[("phase", name.to_owned())], is);
        }
        text.family(
            "waiting",
            "gauge",
            "1 for the reason why nothing more is done, by its code.",
        );
        if let Some(code) = &told.situation.code {
            text.sample("waiting", &[("code", code.clone())], 1);
        }
        text.family(
            "refusals_total",
            "counter",
            "How often each reason has begun since the agent started.",
        );
        for (code, count) in &self.refusals {
            text.sample("refusals_total", &[("code", code.clone())], count);
        }
        if let Some(check) = &known.last_check {
            text.family(
                "last_check_timestamp_seconds",
                "gauge",
                "When the repository was last asked.",
            );
            text.sample("last_check_timestamp_seconds", &[], check.at.as_second());
            text.family(
                "last_check_success",
                "gauge",
                "Whether it answered with something acceptable.",
            );
            // A host that waits for its turn has been answered as it should be.
            let in_order = |problem: &Problem| ["wave", "halted"].contains(&problem.code.as_str());
            let success = check.problem.as_ref().is_none_or(in_order);
            text.sample("last_check_success", &[], u8::from(success));
            let running = self.running.as_ref().map(|running| &running.version);
            let behind = check.offered.is_some() && check.offered.as_ref() != running;
            text.family(
                "update_offered",
                "gauge",
                "Whether the channel offers another release than the one that runs.",
            );
            text.sample("update_offered", &[], u8::from(behind));
        }
        text.family(
            "lock_held",
            "gauge",
            "Whether this host holds the reboot lock; 0.5 if nobody can say.",
        );
        let held = match known.lock {
            Belief::Free => "0",
            Belief::Unsure => "0.5",
            Belief::Held => "1",
        };
        text.sample("lock_held", &[], held);
        text.family("failed_releases", "gauge", "Releases that failed on this host.");
        text.sample("failed_releases", &[], known.failed.len());
        text.family(
            "setbacks",
            "gauge",
            "Releases that failed here since the last one that did not.",
        );
        text.sample("setbacks", &[], known.setbacks);
        text.family("held", "gauge", "Whether updates are held by hand.");
        text.sample("held", &[], u8::from(known.hold.is_some()));
        if let Some(progress) = &told.progress {
            text.family(
                "install_step_done_bytes",
                "gauge",
                "Bytes done of the step of an install.",
            );
            text.sample(
                "install_step_done_bytes",
                &[("step", progress.step.to_string())],
                progress.done,
            );
            text.family("install_step_total_bytes", "gauge", "Bytes of the step of an install.");
            text.sample(
                "install_step_total_bytes",
                &[("step", progress.step.to_string())],
                progress.total,
            );
        }
        text.0
    }
}

/// The text as it grows.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(
            self.0,
            "# HELP twinhull_updater_{name} {help}\n# TYPE twinhull_updater_{name} {kind}\n"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, String)], value: impl Display) {
        let _ = write!(self.0, "twinhull_updater_{name}");
        for (index, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Live, Problem};
    use jiff::Timestamp;

    #[test]
    fn reason_is_counted_when_it_begins() {
        let known = Known::default();
        let told = |code: Option<&str>| {
            let mut live = Live::default();
            if let Some(code) = code {
                live.wait(Timestamp::UNIX_EPOCH, Problem::new(code, "x"));
            }
            Told::new(&known, &live, None)
        };
        let mut metrics = Metrics::default();
        for code in [
            Some("lock-held"),
            Some("lock-held"),
            None,
            Some("lock-held"),
            Some("window"),
        ] {
            metrics.note(&known, &told(code));
        }
        let text = metrics.render(&told(Some("window")));
        for line in [
            "twinhull_updater_refusals_total{code=\"lock-held\"} 2\n",
            "twinhull_updater_refusals_total{code=\"window\"} 1\n",
            "twinhull_updater_waiting{code=\"window\"} 1\n",
            "twinhull_updater_phase{phase=\"idle\"} 1\n",
            "twinhull_updater_phase{phase=\"staged\"} 0\n",
            "twinhull_updater_lock_held 0\n",
        ] {
            assert!(text.contains(line), "{line} in:\n{text}");
        }
    }
}
