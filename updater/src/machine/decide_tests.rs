//! The decisions, as stories.

use std::time::Duration;

use twinhull_layout::Version;

use super::*;
use crate::config::Strategy;
use crate::gates::{Gates, Marker, Observed};

/// A machine, its clock, and what it was last told to do.
pub(super) struct Story {
    pub(super) known: Known,
    pub(super) live: Live,
    pub(super) rules: Rules,
    pub(super) uptime: Duration,
    pub(super) effects: Vec<Effect>,
    /// Whether the running release's entry was set aside.
    pub(super) aside: bool,
}

pub(super) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub(super) fn problem(code: &str) -> Problem {
    Problem::new(code, "because")
}

impl Story {
    pub(super) fn new(strategy: Strategy) -> Self {
        Self {
            known: Known::default(),
            live: Live::default(),
            rules: Rules {
                strategy: Some(strategy),
                poll: Duration::from_hours(1),
                retry: Duration::from_mins(1),
                lock: strategy == Strategy::Lock,
                hooks: true,
                gates: Gates::none(),
                place: 0,
            },
            uptime: Duration::ZERO,
            effects: Vec::new(),
            aside: false,
        }
    }

    /// A host on 1.0.0 that has just started and released the lock.
    pub(super) fn started(strategy: Strategy) -> Self {
        let mut story = Self::new(strategy);
        story.see("1.0.0", false, &[]);
        if strategy == Strategy::Lock {
            story.expect(&[Effect::Release]);
            story.tell(Event::Released(Ok(())));
        }
        story
    }

    /// The same with 1.1.0 in the other slot.
    pub(super) fn staged(strategy: Strategy) -> Self {
        let mut story = Self::started(strategy);
        story.offer("1.1.0");
        story.expect(&[Effect::Install(version("1.1.0"))]);
        story.tell(Event::Installed(Ok(Installed {
            fetched: 7,
            phases: Vec::new(),
        })));
        story
    }

    pub(super) fn tell(&mut self, event: Event) -> &mut Self {
        let now = Now {
            wall: jiff::Timestamp::UNIX_EPOCH + self.uptime,
            uptime: self.uptime,
            dice: 0,
        };
        let (known, live, effects) = decide(
            std::mem::take(&mut self.known),
            std::mem::take(&mut self.live),
            event,
            &self.rules,
            &now,
        );
        (self.known, self.live, self.effects) = (known, live, effects);
        self
    }

    pub(super) fn see(&mut self, running: &str, trial: bool, others: &[&str]) -> &mut Self {
        self.tell(Event::Seen(Ok(Seen {
            running: version(running),
            trial,
            aside: self.aside,
            others: others.iter().map(|name| name.parse().unwrap()).collect(),
            unhealthy: Some((version("1.1.0"), "unit x.service is failed".to_owned())),
        })))
    }

    pub(super) fn offer(&mut self, text: &str) -> &mut Self {
        self.tell(Event::Checked(Ok(Offer {
            version: version(text),
            turn: Turn::Now,
        })))
    }

    /// Lets the time pass that the machine asked for.
    pub(super) fn wake(&mut self) -> &mut Self {
        let Some(Effect::Wake(after)) = self.effects.last() else {
            panic!("not asked to be woken: {:?}", self.effects);
        };
        self.uptime += *after;
        self.tell(Event::Woke)
    }

    /// The next boot: what was live is gone.
    pub(super) fn boot(&mut self, running: &str, trial: bool, others: &[&str]) -> &mut Self {
        self.live = Live::default();
        self.uptime = Duration::ZERO;
        self.see(running, trial, others)
    }

    /// A look at the host that finds nothing in the way.
    pub(super) fn gates_open(&mut self) -> &mut Self {
        self.tell(Event::Observed(Box::default()))
    }

    /// The same with a marker in the way.
    pub(super) fn gate_closed(&mut self) -> &mut Self {
        let marker = Marker {
            path: "/etc/twinhull-updater/no-reboot".into(),
            until: None,
            reason: String::new(),
        };
        self.tell(Event::Observed(Box::new(Observed {
            markers: vec![marker],
            ..Observed::default()
        })))
    }

    #[track_caller]
    pub(super) fn expect(&self, effects: &[Effect]) {
        let mut done = self.effects.clone();
        done.retain(|effect| !matches!(effect, Effect::Wake(_)));
        assert_eq!(done, effects);
    }

    #[track_caller]
    pub(super) fn waits(&self, code: &str) {
        self.expect(&[]);
        let waiting = self.live.waiting.as_ref().map(|waiting| waiting.problem.code.as_str());
        assert_eq!(waiting, Some(code));
    }

