//! What this host tells of itself beside the protocol's own fields. Servers that do not know it ignore it.

use serde::Serialize;
use twinhull_layout::Version;

/// The object `twinhull` of a request (`docs/reboot-lock.md`, "What a host may tell").
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Report<'a> {
    /// The release that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a Version>,
    /// The release that the lock is taken for; with [`Outcome::RolledBack`] the one that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a Version>,
    /// Where this host is, as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<&'a str>,
    /// How the reboot ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// How the reboot ended that the lock was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// This host is up and healthy.
    Healthy,
    /// It is back on the release that it came from.
    RolledBack,
}
