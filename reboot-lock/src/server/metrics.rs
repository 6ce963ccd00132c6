//! Figures for Prometheus, in its text format. Names of airlock and of fleetlock where they count the same thing, so that
//! dashboards keep working; ours beside them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::status::{GroupStatus, Status};
use crate::wire::Kind;

/// The Content-Type of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the histogram of answers, in seconds.
const BUCKETS: [(&str, Duration); 7] = [
    ("0.001", Duration::from_millis(1)),
    ("0.005", Duration::from_millis(5)),
    ("0.02", Duration::from_millis(20)),
    ("0.1", Duration::from_millis(100)),
    ("0.5", Duration::from_millis(500)),
    ("2", Duration::from_secs(2)),
    ("10", Duration::from_secs(10)),
];

/// Which question of the protocol a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    PreReboot,
    SteadyState,
}

impl Question {
    fn as_str(self) -> &'static str {
        match self {
            Self::PreReboot => "pre-reboot",
            Self::SteadyState => "steady-state",
        }
    }
}

/// What is counted while the server runs.
#[derive(Default)]
pub(super) struct Metrics {
    // The key is bounded: two questions, and as many kinds as there are.
    answers: Mutex<BTreeMap<(Question, &'static str), u64>>,
    took: [AtomicU64; BUCKETS.len() + 1],
    took_micros: AtomicU64,
    /// Requests refused for coming too often.
    pub(super) rate_limited: AtomicU64,
    /// TLS handshakes that failed.
    pub(super) handshakes_failed: AtomicU64,
    /// Connections taken.
    pub(super) connections: AtomicU64,
}

impl Metrics {
    /// Counts an answer that took this long.
    pub(super) fn answered(&self, question: Question, kind: Kind, took: Duration) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry((question, kind.as_str())).or_default() += 1;
        drop(answers);
        let bucket = BUCKETS.iter().position(|(_, bound)| took <= *bound);
        self.took[bucket.unwrap_or(BUCKETS.len())].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.took_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The whole text. Without a status (the store does not answer) what is known without it.
    pub(super) fn render(&self, status: Option<&Status>) -> String {
        let mut text = Text::default();
        text.metric("twinhull_lock_build_info", "gauge", "The version of the server");
        text.value("twinhull_lock_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.metric("twinhull_lock_backend_up", "gauge", "Whether the store answers");
        text.value("twinhull_lock_backend_up", &[], u64::from(status.is_some()));
        if let Some(status) = status {
            groups(&mut text, status);
        }
        self.counters(&mut text);
        text.0
    }

    fn counters(&self, text: &mut Text) {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = |question| -> u64 {
            let of = answers.iter().filter(|((asked, _), _)| *asked == question);
            of.map(|(_, count)| count).sum()
        };
        let (takes, releases) = (asked(Question::PreReboot), asked(Question::SteadyState));
        for (name, help, count) in [
            (
                "airlock_v1_pre_reboot_incoming_requests_total",
                "Requests to v1/pre-reboot",
                takes,
            ),
            (
                "airlock_v1_steady_state_incoming_requests_total",
                "Requests to v1/steady-state",
                releases,
            ),
            ("fleetlock_lock_request_count", "Requests to v1/pre-reboot", takes),
            (
                "fleetlock_unlock_request_count",
                "Requests to v1/steady-state",
                releases,
            ),
        ] {
            text.metric(name, "counter", help);
            text.value(name, &[], count);
        }
        text.metric(
            "twinhull_lock_answers_total",
            "counter",
            "Answers to hosts by endpoint and kind",
        );
        for ((question, kind), count) in &answers {
            let labels = [("endpoint", question.as_str()), ("kind", *kind)];
            text.value("twinhull_lock_answers_total", &labels, *count);
        }
        let name = "twinhull_lock_answer_seconds";
        text.metric(name, "histogram", "How long answers to hosts took");
        let mut sum = 0;
        for (count, bound) in self
            .took
            .iter()
            .zip(BUCKETS.map(|(bound, _)| bound).into_iter().chain(["+Inf"]))
        {
            sum += count.load(Ordering::Relaxed);
            text.value(&format!("{name}_bucket"), &[("le", bound)], sum);
        }
        let micros = self.took_micros.load(Ordering::Relaxed);
        // Writing to a string cannot fail.
        let _ = writeln!(text.0, "{name}_sum {}.{:06}", micros / 1_000_000, micros % 1_000_000);
        text.value(&format!("{name}_count"), &[], sum);
        for (name, help, counter) in [
            (
                "twinhull_lock_connections_total",
                "Connections taken",
                &self.connections,
            ),
            (
                "twinhull_lock_rate_limited_total",
                "Requests refused for coming too often",
                &self.rate_limited,
            ),
            (
                "twinhull_lock_tls_failures_total",
                "TLS handshakes that failed",
                &self.handshakes_failed,
            ),
        ] {
            text.metric(name, "counter", help);
            text.value(name, &[], counter.load(Ordering::Relaxed));
        }
    }
}

type OfGroup = fn(&GroupStatus, &Status) -> u64;

fn groups(text: &mut Text, status: &Status) {
    text.metric("airlock_config_groups", "gauge", "Configured groups");
    let configured = status.groups.iter().filter(|group| group.configured).count();
    text.value("airlock_config_groups", &[], configured as u64);
    let gauges: [(&str, &str, OfGroup); 11] = [
        (
            "airlock_config_semaphore_slots",
            "Slots of a group in the configuration",
            |group, _| group.slots.into(),
        ),
        (
            "airlock_database_semaphore_slots",
            "Slots of a group in the store",
            |group, _| group.slots.into(),
        ),
        (
            "airlock_database_semaphore_lock_holders",
            "Held slots of a group",
            |group, _| group.holders.len() as u64,
        ),
        (
            "fleetlock_lock_state",
            "Whether a slot of the group is held",
            |group, _| u64::from(!group.holders.is_empty()),
        ),
        (
            "twinhull_lock_waiting",
            "Hosts that wait for a slot, as far as this server knows",
            |group, _| group.waiting as u64,
        ),
        (
            "twinhull_lock_known_hosts",
            "Hosts of the group, as far as this server knows",
            |group, _| group.known.into(),
        ),
        (
            "twinhull_lock_overdue",
            "Holders that have not returned in time",
            |group, _| group.holders.iter().filter(|holder| holder.overdue).count() as u64,
        ),
        (
            "twinhull_lock_failures",
            "Hosts that rolled back or did not return since the last resume",
            |group, _| group.failures.len() as u64,
        ),
        (
            "twinhull_lock_paused",
            "Whether a person stopped the group",
            |group, _| u64::from(group.paused.is_some()),
        ),
        ("twinhull_lock_halted", "Whether too many hosts failed", |group, _| {
            u64::from(group.halted.is_some())
        }),
        (
            "twinhull_lock_oldest_hold_seconds",
            "How long the slot that was taken first has been held; 0 without one",
            |group, status| {
                let since = group.holders.iter().map(|holder| holder.since).min();
                let seconds = since.map_or(0, |since| status.now.as_second() - since.as_second());
                u64::try_from(seconds).unwrap_or(0)
            },
        ),
    ];
    for (name, help, of) in gauges {
        text.metric(name, "gauge", help);
        for group in &status.groups {
            text.value(name, &[("group", group.name.as_str())], of(group, status));
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}.\n# TYPE {name} {kind}");
    }

    // Label values are names of groups, kinds and versions: nothing in them needs escaping.
    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_and_ours_carry_the_figures() {
        let metrics = Metrics::default();
        metrics.answered(Question::PreReboot, Kind::Granted, Duration::from_millis(3));
        metrics.answered(Question::PreReboot, Kind::LockHeld, Duration::from_mins(1));
        let status: Status = serde_json::from_str(
            r#"{"now":"2026-01-01T00:01:00Z","groups":[{"name":"a","slots":3,"configured":true,
                "holders":[{"id":"x","since":"2026-01-01T00:00:00Z"}]}],"history":[]}"#,
        )
        .unwrap();
        let text = metrics.render(Some(&status));
        for line in [
            "airlock_v1_pre_reboot_incoming_requests_total 2",
            "airlock_database_semaphore_lock_holders{group=\"a\"} 1",
            "airlock_config_groups 1",
            "fleetlock_lock_state{group=\"a\"} 1",
            "twinhull_lock_oldest_hold_seconds{group=\"a\"} 60",
            "twinhull_lock_answers_total{endpoint=\"pre-reboot\",kind=\"lock_held\"} 1",
            "twinhull_lock_answer_seconds_bucket{le=\"0.001\"} 0",
            "twinhull_lock_answer_seconds_bucket{le=\"0.005\"} 1",
            "twinhull_lock_answer_seconds_bucket{le=\"+Inf\"} 2",
            "twinhull_lock_answer_seconds_sum 60.003000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(metrics.render(None).contains("twinhull_lock_backend_up 0"));
    }
}
