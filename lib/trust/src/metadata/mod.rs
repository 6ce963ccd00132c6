//! The metadata files of The Update Framework, version 1.0.x, section 4: their types, and how one is opened.
//!
//! Fields that this crate does not know are ignored, as the specification asks; they are covered by the signature like all
//! others. [`envelope`] is the only way from bytes to a role.

mod common;
mod delegation;
pub(crate) mod envelope;
mod hashes;
mod key;
pub(crate) mod pattern;
mod root;
pub(crate) mod scheme;
mod snapshot;
mod targets;
mod timestamp;

pub(crate) use common::{Common, Role};
pub(crate) use delegation::{DelegatedRole, Delegations};
pub(crate) use hashes::{FileRecord, Hashes};
pub(crate) use key::{Delegator, Key, RoleKeys};
pub(crate) use root::{Roles, Root};
pub(crate) use snapshot::Snapshot;
pub(crate) use targets::{TargetRecord, Targets};
pub(crate) use timestamp::TimestampRole;

/// The names of the top-level roles.
pub(crate) const ROOT: &str = "root";
/// See [`ROOT`].
pub(crate) const TIMESTAMP: &str = "timestamp";
/// See [`ROOT`].
pub(crate) const SNAPSHOT: &str = "snapshot";
/// See [`ROOT`].
pub(crate) const TARGETS: &str = "targets";

/// The file name under which the timestamp and snapshot list a role.
pub(crate) fn listed_as(role: &str) -> String {
    format!("{role}.json")
}