    /// Whether a reboot is what this agent may be after.
    pub(super) fn wants_reboot(&self) -> bool {
        let known = &self.known;
        known.staged().is_some()
            && !known.halted
            && known.hold.is_none()
            && known.rollback.is_none()
            && !self.live.trial
    }

    pub(super) fn stage(&self) -> Option<Stage> {
        self.known.attempt.as_ref().map(|attempt| attempt.stage)
    }
}

#[test]
fn whole_turn_under_the_lock() {
    let mut story = Story::staged(Strategy::Lock);
    story.expect(&[Effect::Observe]);
    story.gates_open().expect(&[Effect::Take]);
    assert_eq!(story.known.lock, Belief::Unsure);
    story.tell(Event::Taken(Grant::Granted)).expect(&[Effect::Observe]);
    story.gates_open().expect(&[Effect::Reboot]);
    assert_eq!(
        (story.stage(), story.known.lock),
        (Some(Stage::Rebooting), Belief::Held)
    );

    story.boot("1.1.0", true, &["p_1.0.0.efi"]).waits("trial");
    assert_eq!(
        story.known.floor,
        Some(version("1.0.0")),
        "the floor rises only when healthy"
    );
    story.wake().expect(&[Effect::Look]);
    story.see("1.1.0", false, &["p_1.0.0.efi"]).expect(&[Effect::Release]);
    story.tell(Event::Released(Ok(()))).expect(&[]);
    assert_eq!(story.known.floor, Some(version("1.1.0")));
    assert_eq!(story.known.lock, Belief::Free);
    assert_eq!(story.known.attempt, None);
    assert!(matches!(
        story.known.history.last().unwrap().kind,
        RecordKind::Updated { .. }
    ));
    story.wake().expect(&[Effect::Check]);
    story.offer("1.1.0").expect(&[]);
    assert_eq!(story.live.waiting, None);
}

#[test]
fn refused_lock_waits_with_the_holder_and_asks_again() {
    let mut story = Story::staged(Strategy::Lock);
    let held = Problem::new("lock-held", "1 of 1 slots held by X since Y");
    story.gates_open();
    story
        .tell(Event::Taken(Grant::Refused(held.clone())))
        .waits("lock-held");
    assert_eq!(story.effects, [Effect::Wake(Duration::from_mins(1))]);
    assert_eq!(story.known.lock, Belief::Free);
    assert_eq!(
        Situation::of(&story.known, &story.live).reason.as_deref(),
        Some("1 of 1 slots held by X since Y")
    );
    story.wake().expect(&[Effect::Observe]);
    story.gates_open().expect(&[Effect::Take]);
}

#[test]
fn unknown_lock_outcome_is_asked_again_and_never_taken_for_free() {
    let mut story = Story::staged(Strategy::Lock);
    story.gates_open();
    story
        .tell(Event::Taken(Grant::Unknown(problem("lock-unknown"))))
        .waits("lock-unknown");
    assert_eq!(story.known.lock, Belief::Unsure);
    story.wake().expect(&[Effect::Observe]);
    story.gates_open().expect(&[Effect::Take]);
}

#[test]
fn lock_that_may_be_held_is_released_before_a_newer_release_is_installed() {
    let mut story = Story::staged(Strategy::Lock);
    story.gates_open();
    story.tell(Event::Taken(Grant::Unknown(problem("lock-unknown"))));
    story
        .offer("1.2.0")
        .expect(&[Effect::Release, Effect::Install(version("1.2.0"))]);
}

#[test]
fn failed_release_of_the_lock_is_repeated_until_it_succeeds() {
    let mut story = Story::new(Strategy::Lock);
    story.see("1.0.0", false, &[]).expect(&[Effect::Release]);
    story.tell(Event::Released(Err(problem("network"))));
    assert_eq!(story.known.lock, Belief::Unsure);
    let mut releases = 0;
    for _ in 0..5 {
        story.wake();
        if story.effects.contains(&Effect::Release) {
            releases += 1;
            story.tell(Event::Released(Err(problem("network"))));
        }
        if story.effects.contains(&Effect::Check) {
            story.offer("1.0.0");
        }
    }
    assert!(releases >= 3, "{releases}");
    story.wake().expect(&[Effect::Release]);
    story.tell(Event::Released(Ok(())));
    assert_eq!(story.known.lock, Belief::Free);
}

