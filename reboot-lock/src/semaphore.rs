//! The semaphore of one group as a pure function: a state and a request give the next state and an outcome.
//!
//! What it promises, whatever the requests and their order (the property tests below):
//! - a slot is granted only while fewer than `slots` are held;
//! - taking again and releasing again change nothing and succeed;
//! - a release by a host that holds nothing changes nothing;
//! - nothing but a release by the holder, or a forced one, frees a slot: there is no expiry.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::HostId;

/// The most slots that a group may have. Bounds the record of a group in the store.
pub const MAX_SLOTS: u32 = 1000;

/// How many holders a refusal names; the rest are counted.
const NAMED_HOLDERS: usize = 3;

/// Who holds a slot of one group, and how many slots there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Semaphore {
    /// How many hosts may hold a slot at the same time. Lowering it evicts nobody, so that for a while there can be more
    /// holders than slots; no further slot is granted until there are fewer.
    pub slots: u32,
    /// The holders by id.
    pub holders: BTreeMap<HostId, Hold>,
}

/// What is known of one held slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When it was granted. Taking again does not change it.
    pub since: Timestamp,
}

/// What is asked of the semaphore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// FleetLock's `pre-reboot`: take a slot, or keep the one held.
    Take(HostId),
    /// FleetLock's `steady-state`, or a person in its place: free the slot if one is held.
    Release(HostId),
    /// Set how many slots there are, 0 to [`MAX_SLOTS`].
    SetSlots(u32),
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The slot was free and is now held.
    Granted {
        /// The time of the grant.
        since: Timestamp,
    },
    /// The host held a slot already and keeps it.
    AlreadyHeld {
        /// The time of the first grant.
        since: Timestamp,
    },
    /// All slots are held by others; nothing changed.
    Full {
        /// How many slots the group has.
        slots: u32,
        /// How many are held.
        held: usize,
        /// Those that hold theirs longest, with the time of the grant.
        oldest: Vec<(HostId, Timestamp)>,
    },
    /// The slot was held and is free again.
    Released {
        /// Since when it had been held.
        since: Timestamp,
    },
    /// The host held nothing; nothing changed.
    NotHeld,
    /// The number of slots is now the one asked for.
    SlotsSet {
        /// The number before.
        from: u32,
        /// The number now; equal to `from` when nothing changed.
        to: u32,
    },
}

impl Outcome {
    /// Whether the state after the request differs from the one before.
    pub fn changed(&self) -> bool {
        match self {
            Self::Granted { .. } | Self::Released { .. } => true,
            Self::SlotsSet { from, to } => from != to,
            Self::AlreadyHeld { .. } | Self::Full { .. } | Self::NotHeld => false,
        }
    }
}

/// Applies `request`, made at `now`, to `state`.
pub fn step(mut state: Semaphore, request: Request, now: Timestamp) -> (Semaphore, Outcome) {
    let outcome = match request {
        Request::Take(id) => take(&mut state, id, now),
        Request::Release(id) => match state.holders.remove(&id) {
            Some(Hold { since }) => Outcome::Released { since },
            None => Outcome::NotHeld,
        },
        Request::SetSlots(to) => {
            let to = to.min(MAX_SLOTS);
            let from = std::mem::replace(&mut state.slots, to);
            Outcome::SlotsSet { from, to }
        }
    };
    (state, outcome)
}

fn take(state: &mut Semaphore, id: HostId, now: Timestamp) -> Outcome {
    if let Some(Hold { since }) = state.holders.get(&id) {
        return Outcome::AlreadyHeld { since: *since };
    }
    let held = state.holders.len();
    if held >= state.slots as usize {
        return Outcome::Full {
            slots: state.slots,
            held,
            oldest: oldest(state),
        };
    }
    state.holders.insert(id, Hold { since: now });
    Outcome::Granted { since: now }
}

