//! What the journal is told, with message ids (`journalctl MESSAGE_ID=…`, `systemd.journal-fields(7)`) and fields `CODE` and
//! `RELEASE`. The ids are listed in `docs/operations.md` and never change their meaning.

use crate::machine::{Known, RecordKind, Waiting};

/// A release is in the other slot.
pub const INSTALLED: &str = "0f1f0a5a3a6b4c0d8f0e6e2d9f6c1a01";
/// A release was not installed.
pub const REFUSED: &str = "0f1f0a5a3a6b4c0d8f0e6e2d9f6c1a02";
/// A release booted and is healthy.
pub const UPDATED: &str = "0f1f0a5a3a6b4c0d8f0e6e2d9f6c1a03";
/// A release booted, was not healthy, and the host fell back.
pub const FAILED: &str = "0f1f0a5a3a6b4c0d8f0e6e2d9f6c1a04";
/// A staged release was taken back.
pub const DISCARDED: &str = "0f1f0a5a3a6b4c0d8f0e6e2d9f6c1a05";
/// The host went back by hand.
pub const ROLLED_BACK: &str = "0f1f0a5a3a6b4c0d8f0e6e2d9f6c1a06";
/// Why nothing more is done for now has changed.
pub const WAITING: &str = "0f1f0a5a3a6b4c0d8f0e6e2d9f6c1a07";
/// A healthy release did not start any more.
pub const CAME_BACK: &str = "0f1f0a5a3a6b4c0d8f0e6e2d9f6c1a08";
/// What starts the host, a file or the partition table, had rotted, and was put right.
pub const MENDED: &str = "0f1f0a5a3a6b4c0d8f0e6e2d9f6c1a09";
/// A file that starts the host has rotted.
pub const ROTTEN: &str = "0f1f0a5a3a6b4c0d8f0e6e2d9f6c1a0a";

/// Tells what was recorded since `before`.
pub(super) fn records(before: &Known, after: &Known) {
    let known = before.history.last();
    let fresh = after.history.iter().rev().take_while(|record| Some(*record) != known);
    for record in fresh.collect::<Vec<_>>().into_iter().rev() {
        record_kind(&record.kind);
    }
}

fn record_kind(kind: &RecordKind) {
    match kind {
        RecordKind::Installed { version, fetched, .. } => {
            tracing::info!(message_id = INSTALLED, release = %version, fetched, "installed {version}");
        }
        RecordKind::Refused { version, problem } => {
            let release = version.as_ref().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(
                message_id = REFUSED,
                release,
                code = problem.code,
                "not installed: {problem}"
            );
        }
        RecordKind::Updated { version } => {
            tracing::info!(message_id = UPDATED, release = %version, "{version} is healthy: updated");
        }
        RecordKind::Failed { version, reason } => {
            tracing::error!(message_id = FAILED, release = %version, "{version} failed, and this host fell back: {reason}");
        }
        RecordKind::Discarded { version, reason } => {
            tracing::warn!(message_id = DISCARDED, release = %version, "{version} was taken out of the other slot: {reason}");
        }
        RecordKind::RolledBack { from, to } => {
            tracing::warn!(message_id = ROLLED_BACK, release = %to, "went back by hand from {from} to {to}");
        }
        RecordKind::CameBack { from, to } => {
            tracing::error!(
                message_id = CAME_BACK,
                release = %from,
                "{from} did not start any more, though it was healthy here: the disk may be failing; {to} runs instead"
            );
        }
        RecordKind::Mended { file, blocks } => {
            tracing::warn!(
                message_id = MENDED,
                "{file} on the EFI system partition had rotted and was put right ({blocks} blocks of 4096 bytes): the disk may be \
                 failing"
            );
        }
        RecordKind::MendedTable { copy } => {
            tracing::warn!(
                message_id = MENDED,
                "copy {copy} of the partition table had rotted and was put right: the disk may be failing"
            );
        }
        RecordKind::Rotten { file, reason } => {
            tracing::error!(
                message_id = ROTTEN,
                "{file} on the EFI system partition has rotted, and the next boot may fail: {reason}"
            );
        }
        RecordKind::Unknown => {}
    }
}

/// Tells why nothing more is done, when that is another reason than before.
pub(super) fn reason(before: Option<&Waiting>, after: Option<&Waiting>) {
    let code = |waiting: Option<&Waiting>| waiting.map(|waiting| waiting.problem.code.clone());
    if code(before) == code(after) {
        return;
    }
    if let Some(Waiting { problem, .. }) = after {
        tracing::info!(
            message_id = WAITING,
            code = problem.code,
            "waiting ({}): {problem}",
            problem.code
        );
    }
}