#[test]
fn fallback_is_remembered_with_its_reason_and_not_tried_again() {
    let mut story = Story::staged(Strategy::Lock);
    story.gates_open().tell(Event::Taken(Grant::Granted)).gates_open();
    story
        .boot("1.0.0", false, &["p_1.1.0+0-3.efi"])
        .expect(&[Effect::Release]);
    let failure = &story.known.failed[&version("1.1.0")];
    assert_eq!(
        failure.reason,
        "3 boots did not become healthy; the last one found: unit x.service is failed"
    );
    assert_eq!(story.known.attempt, None);
    assert_eq!(story.known.floor, Some(version("1.0.0")));
    story.tell(Event::Released(Ok(())));
    story.offer("1.1.0").waits("failed-here");
    story.boot("1.0.0", false, &["p_1.1.0+0-3.efi"]);
    story.tell(Event::Released(Ok(())));
    story.offer("1.1.0").waits("failed-here");
    story.offer("1.2.0").expect(&[Effect::Install(version("1.2.0"))]);
}

#[test]
fn fallback_is_seen_even_if_the_state_was_lost() {
    let mut story = Story::new(Strategy::Immediate);
    story.boot("1.0.0", false, &["p_1.1.0+0-3.efi"]);
    assert!(story.known.failed.contains_key(&version("1.1.0")));
}

#[test]
fn failed_release_is_tried_again_when_told_to_and_only_once() {
    let mut story = Story::new(Strategy::DownloadOnly);
    story.see("1.0.0", false, &["p_1.1.0+0-3.efi", "p_1.2.0+0-3.efi"]);
    story.tell(Event::Asked { retry: false }).expect(&[Effect::Check]);
    story.offer("1.1.0").waits("failed-here");
    story.tell(Event::Asked { retry: true }).expect(&[Effect::Check]);
    story.offer("1.1.0").expect(&[Effect::Install(version("1.1.0"))]);
    assert!(story.known.failed.contains_key(&version("1.2.0")), "others stay failed");
}

#[test]
fn power_cut_after_the_commit_but_before_the_state_was_kept() {
    let mut story = Story::started(Strategy::Immediate);
    story.offer("1.1.0");
    assert_eq!(story.stage(), Some(Stage::Writing));
    // The entry was renamed into place, then the power went; the loader starts the new release.
    let cut = story.known.clone();
    story.boot("1.1.0", false, &["p_1.0.0.efi"]);
    assert_eq!(story.known.floor, Some(version("1.1.0")));

    story.known = cut.clone();
    story.boot("1.0.0", false, &["p_1.1.0+0-3.efi"]);
    assert!(story.known.failed.contains_key(&version("1.1.0")));

    // Somebody chose the old release in the loader's menu: the new one is still to come.
    story.known = cut.clone();
    story.boot("1.0.0", false, &["p_1.1.0+2-1.efi"]);
    assert_eq!(story.stage(), Some(Stage::Staged));
    assert!(story.known.failed.is_empty());

    // The power went earlier: there is nothing in the slot, and nothing to blame.
    story.known = cut;
    story.boot("1.0.0", false, &[]);
    assert_eq!(story.stage(), None);
    assert!(story.known.failed.is_empty());
    story.wake().expect(&[Effect::Check]);
}

#[test]
fn older_offers_are_refused_with_the_newest_known() {
    let mut story = Story::new(Strategy::Lock);
    story.known.floor = Some(version("1.5.0"));
    story.see("1.4.0", false, &[]);
    story.offer("1.4.5").waits("older");
    story.offer("1.3.0").waits("older");
    assert!(story.live.waiting.unwrap().problem.text.contains("1.5.0"));
}

#[test]
fn host_whose_turn_has_not_come_looks_as_often_as_any_other_and_says_when() {
    let mut story = Story::started(Strategy::Immediate);
    for _ in 0..3 {
        let turn = Turn::Later("release 1.1.0 reaches this host at 14:05, wave 3 of 6".to_owned());
        let version = version("1.1.0");
        story.tell(Event::Checked(Ok(Offer { version, turn }))).waits("wave");
        // Not a failure that is tried again soon: a rollout would cost many looks.
        assert_eq!(story.live.failures, 0);
        assert!(story.live.next_check >= story.uptime + story.rules.poll);
    }
    story.offer("1.1.0");
    assert_eq!(story.known.attempt.as_ref().unwrap().version, version("1.1.0"));
}

