use proptest::prelude::*;

use super::*;
use crate::policy::Slots;

fn id(number: u8) -> HostId {
    format!("host-{number}").parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn any_report() -> impl Strategy<Value = Report> {
    let zone = proptest::option::of(prop_oneof![Just("a".to_owned()), Just("b".to_owned())]);
    let ending = proptest::option::of(prop_oneof![Just(Ending::Healthy), Just(Ending::RolledBack)]);
    (zone, ending).prop_map(|(zone, ending)| Report {
        zone,
        ending,
        ..Report::default()
    })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let slots = prop_oneof![(0u32..5).prop_map(Slots::Count), (1u32..100).prop_map(Slots::Percent)];
    let halts = (proptest::option::of(0u32..4), proptest::option::of(0u32..100));
    (
        slots,
        0u32..20,
        any::<bool>(),
        any::<bool>(),
        1u32..60,
        any::<bool>(),
        halts,
    )
        .prop_map(
            |(slots, settle_seconds, one_zone, ordered, return_seconds, release, (halt_failures, halt_percent))| {
                Policy {
                    slots,
                    settle_seconds,
                    one_zone,
                    zone_order: if ordered {
                        vec!["a".to_owned(), "b".to_owned()]
                    } else {
                        Vec::new()
                    },
                    return_seconds,
                    absent: if release { Absent::Release } else { Absent::Hold },
                    halt_failures,
                    halt_percent,
                }
            },
        )
}

fn any_fleet() -> impl Strategy<Value = Fleet> {
    (0u32..30, any::<bool>(), any::<bool>()).prop_map(|(known, complete, waiting)| Fleet {
        known,
        complete,
        waiting_zones: if waiting { vec!["a".to_owned()] } else { Vec::new() },
    })
}

/// Any request, as the queues of both stores get them too.
pub(crate) fn any_request() -> impl Strategy<Value = Request> {
    let reason = || "because".to_owned();
    prop_oneof![
        8 => ((0u8..8), any_report()).prop_map(|(n, report)| Request::Take(id(n), report)),
        6 => ((0u8..8), any_report()).prop_map(|(n, report)| Request::Release(id(n), report)),
        1 => (0u8..8).prop_map(move |n| Request::ForceRelease { id: id(n), reason: reason() }),
        1 => any_policy().prop_map(Request::Configure),
        2 => (1u32..5).prop_map(|slots| Request::Configure(Policy::with_slots(slots))),
        1 => any_policy().prop_map(move |policy| Request::SetPolicy { policy, reason: reason() }),
        1 => Just(Request::Pause { reason: reason() }),
        2 => Just(Request::Resume { reason: reason() }),
        2 => Just(Request::Tick),
    ]
}

/// Any state that requests can lead to.
fn any_state() -> impl Strategy<Value = Semaphore> {
    proptest::collection::vec((any_request(), any_fleet(), 0i64..10), 0..60).prop_map(|requests| {
        let (mut state, mut now) = (Semaphore::default(), 0);
        for (request, fleet, passed) in requests {
            now += passed;
            state = step(state, request, &fleet, "test", at(now)).0;
        }
        state
    })
}

proptest! {
    #[test]
    fn holders_grow_by_one_grant_at_most_and_never_beyond_the_slots(
        state in any_state(), request in any_request(), fleet in any_fleet(),
    ) {
        let before = state.holders.len();
        let (after, outcome, _) = step(state.clone(), request, &fleet, "test", at(1000));
        if after.holders.len() > before {
            prop_assert_eq!(after.holders.len(), before + 1);
            let granted = matches!(outcome, Outcome::Granted { .. });
            prop_assert!(granted);
            prop_assert!(after.holders.len() <= state.policy.slots.of(known(&state, &fleet)) as usize);
        }
    }

    #[test]
    fn nothing_is_granted_while_paused_halted_settling_or_with_two_zones_down(
        state in any_state(), n in 0u8..8, report in any_report(), fleet in any_fleet(), now in 0i64..700,
    ) {
        let (after, outcome, _) = step(state.clone(), Request::Take(id(n), report), &fleet, "test", at(now));
        if !matches!(outcome, Outcome::Granted { .. }) {
            return Ok(());
        }
        prop_assert!(state.paused.is_none() && state.halted.is_none());
        let settle = i64::from(state.policy.settle_seconds);
        let last = state.holders.values().map(|hold| hold.since).max().max(state.last_release);
        if let (Some(last), true) = (last, settle > 0) {
            prop_assert!(now >= last.as_second() + settle);
        }
        if state.policy.one_zone {
            let zones: std::collections::BTreeSet<_> = after.holders.values().map(|hold| &hold.zone).collect();
            prop_assert!(zones.len() <= 1 || state.holders.values().any(|hold| hold.zone != after.holders[&id(n)].zone));
            prop_assert!(state.holders.values().all(|hold| hold.zone == after.holders[&id(n)].zone));
        }
    }

    #[test]
    fn taking_twice_is_taking_once(state in any_state(), n in 0u8..8, report in any_report(), fleet in any_fleet()) {
        let take = || Request::Take(id(n), report.clone());
        let (once, first, _) = step(state, take(), &fleet, "test", at(1000));
        let (twice, second, changes) = step(once.clone(), take(), &fleet, "test", at(1000));
        prop_assert_eq!(&once, &twice);
        prop_assert!(changes.is_empty());
        match first {
            Outcome::Granted { since } | Outcome::AlreadyHeld { since } => {
                prop_assert_eq!(second, Outcome::AlreadyHeld { since });
            }
            refused => prop_assert_eq!(second, refused),
        }
    }

    #[test]
    fn releasing_twice_is_releasing_once(state in any_state(), n in 0u8..8, report in any_report(), fleet in any_fleet()) {
        let release = || Request::Release(id(n), report.clone());
        let (once, _, _) = step(state, release(), &fleet, "test", at(1000));
        prop_assert!(!once.holders.contains_key(&id(n)));
        let (twice, second, _) = step(once.clone(), release(), &fleet, "test", at(2000));
        prop_assert_eq!(once, twice);
        prop_assert_eq!(second, Outcome::NotHeld);
    }

    #[test]
    fn a_request_by_a_host_touches_no_other(state in any_state(), n in 0u8..8, report in any_report(), takes in any::<bool>()) {
        let request = if takes { Request::Take(id(n), report) } else { Request::Release(id(n), report) };
        let (after, _, _) = step(state.clone(), request, &Fleet::default(), "test", at(1000));
        for other in (0u8..8).filter(|other| *other != n) {
            prop_assert_eq!(after.holders.get(&id(other)), state.holders.get(&id(other)));
            prop_assert_eq!(after.failures.get(&id(other)), state.failures.get(&id(other)));
        }
    }

    #[test]
    fn only_a_policy_that_says_so_frees_a_slot_by_time(state in any_state(), fleet in any_fleet(), now in 0i64..100_000) {
        let (after, _, _) = step(state.clone(), Request::Tick, &fleet, "test", at(now));
        for (id, hold) in &state.holders {
            if !after.holders.contains_key(id) {
                prop_assert_eq!(state.policy.absent, Absent::Release);
                prop_assert!(now - hold.since.as_second() >= i64::from(state.policy.return_seconds));
                prop_assert!(after.failures.contains_key(id));
            }
        }
    }

    #[test]
    fn the_history_says_exactly_what_changed(state in any_state(), request in any_request(), fleet in any_fleet()) {
        let (after, _, changes) = step(state.clone(), request, &fleet, "test", at(1000));
        prop_assert_eq!(changes.is_empty(), after == state);
        let granted = changes.iter().filter(|change| matches!(change, Change::Granted { .. })).count();
        let added = after.holders.keys().filter(|id| !state.holders.contains_key(*id)).count();
        prop_assert_eq!(granted, added);
    }

    #[test]
    fn a_record_reads_back_as_written(state in any_state()) {
        let text = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<Semaphore>(&text).unwrap(), state);
    }
}

