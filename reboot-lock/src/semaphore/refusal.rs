//! Why a slot is not granted: every refusal has a reason that a person can read.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::{Fleet, Halt, Pause, Semaphore, known};
use crate::names::HostId;

/// How many holders a refusal names; the rest are counted.
const NAMED_HOLDERS: usize = 3;

/// Why a slot is not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// All slots are held by others.
    Full {
        /// How many slots the group has.
        slots: u32,
        /// How many are held.
        held: usize,
        /// Those that hold theirs longest, with the time of the grant.
        oldest: Vec<(HostId, Timestamp)>,
    },
    /// A person stopped the group.
    Paused(Pause),
    /// Too many hosts failed.
    Halted(Halt),
    /// Another host went or came back a short time ago.
    Settling {
        /// When it is over.
        until: Timestamp,
    },
    /// A host of another zone is down.
    OtherZone {
        /// Its zone; `None` for a host that did not say.
        zone: Option<String>,
        /// That host.
        holder: HostId,
    },
    /// A zone that goes first has hosts waiting.
    ZoneOrder {
        /// That zone.
        first: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { slots: 0, held, .. } => write!(f, "closed, it has 0 slots ({held} still held)"),
            Self::Full { slots, held, oldest } => {
                let mut holders: Vec<_> = oldest.iter().map(|(id, since)| format!("{id} since {since}")).collect();
                if *held > holders.len() {
                    holders.push(format!("{} more", held - holders.len()));
                }
                write!(f, "{held} of {slots} slots held by {}", holders.join(", "))
            }
            Self::Paused(Pause { since, by, reason }) => write!(f, "paused since {since} by {by}: {reason}"),
            Self::Halted(Halt { since, reason }) => {
                write!(f, "halted since {since}, until a person resumes it: {reason}")
            }
            Self::Settling { until } => write!(f, "settling until {until}"),
            Self::OtherZone {
                zone: Some(zone),
                holder,
            } => write!(f, "zone {zone} has its turn ({holder} is down)"),
            Self::OtherZone { zone: None, holder } => write!(f, "{holder}, which names no zone, is down"),
            Self::ZoneOrder { first } => write!(f, "zone {first} goes first and has hosts waiting"),
        }
    }
}

/// Why a host of `zone` that holds nothing gets no slot now; `None` if it gets one.
pub fn refusal(state: &Semaphore, zone: Option<&str>, fleet: &Fleet, now: Timestamp) -> Option<Refusal> {
    if let Some(pause) = &state.paused {
        return Some(Refusal::Paused(pause.clone()));
    }
    if let Some(halt) = &state.halted {
        return Some(Refusal::Halted(halt.clone()));
    }
    let slots = state.policy.slots.of(known(state, fleet));
    let held = state.holders.len();
    if held >= slots as usize {
        let oldest = oldest(state);
        return Some(Refusal::Full { slots, held, oldest });
    }
    if let Some(until) = settled(state).filter(|until| *until > now) {
        return Some(Refusal::Settling { until });
    }
    if state.policy.one_zone {
        let other = state.holders.iter().find(|(_, hold)| hold.zone.as_deref() != zone);
        if let Some((holder, hold)) = other {
            return Some(Refusal::OtherZone {
                zone: hold.zone.clone(),
                holder: holder.clone(),
            });
        }
    }
    let order = &state.policy.zone_order;
    let mine = order.iter().position(|ordered| Some(ordered.as_str()) == zone);
    let earlier = &order[..mine.unwrap_or(order.len())];
    earlier
        .iter()
        .find(|zone| fleet.waiting_zones.contains(zone))
        .map(|first| Refusal::ZoneOrder { first: first.clone() })
}

/// When the settle time is over, if there is one and anything happened.
fn settled(state: &Semaphore) -> Option<Timestamp> {
    if state.policy.settle_seconds == 0 {
        return None;
    }
    let granted = state.holders.values().map(|hold| hold.since).max();
    let last = granted.max(state.last_release)?;
    last.checked_add(SignedDuration::from_secs(state.policy.settle_seconds.into()))
        .ok()
}

fn oldest(state: &Semaphore) -> Vec<(HostId, Timestamp)> {
    let mut all: Vec<_> = state.holders.iter().map(|(id, hold)| (hold.since, id)).collect();
    all.sort();
    let named = all.into_iter().take(NAMED_HOLDERS);
    named.map(|(since, id)| (id.clone(), since)).collect()
}
