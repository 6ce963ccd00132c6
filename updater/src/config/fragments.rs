//! One configuration file as it is written: every key optional, names as in the TOML. See `docs/agent.md` for their meaning.

use std::path::Path;

use serde::Deserialize;
use twinhull_config::ConfigError;

/// One drop-in file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fragment {
    pub(super) updates: Updates,
    pub(super) lock: Lock,
    pub(super) gates: Gates,
    pub(super) hooks: Hooks,
    pub(super) health: Health,
    pub(super) http: Http,
    pub(super) control: Control,
    pub(super) metrics: Metrics,
}

/// `[updates]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Updates {
    pub(super) repository: Option<String>,
    pub(super) product: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) poll_seconds: Option<u64>,
    pub(super) strategy: Option<String>,
    pub(super) pin_version: Option<String>,
    pub(super) pin_wave: Option<u64>,
    pub(super) min_age_seconds: Option<u64>,
    pub(super) max_fetch_mib: Option<u64>,
    pub(super) beyond_max_fetch: Option<String>,
}

/// `[lock]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Lock {
    pub(super) url: Option<String>,
    pub(super) group: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) retry_seconds: Option<u64>,
}

/// `[gates]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Gates {
    pub(super) windows: Option<Vec<String>>,
    pub(super) time_zone: Option<String>,
    pub(super) spread_seconds: Option<u64>,
    pub(super) min_uptime_seconds: Option<u64>,
    pub(super) users: Option<bool>,
    pub(super) inhibitors: Option<bool>,
    pub(super) healthy: Option<bool>,
    pub(super) script_seconds: Option<u64>,
}

/// `[hooks]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hooks {
    pub(super) timeout_seconds: Option<u64>,
    pub(super) on_failure: Option<String>,
}

/// `[health]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Health {
    pub(super) units: Option<Vec<String>>,
    pub(super) containers: Option<Vec<String>>,
    pub(super) reach: Option<Vec<String>>,
    pub(super) reported_units: Option<Vec<String>>,
    pub(super) reported_containers: Option<Vec<String>>,
    pub(super) reported_reach: Option<Vec<String>>,
    pub(super) settle_seconds: Option<u64>,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) script_seconds: Option<u64>,
}

/// `[http]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    pub(super) proxy: Option<String>,
    pub(super) ca: Option<String>,
    pub(super) client_certificate: Option<String>,
    pub(super) client_key: Option<String>,
}

/// `[control]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Control {
    pub(super) group: Option<String>,
}

/// `[metrics]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub(super) listen: Option<String>,
}

pub(super) fn read(path: &Path) -> Result<Fragment, ConfigError> {
    twinhull_config::read(path)
}
