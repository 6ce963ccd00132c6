//! Which release of the channel is for this host now.

use jiff::{SignedDuration, Timestamp};
use twinhull_layout::Version;
use twinhull_rollout::{Choice, Host, Pin, choose};

use crate::config::Updates;
use crate::machine::{Offer, Turn};

/// What the channel's offer means for the host `id` that runs `running`, at `now`.
pub(super) fn offer(
    offer: &twinhull_rollout::Offer<'_>,
    updates: &Updates,
    id: &str,
    running: &Version,
    now: Timestamp,
) -> Offer {
    let pin = match (&updates.pin_version, updates.pin_wave) {
        (Some(version), _) => Pin::Version(version),
        (None, Some(wave)) => Pin::Wave(wave),
        (None, None) => Pin::None,
    };
    let host = Host {
        id,
        running,
        pin,
        min_age: SignedDuration::try_from(updates.min_age).unwrap_or(SignedDuration::MAX),
    };
    let choice = choose(offer, &host, now);
    let text = choice.to_string();
    let (version, turn) = match choice {
        Choice::Install { version, .. } | Choice::Current { version } | Choice::Pinned { version } => {
            (version, Turn::Now)
        }
        Choice::Halted { version, .. } => (version, Turn::Halted(text)),
        Choice::Waiting { version, .. } | Choice::NoWave { version, .. } => (version, Turn::Later(text)),
    };
    Offer { version, turn }
}
