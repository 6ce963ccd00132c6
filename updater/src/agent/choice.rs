//! Which release of the channel is for this host now.

use jiff::{SignedDuration, Timestamp};
use twinhull_layout::Version;
use twinhull_rollout::{Choice, Host, Pin, choose};

use crate::machine::{Offer, Problem};

/// What the channel's offer means for the host `id` that runs `running`, at `now`.
///
/// # Errors
/// The rollout has not reached this host: the problem says when it will.
pub(super) fn offer(
    offer: &twinhull_rollout::Offer<'_>,
    id: &str,
    running: &Version,
    now: Timestamp,
) -> Result<Offer, Problem> {
    let host = Host {
        id,
        running,
        pin: Pin::None,
        min_age: SignedDuration::ZERO,
    };
    let choice = choose(offer, &host, now);
    let text = choice.to_string();
    match choice {
        Choice::Install { version, .. } | Choice::Current { version } | Choice::Pinned { version } => {
            Ok(Offer { version, halted: false })
        }
        Choice::Halted { version, .. } => Ok(Offer { version, halted: true }),
        Choice::Waiting { .. } | Choice::NoWave { .. } => Err(Problem::new("wave", text)),
    }
}