fn oldest(state: &Semaphore) -> Vec<(HostId, Timestamp)> {
    let mut all: Vec<_> = state.holders.iter().map(|(id, hold)| (hold.since, id)).collect();
    all.sort();
    let named = all.into_iter().take(NAMED_HOLDERS);
    named.map(|(since, id)| (id.clone(), since)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> HostId {
        format!("host-{number}").parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn any_request() -> impl Strategy<Value = Request> {
        prop_oneof![
            4 => (0u8..8).prop_map(|n| Request::Take(id(n))),
            3 => (0u8..8).prop_map(|n| Request::Release(id(n))),
            1 => (0u32..5).prop_map(Request::SetSlots),
        ]
    }

    /// Any state that requests can lead to.
    fn any_state() -> impl Strategy<Value = Semaphore> {
        proptest::collection::vec(any_request(), 0..40).prop_map(|requests| {
            let (mut state, mut now) = (Semaphore::default(), 0);
            for request in requests {
                now += 1;
                state = step(state, request, at(now)).0;
            }
            state
        })
    }

    proptest! {
        #[test]
        fn holders_never_grow_beyond_the_slots(state in any_state(), request in any_request()) {
            let before = state.holders.len();
            let (after, _) = step(state, request, at(1000));
            prop_assert!(after.holders.len() <= before.max(after.slots as usize));
            prop_assert!(after.holders.len() <= before + 1);
        }

        #[test]
        fn taking_twice_is_taking_once(state in any_state(), n in 0u8..8) {
            let (once, first) = step(state, Request::Take(id(n)), at(1000));
            let (twice, second) = step(once.clone(), Request::Take(id(n)), at(2000));
            prop_assert_eq!(&once, &twice);
            match first {
                Outcome::Granted { since } | Outcome::AlreadyHeld { since } => {
                    prop_assert_eq!(second, Outcome::AlreadyHeld { since });
                    prop_assert_eq!(once.holders.get(&id(n)), Some(&Hold { since }));
                }
                refused => prop_assert_eq!(second, refused),
            }
        }

        #[test]
        fn releasing_twice_is_releasing_once(state in any_state(), n in 0u8..8) {
            let (once, _) = step(state, Request::Release(id(n)), at(1000));
            prop_assert!(!once.holders.contains_key(&id(n)));
            let (twice, second) = step(once.clone(), Request::Release(id(n)), at(2000));
            prop_assert_eq!(once, twice);
            prop_assert_eq!(second, Outcome::NotHeld);
        }

        #[test]
        fn release_by_one_who_holds_nothing_changes_nothing(state in any_state(), n in 0u8..8) {
            prop_assume!(!state.holders.contains_key(&id(n)));
            let (after, outcome) = step(state.clone(), Request::Release(id(n)), at(1000));
            prop_assert_eq!(after, state);
            prop_assert_eq!(outcome, Outcome::NotHeld);
        }

        #[test]
        fn a_request_touches_no_other_host(state in any_state(), request in any_request()) {
            let (after, _) = step(state.clone(), request.clone(), at(1000));
            let asker = match request {
                Request::Take(id) | Request::Release(id) => Some(id),
                Request::SetSlots(_) => None,
            };
            for n in 0u8..8 {
                if Some(id(n)) != asker {
                    prop_assert_eq!(after.holders.get(&id(n)), state.holders.get(&id(n)));
                }
            }
        }

        #[test]
        fn a_refusal_happens_exactly_when_no_slot_is_free(state in any_state(), n in 0u8..8) {
            let free = state.holders.len() < state.slots as usize;
            let mine = state.holders.contains_key(&id(n));
            let (_, outcome) = step(state, Request::Take(id(n)), at(1000));
            prop_assert_eq!(matches!(outcome, Outcome::Full { .. }), !free && !mine);
        }

        #[test]
        fn changed_says_whether_the_state_differs(state in any_state(), request in any_request()) {
            let (after, outcome) = step(state.clone(), request, at(1000));
            prop_assert_eq!(outcome.changed(), after != state);
        }
    }

    #[test]
    fn a_refusal_names_the_longest_holders_first() {
        let mut state = Semaphore::default();
        state = step(state, Request::SetSlots(4), at(0)).0;
        for (n, second) in [(1, 40), (2, 10), (3, 30), (4, 20)] {
            state = step(state, Request::Take(id(n)), at(second)).0;
        }
        let (_, outcome) = step(state, Request::Take(id(5)), at(50));
        let oldest = vec![(id(2), at(10)), (id(4), at(20)), (id(3), at(30))];
        assert_eq!(
            outcome,
            Outcome::Full {
                slots: 4,
                held: 4,
                oldest
            }
        );
    }

    #[test]
    fn lowering_the_slots_evicts_nobody_and_grants_nothing() {
        let mut state = Semaphore::default();
        for request in [
            Request::SetSlots(2),
            Request::Take(id(1)),
            Request::Take(id(2)),
            Request::SetSlots(1),
        ] {
            state = step(state, request, at(1)).0;
        }
        assert_eq!(state.holders.len(), 2);
        state = step(state, Request::Release(id(1)), at(2)).0;
        let (state, outcome) = step(state, Request::Take(id(3)), at(3));
        assert!(
            matches!(outcome, Outcome::Full { slots: 1, held: 1, .. }),
            "{outcome:?}"
        );
        assert!(state.holders.contains_key(&id(2)));
    }
}