/// A group in the hands of one test.
struct Group {
    state: Semaphore,
    fleet: Fleet,
    now: i64,
}

impl Group {
    fn new(policy: Policy, known: u32) -> Self {
        let fleet = Fleet {
            known,
            complete: true,
            waiting_zones: Vec::new(),
        };
        let (state, ..) = step(Semaphore::default(), Request::Configure(policy), &fleet, "test", at(0));
        Self { state, fleet, now: 0 }
    }

    fn ask(&mut self, request: Request) -> Outcome {
        let (state, outcome, _) = step(self.state.clone(), request, &self.fleet, "test", at(self.now));
        self.state = state;
        outcome
    }

    fn take(&mut self, n: u8, zone: Option<&str>) -> Outcome {
        let report = Report {
            zone: zone.map(ToOwned::to_owned),
            target: Some("2.0.0".to_owned()),
            ..Report::default()
        };
        self.ask(Request::Take(id(n), report))
    }

    fn grant(&mut self, n: u8) {
        let outcome = self.take(n, None);
        assert!(matches!(outcome, Outcome::Granted { .. }), "{outcome:?}");
    }

    fn refused(&mut self, n: u8, zone: Option<&str>) -> String {
        match self.take(n, zone) {
            Outcome::Refused(refusal) => refusal.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn release(&mut self, n: u8, ending: Ending) {
        let report = Report {
            ending: Some(ending),
            ..Report::default()
        };
        self.ask(Request::Release(id(n), report));
    }
}

#[test]
fn a_refusal_names_the_longest_holders_first() {
    let mut group = Group::new(Policy::with_slots(4), 0);
    for (n, second) in [(1, 40), (2, 10), (3, 30), (4, 20)] {
        group.now = second;
        group.grant(n);
    }
    assert_eq!(
        group.refused(5, None),
        "4 of 4 slots held by host-2 since 1970-01-01T00:00:10Z, host-4 since 1970-01-01T00:00:20Z, \
         host-3 since 1970-01-01T00:00:30Z, 1 more"
    );
}

#[test]
fn lowering_the_slots_evicts_nobody_and_grants_nothing() {
    let mut group = Group::new(Policy::with_slots(2), 0);
    group.grant(1);
    group.grant(2);
    group.ask(Request::Configure(Policy::with_slots(1)));
    assert_eq!(group.state.holders.len(), 2);
    group.release(1, Ending::Healthy);
    assert!(group.refused(3, None).starts_with("1 of 1 slots held by host-2"));
}

#[test]
fn a_policy_set_by_a_person_stays_until_the_file_says_something_new() {
    let mut group = Group::new(Policy::with_slots(2), 0);
    let policy = Policy::with_slots(5);
    let reason = "maintenance".to_owned();
    group.ask(Request::SetPolicy {
        policy: policy.clone(),
        reason,
    });
    group.ask(Request::Configure(Policy::with_slots(2)));
    assert_eq!(group.state.policy, policy);
    group.ask(Request::Configure(Policy::with_slots(3)));
    assert_eq!(group.state.policy, Policy::with_slots(3));
}

#[test]
fn settle_time_runs_from_the_last_grant_and_the_last_return() {
    let settle_seconds = 60;
    let mut group = Group::new(
        Policy {
            settle_seconds,
            ..Policy::with_slots(2)
        },
        0,
    );
    group.grant(1);
    group.now = 59;
    assert_eq!(group.refused(2, None), "settling until 1970-01-01T00:01:00Z");
    group.now = 60;
    group.grant(2);
    group.now = 200;
    group.release(1, Ending::Healthy);
    assert_eq!(group.refused(3, None), "settling until 1970-01-01T00:04:20Z");
    group.now = 260;
    group.grant(3);
}

#[test]
fn zones_are_never_down_together_and_the_first_goes_first() {
    let policy = Policy {
        one_zone: true,
        zone_order: vec!["a".to_owned(), "b".to_owned()],
        ..Policy::with_slots(5)
    };
    let mut group = Group::new(policy, 0);
    group.fleet.waiting_zones = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(group.refused(1, Some("b")), "zone a goes first and has hosts waiting");
    assert!(group.refused(1, Some("c")).starts_with("zone a goes first"));
    assert!(matches!(group.take(2, Some("a")), Outcome::Granted { .. }));
    group.fleet.waiting_zones.clear();
    assert_eq!(group.refused(1, Some("b")), "zone a has its turn (host-2 is down)");
    assert!(group.refused(3, None).starts_with("zone a has its turn"));
    assert!(matches!(group.take(4, Some("a")), Outcome::Granted { .. }));
}

#[test]
fn a_holder_that_does_not_return_keeps_its_slot_or_loses_it_as_the_policy_says() {
    let mut group = Group::new(Policy::with_slots(1), 0);
    group.grant(1);
    group.now = 3600;
    group.ask(Request::Tick);
    assert!(group.state.holders[&id(1)].overdue);
    assert_eq!(group.state.failures[&id(1)].what, FailureKind::NotReturned);
    // Said once, and taken back when the host comes after all.
    assert_eq!(group.ask(Request::Tick), Outcome::Done { changed: false });
    group.release(1, Ending::Healthy);
    assert!(group.state.failures.is_empty());

    let absent = Absent::Release;
    let mut group = Group::new(
        Policy {
            absent,
            ..Policy::with_slots(1)
        },
        0,
    );
    group.grant(1);
    group.now = 3600;
    let (_, _, changes) = step(group.state.clone(), Request::Tick, &group.fleet, "test", at(3600));
    assert!(
        matches!(&changes[..], [Change::TimedOut { reason, .. }] if reason == "did not return within 3600 s"),
        "{changes:?}"
    );
    group.ask(Request::Tick);
    group.grant(2);
}

#[test]
fn too_many_failures_halt_the_group_until_a_person_resumes_it() {
    let halt_percent = Some(10);
    let mut group = Group::new(
        Policy {
            halt_percent,
            ..Policy::with_slots(3)
        },
        20,
    );
    for n in 1..=3 {
        group.grant(n);
    }
    group.release(1, Ending::RolledBack);
    group.release(2, Ending::RolledBack);
    // Two of twenty are not more than ten of a hundred.
    group.grant(4);
    group.release(3, Ending::RolledBack);
    let halted = "halted since 1970-01-01T00:00:00Z, until a person resumes it: \
                  3 of 20 hosts failed: 3 rolled back, 0 did not return (2.0.0)";
    assert_eq!(group.refused(5, None), halted);
    // Who is down can still come back, and a good ending does not lift the halt.
    group.release(4, Ending::Healthy);
    assert_eq!(group.refused(5, None), halted);
    let reason = "2.0.1 fixes it".to_owned();
    group.ask(Request::Resume { reason });
    group.grant(5);
    // What was said before is forgotten; saying it again without a slot counts for nothing.
    group.release(1, Ending::RolledBack);
    assert!(group.state.failures.is_empty());
}

#[test]
fn a_restarted_server_counts_with_the_number_of_hosts_in_the_record() {
    let slots = Slots::Percent(10);
    let mut group = Group::new(
        Policy {
            slots,
            ..Policy::default()
        },
        30,
    );
    group.grant(1);
    group.fleet = Fleet::default();
    group.grant(2);
    group.grant(3);
    assert!(group.refused(4, None).starts_with("3 of 3 slots"));
}

#[test]
fn a_pause_says_who_and_why() {
    let mut group = Group::new(Policy::with_slots(1), 0);
    let reason = "audit".to_owned();
    group.ask(Request::Pause { reason });
    assert_eq!(
        group.refused(1, None),
        "paused since 1970-01-01T00:00:00Z by test: audit"
    );
}