#[test]
fn halted_channel_stops_installs_and_the_reboot_even_when_it_cannot_be_asked_any_more() {
    let halted = |text: &str| {
        Event::Checked(Ok(Offer {
            version: version(text),
            turn: Turn::Halted("halted".to_owned()),
        }))
    };
    let mut story = Story::started(Strategy::Immediate);
    story.tell(halted("1.1.0")).waits("halted");

    let mut story = Story::staged(Strategy::Lock);
    story
        .gates_open()
        .tell(Event::Taken(Grant::Refused(problem("lock-held"))));
    story.tell(halted("1.1.0")).waits("halted");
    story.tell(Event::Checked(Err(problem("network")))).waits("network");
    story.offer("1.1.0").expect(&[]);
    story.uptime += Duration::from_mins(1);
    story.tell(Event::Woke).expect(&[Effect::Observe]);
}

#[test]
fn withdrawn_release_is_taken_back() {
    let mut story = Story::staged(Strategy::DownloadOnly);
    story.waits("reboot-by-hand");
    story.offer("1.0.0").expect(&[Effect::Discard(version("1.1.0"))]);
    story.tell(Event::Discarded(Ok(())));
    assert_eq!(story.known.attempt, None);
}

#[test]
fn newer_release_replaces_a_staged_one() {
    let mut story = Story::staged(Strategy::DownloadOnly);
    story.offer("1.2.0").expect(&[Effect::Install(version("1.2.0"))]);
    assert_eq!(story.stage(), Some(Stage::Writing));
}

#[test]
fn failed_install_is_not_held_against_the_release_but_waits_longer_each_time() {
    let mut story = Story::started(Strategy::Immediate);
    let mut waits = Vec::new();
    for _ in 0..10 {
        story.offer("1.1.0").expect(&[Effect::Install(version("1.1.0"))]);
        story.tell(Event::Installed(Err(problem("payload"))));
        assert!(story.known.failed.is_empty());
        let Some(Effect::Wake(wait)) = story.effects.last().cloned() else {
            panic!("not woken");
        };
        waits.push(wait.as_secs());
        story.wake().expect(&[Effect::Check]);
    }
    assert_eq!(waits[0], 3600);
    assert!(
        waits.is_sorted() && waits[9] > 2 * waits[0] && waits[9] <= 86_400,
        "{waits:?}"
    );
    assert_eq!(story.known.history.len(), 1, "one record for one reason");
}

#[test]
fn repository_out_of_reach_is_asked_again_soon_and_then_at_the_usual_pace() {
    let mut story = Story::started(Strategy::Immediate);
    let mut waits = Vec::new();
    for _ in 0..10 {
        story.tell(Event::Checked(Err(problem("network")))).waits("network");
        let Some(Effect::Wake(wait)) = story.effects.last().cloned() else {
            panic!("not woken");
        };
        waits.push(wait.as_secs());
        story.wake().expect(&[Effect::Check]);
    }
    assert_eq!((waits[0], waits[1], waits[9]), (30, 60, 3600));
}

#[test]
fn reboot_that_does_not_happen_gives_the_lock_back() {
    let mut story = Story::staged(Strategy::Lock);
    story.gates_open().tell(Event::Taken(Grant::Granted));
    story.gates_open().expect(&[Effect::Reboot]);
    story.wake().expect(&[Effect::Release]);
    assert_eq!(story.stage(), Some(Stage::Staged));
    story.tell(Event::Released(Ok(())));
    assert_eq!(story.known.lock, Belief::Free);
}

#[test]
fn nothing_is_installed_over_a_slot_that_is_to_be_gone_back_to() {
    let mut story = Story::started(Strategy::Immediate);
    story.known.rollback = Some(Rollback {
        from: version("1.0.0"),
        to: version("0.9.0"),
        since: jiff::Timestamp::UNIX_EPOCH,
    });
    story.wake().waits("rollback-pending");
    story.tell(Event::Asked { retry: false }).waits("rollback-pending");
    // Until the reboot the running entry has a counter of zero; that is no trial.
    for counter_of_zero in [true, false] {
        story.aside = true;
        story.boot("1.0.0", counter_of_zero, &["p_0.9.0.efi"]);
        assert!(!story.live.trial);
        assert!(
            story.known.rollback.is_some(),
            "with or without room for a copy of the entry"
        );
    }
    story.aside = false;
    story.boot("0.9.0", false, &["p_1.0.0+0-0.efi"]);
    assert_eq!(story.known.rollback, None);
    assert!(matches!(
        story.known.history.last().unwrap().kind,
        RecordKind::RolledBack { .. }
    ));
}

