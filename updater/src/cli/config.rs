//! `twinhull-updater config`

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::by_hand::load_config;
use super::{ConfigArgs, Exit};
use crate::config::Config;
use crate::health::Subject;
use crate::paths::Paths;

/// One value as it counts, and where it came from.
#[derive(Serialize)]
struct Row {
    key: &'static str,
    value: Value,
    /// The file that set it; none for a default.
    file: Option<String>,
}

pub(super) fn run(paths: &Paths, args: &ConfigArgs) -> anyhow::Result<Exit> {
    let Some(config) = load_config(paths) else {
        return Ok(Exit::Configuration);
    };
    let rows = rows(&config);
    let mut text = String::new();
    for Row { key, value, file } in &rows {
        let _ = write!(text, "{key} = {value}");
        if args.show_origin {
            let _ = write!(text, "  ({})", file.as_deref().unwrap_or("default"));
        }
        text.push('\n');
    }
    if args.show_origin {
        args.output.print(&rows, &text)?;
    } else {
        let values: serde_json::Map<String, Value> =
            rows.into_iter().map(|row| (row.key.to_owned(), row.value)).collect();
        args.output.print(&values, &text)?;
    }
    Ok(Exit::Done)
}

/// Every key that has a value, by itself or as a default.
fn rows(config: &Config) -> Vec<Row> {
    let (gates, health) = (&config.gates, &config.health);
    let defaults = [
        ("updates.channel", json!("stable")),
        ("updates.poll_seconds", json!(3600)),
        ("updates.strategy", json!("lock")),
        ("lock.group", json!("default")),
        ("lock.retry_seconds", json!(60)),
        ("gates.windows", json!([])),
        ("gates.time_zone", json!("UTC")),
        ("gates.spread_seconds", json!(0)),
        ("gates.min_uptime_seconds", json!(gates.min_uptime.as_secs())),
        ("gates.users", json!(gates.users)),
        ("gates.inhibitors", json!(gates.inhibitors)),
        ("gates.healthy", json!(gates.healthy)),
        ("gates.script_seconds", json!(config.gate_script.as_secs())),
        ("hooks.timeout_seconds", json!(config.hooks.limit.as_secs())),
        ("hooks.on_failure", json!("stop")),
        ("health.units", json!(units(&health.required))),
        ("health.settle_seconds", json!(health.settle.as_secs())),
        ("health.timeout_seconds", json!(health.timeout.as_secs())),
        ("health.script_seconds", json!(health.script.as_secs())),
    ];
    let mut rows: Vec<Row> = config
        .origins
        .iter()
        .map(|origin| Row {
            key: origin.key,
            value: origin.value.clone(),
            file: Some(origin.file.display().to_string()),
        })
        .collect();
    for (key, value) in defaults {
        if rows.iter().all(|row| row.key != key) {
            rows.push(Row { key, value, file: None });
        }
    }
    rows.sort_by_key(|row| row.key);
    rows
}

fn units(subjects: &[Subject]) -> Vec<&str> {
    subjects
        .iter()
        .filter_map(|subject| match subject {
            Subject::Unit(name) => Some(name.as_str()),
            _ => None,
        })
        .collect()
}
