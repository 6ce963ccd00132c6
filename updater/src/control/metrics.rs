//! What the service counts, in the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use jiff::Timestamp;

use crate::host::Running;
use crate::machine::{Belief, Known, Phase, Problem, RecordKind};
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
    boot_files: Option<BootFiles>,
}

/// What is known of the files that start the host.
#[derive(Debug, Clone, Copy)]
struct BootFiles {
    /// When they were looked at last.
    looked_at: Timestamp,
    /// How often one was put right since the agent started.
    mended: usize,
    /// How many have rotted, or are gone, and stay so.
    damaged: usize,
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

    /// Takes note of what was found when the files that start this host were looked at.
    pub fn scrubbed(&mut self, at: Timestamp, found: &[RecordKind]) {
        let count = |wanted: fn(&RecordKind) -> bool| found.iter().filter(|kind| wanted(kind)).count();
        let before = self.boot_files.map_or(0, |files| files.mended);
        self.boot_files = Some(BootFiles {
            looked_at: at,
            mended: before + count(|kind| matches!(kind, RecordKind::Mended { .. } | RecordKind::MendedTable { .. })),
            damaged: count(|kind| matches!(kind, RecordKind::Rotten { .. })),
        });
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
        if let Some(files) = &self.boot_files {
            text.family(
                "boot_files_checked_timestamp_seconds",
                "gauge",
                "When the kernel images and the loader on the EFI system partition were last looked at.",
            );
            text.sample("boot_files_checked_timestamp_seconds", &[], files.looked_at.as_second());
            text.family(
                "boot_files_mended_total",
                "counter",
                "How often one of them, or the partition table, had rotted and was put right, since the agent started.",
            );
            text.sample("boot_files_mended_total", &[], files.mended);
            text.family(
                "boot_files_damaged",
                "gauge",
                "How many of them have rotted, or are gone, and could not be put right.",
            );
            text.sample("boot_files_damaged", &[], files.damaged);
        }
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

    #[test]
    fn what_was_mended_adds_up_and_what_is_damaged_is_as_last_seen() {
        let mended = || RecordKind::Mended {
            file: "EFI/BOOT/BOOTX64.EFI".into(),
            blocks: 1,
        };
        let rotten = || RecordKind::Rotten {
            file: "EFI/Linux/twinhull-server_1.0.0.efi".into(),
            reason: "x".into(),
        };
        let told = Told::new(&Known::default(), &Live::default(), None);
        let mut metrics = Metrics::default();
        // Before the first look nobody can say that nothing is damaged.
        assert!(!metrics.render(&told).contains("boot_files"));
        for (second, found) in [
            vec![mended(), RecordKind::MendedTable { copy: 2 }, rotten()],
            vec![rotten(), rotten()],
            vec![mended()],
        ]
        .into_iter()
        .enumerate()
        {
            let at = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
            metrics.scrubbed(at, &found);
            if second == 1 {
                assert!(
                    metrics
                        .render(&told)
                        .contains("twinhull_updater_boot_files_damaged 2\n")
                );
            }
        }
        let text = metrics.render(&told);
        for line in [
            "twinhull_updater_boot_files_mended_total 3\n",
            "twinhull_updater_boot_files_damaged 0\n",
            "twinhull_updater_boot_files_checked_timestamp_seconds 2\n",
        ] {
            assert!(text.contains(line), "{line} in:\n{text}");
        }
    }
}