#[test]
fn healthy_release_that_no_longer_starts_is_told_of_once_and_installed_anew() {
    let mut story = Story::started(Strategy::Immediate);
    story.boot("1.1.0", false, &["p_1.0.0.efi"]);
    assert_eq!(story.known.floor, Some(version("1.1.0")));
    let records = story.known.history.len();
    let came_back = RecordKind::CameBack {
        from: version("1.1.0"),
        to: version("1.0.0"),
    };
    for _ in 0..2 {
        story.boot("1.0.0", false, &["p_1.1.0.efi"]);
        assert_eq!(story.known.history[records..].len(), 1);
        assert_eq!(story.known.history[records].kind, came_back);
    }
    story.offer("1.1.0").expect(&[Effect::Install(version("1.1.0"))]);

    // Not what somebody went back from, nor what was found bad.
    let mut story = Story::started(Strategy::Immediate);
    story.boot("1.1.0", false, &["p_1.0.0.efi"]);
    story.boot("1.0.0", false, &["p_1.1.0+0-0.efi"]);
    assert!(!story.known.history.iter().any(|record| record.kind == came_back));
}

#[test]
fn nothing_happens_by_itself_when_off_or_without_a_repository() {
    let mut story = Story::started(Strategy::Off);
    story.wake().waits("off");
    assert_eq!(story.effects, [Effect::Wake(Duration::from_hours(1))]);
    story.rules.strategy = None;
    story.wake().waits("no-repository");
}

#[test]
fn host_that_cannot_be_looked_at_is_looked_at_again() {
    let mut story = Story::new(Strategy::Immediate);
    story.tell(Event::Seen(Err(problem("esp")))).waits("esp");
    story.wake().expect(&[Effect::Look]);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    /// Whatever the order of events: never a reboot or a take without a staged release, never an install while on trial or
    /// while a way back waits, and always a next step.
    #[test]
    fn no_order_of_events_leads_astray(steps in proptest::collection::vec((0u8..19, 0u32..5), 0..60)) {
        let mut story = Story::new(Strategy::Lock);
        for (kind, number) in steps {
            let text = format!("1.{number}.0");
            let before = story.known.staged().cloned();
            match kind {
                0 => story.see(&text, false, &[]),
                1 => story.see(&text, true, &[]),
                2 => story.see("1.0.0", false, &["p_1.1.0+0-3.efi", "p_1.2.0+1-2.efi"]),
                3 => story.offer(&text),
                4 => story.tell(Event::Checked(Err(problem("network")))),
                5 => story.tell(Event::Installed(Ok(Installed { fetched: 0, phases: Vec::new() }))),
                6 => story.tell(Event::Installed(Err(problem("payload")))),
                7 => story.tell(Event::Taken(Grant::Granted)),
                8 => story.tell(Event::Taken(Grant::Unknown(problem("lock-unknown")))),
                9 => story.tell(Event::Released(Ok(()))),
                10 => story.tell(Event::Discarded(Ok(()))),
                11 => story.tell(Event::RebootFailed(problem("reboot-failed"))),
                12 => story.boot(&text, false, &[]),
                13 => story.gates_open(),
                14 => story.gate_closed(),
                15 => story.tell(Event::Observed(Box::new(Observed { hooks: true, ..Observed::default() }))),
                16 => story.tell(Event::Prepared(Ok(()))),
                17 => story.tell(Event::Undone(Ok(()))),
                _ => { story.uptime += Duration::from_secs(u64::from(number) * 1000); story.tell(Event::Woke) }
            };
            proptest::prop_assert!(!story.effects.is_empty());
            for effect in &story.effects {
                match effect {
                    Effect::Take | Effect::Prepare => proptest::prop_assert!(story.wants_reboot()),
                    Effect::Reboot => proptest::prop_assert!(story.wants_reboot() && before.is_some()),
                    Effect::Install(version) => {
                        proptest::prop_assert!(!story.live.trial);
                        proptest::prop_assert!(story.known.floor.as_ref().is_none_or(|floor| floor <= version));
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn what_was_mended_is_told_each_time_and_what_stays_rotten_once() {
    let mut known = Known::default();
    let mended = || RecordKind::MendedTable { copy: 1 };
    let rotten = || RecordKind::Rotten {
        file: "EFI/BOOT/BOOTX64.EFI".to_owned(),
        reason: "x".to_owned(),
    };
    for kind in [mended(), mended(), rotten(), rotten()] {
        known.record(jiff::Timestamp::UNIX_EPOCH, kind);
    }
    let kinds: Vec<_> = known.history.into_iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [mended(), mended(), rotten()]);
}
