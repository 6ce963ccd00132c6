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
    pub(super) health: Health,
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
}

/// `[lock]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Lock {
    pub(super) url: Option<String>,
    pub(super) group: Option<String>,
    pub(super) retry_seconds: Option<u64>,
}

/// `[health]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Health {
    pub(super) units: Option<Vec<String>>,
    pub(super) settle_seconds: Option<u64>,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) script_seconds: Option<u64>,
}

pub(super) fn read(path: &Path) -> Result<Fragment, ConfigError> {
    twinhull_config::read(path)
}
