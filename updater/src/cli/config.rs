//! `twinhull-updater config`

use std::fmt::Write as _;

use super::by_hand::load_config;
use super::{ConfigArgs, Exit};
use crate::config::Config;
use crate::paths::Paths;

pub(super) fn run(paths: &Paths, args: &ConfigArgs) -> anyhow::Result<Exit> {
    let Some(config) = load_config(paths) else {
        return Ok(Exit::Configuration);
    };
    if args.show_origin {
        args.output.print(&config.origins, &origins(&config))?;
    } else {
        args.output.print(&config, &values(&config))?;
    }
    Ok(Exit::Done)
}

fn origins(config: &Config) -> String {
    if config.origins.is_empty() {
        return "no file sets anything: all values are the defaults".to_owned();
    }
    let mut text = String::new();
    for origin in &config.origins {
        let _ = writeln!(text, "{} = {}  ({})", origin.key, origin.value, origin.file.display());
    }
    text
}

fn values(config: &Config) -> String {
    let mut text = String::new();
    match &config.updates {
        None => text.push_str("updates.repository is not set: the agent is idle\n"),
        Some(updates) => {
            let strategy = serde_json::to_value(updates.strategy).unwrap_or_default();
            let _ = writeln!(text, "updates.repository = {}", updates.repository);
            if let Some(product) = &updates.product {
                let _ = writeln!(text, "updates.product = {product}");
            }
            let _ = writeln!(text, "updates.channel = {}", updates.channel);
            let _ = writeln!(text, "updates.poll_seconds = {}", updates.poll.as_secs());
            let _ = writeln!(text, "updates.strategy = {}", strategy.as_str().unwrap_or_default());
        }
    }
    if let Some(lock) = &config.lock {
        let _ = writeln!(text, "lock.url = {}", lock.url);
        let _ = writeln!(text, "lock.group = {}", lock.group);
        let _ = writeln!(text, "lock.retry_seconds = {}", lock.retry.as_secs());
    }
    let health = &config.health;
    let _ = writeln!(text, "health.units = {:?}", health.units);
    let _ = writeln!(text, "health.settle_seconds = {}", health.settle.as_secs());
    let _ = writeln!(text, "health.timeout_seconds = {}", health.timeout.as_secs());
    let _ = writeln!(text, "health.script_seconds = {}", health.script.as_secs());
    text
}
