//! The way from a staged release to the reboot, as stories.

use std::time::Duration;

use super::decide_tests::{Story, problem, version};
use super::*;
use crate::config::Strategy;
use crate::gates::{Observed, Windows};

fn with_hooks() -> Event {
    Event::Observed(Box::new(Observed {
        hooks: true,
        ..Observed::default()
    }))
}

/// A staged release, the lock held, hooks run, and all gates asked once more.
fn about_to_reboot() -> Story {
    let mut story = Story::staged(Strategy::Lock);
    story.tell(with_hooks()).expect(&[Effect::Take]);
    story.tell(Event::Taken(Grant::Granted)).expect(&[Effect::Observe]);
    story.tell(with_hooks()).expect(&[Effect::Prepare]);
    assert!(story.known.prepared, "kept before the first hook runs");
    story
}

#[test]
fn gate_that_is_closed_keeps_the_lock_with_the_others() {
    let mut story = Story::staged(Strategy::Lock);
    story.gate_closed().waits("marker");
    assert_eq!(story.known.lock, Belief::Free);
    story.wake().expect(&[Effect::Observe]);
    story.gates_open().expect(&[Effect::Take]);
}

#[test]
fn gate_that_changes_its_mind_gives_the_lock_back() {
    let mut story = Story::staged(Strategy::Lock);
    story.gates_open().tell(Event::Taken(Grant::Granted));
    story.gate_closed().expect(&[Effect::Release]);
    story.tell(Event::Released(Ok(()))).waits("marker");
    assert_eq!(story.known.lock, Belief::Free);
}

#[test]
fn window_is_waited_for_without_looking_at_the_host() {
    let mut story = Story::started(Strategy::Window);
    // The stories begin on Thursday, 1970-01-01, at midnight.
    let window = "Thu 02:00-03:00".parse().unwrap();
    story.rules.gates.windows = Windows::new(vec![window], jiff::tz::TimeZone::UTC);
    story.rules.poll = Duration::from_hours(24);
    story.offer("1.1.0");
    let installed = Installed {
        fetched: 0,
        phases: Vec::new(),
    };
    story.tell(Event::Installed(Ok(installed))).waits("window");
    assert_eq!(story.effects, [Effect::Wake(Duration::from_hours(2))]);
    story.wake().expect(&[Effect::Observe]);
    story.gates_open().expect(&[Effect::Reboot]);
}

#[test]
fn window_that_closes_while_hooks_run_undoes_everything() {
    let mut story = Story::staged(Strategy::Lock);
    let window = "Thu 00:00-01:00".parse().unwrap();
    story.rules.gates.windows = Windows::new(vec![window], jiff::tz::TimeZone::UTC);
    story.tell(with_hooks()).tell(Event::Taken(Grant::Granted));
    story.tell(with_hooks()).expect(&[Effect::Prepare]);
    story.uptime += Duration::from_hours(2);
    story.tell(Event::Prepared(Ok(()))).expect(&[Effect::Observe]);
    story.tell(with_hooks()).expect(&[Effect::Undo]);
    story.tell(Event::Undone(Ok(()))).expect(&[Effect::Release]);
    story.tell(Event::Released(Ok(()))).waits("window");
    assert!(!story.known.prepared);
}

#[test]
fn lock_is_confirmed_after_the_hooks() {
    let mut story = about_to_reboot();
    story.tell(Event::Prepared(Ok(()))).expect(&[Effect::Observe]);
    story.tell(with_hooks()).expect(&[Effect::Take]);
    story.tell(Event::Taken(Grant::Granted)).expect(&[Effect::Observe]);
    story.tell(with_hooks()).expect(&[Effect::Reboot]);
}

#[test]
fn lock_that_was_taken_away_during_the_hooks_undoes_them() {
    let mut story = about_to_reboot();
    story.tell(Event::Prepared(Ok(()))).tell(with_hooks());
    story
        .tell(Event::Taken(Grant::Refused(problem("lock-held"))))
        .expect(&[Effect::Undo]);
    story.tell(Event::Undone(Ok(()))).waits("lock-held");
}

#[test]
fn failed_hook_is_undone_before_the_lock_goes_back() {
    let mut story = about_to_reboot();
    story
        .tell(Event::Prepared(Err(problem("hook-failed"))))
        .expect(&[Effect::Undo]);
    story
        .tell(Event::Undone(Err(problem("hook-failed"))))
        .waits("hook-failed");
    assert_eq!(story.known.lock, Belief::Held, "a host that is not back keeps its lock");
    story.wake().expect(&[Effect::Undo]);
    story.tell(Event::Undone(Ok(()))).expect(&[Effect::Release]);
    story.tell(Event::Released(Ok(()))).expect(&[]);
}

#[test]
fn there_is_no_reboot_while_a_hook_can_be_neither_done_nor_undone() {
    let mut story = about_to_reboot();
    story.tell(Event::Prepared(Err(problem("hook-failed"))));
    for _ in 0..20 {
        story
            .tell(Event::Undone(Err(problem("hook-failed"))))
            .waits("hook-failed");
        story.tell(with_hooks()).waits("hook-failed");
        story.uptime += Duration::from_hours(2);
        story.wake();
        assert_eq!(story.effects.first(), Some(&Effect::Undo));
        assert!(!story.effects.contains(&Effect::Observe), "{:?}", story.effects);
    }
    // Then all of it once more.
    story.tell(Event::Undone(Ok(()))).expect(&[Effect::Release]);
    story.tell(Event::Released(Ok(())));
    story.uptime += Duration::from_hours(2);
    story.offer("1.1.0").expect(&[Effect::Observe]);
    story.tell(with_hooks()).expect(&[Effect::Take]);
    story.tell(Event::Taken(Grant::Granted)).expect(&[Effect::Observe]);
    story.tell(with_hooks()).expect(&[Effect::Prepare]);
}

#[test]
fn hooks_are_undone_after_the_boot_before_the_lock_goes_back() {
    let mut story = about_to_reboot();
    story.tell(Event::Prepared(Ok(()))).tell(with_hooks());
    story.tell(Event::Taken(Grant::Granted)).tell(with_hooks());
    story.boot("1.1.0", true, &["p_1.0.0.efi"]).waits("trial");
    story.see("1.1.0", false, &["p_1.0.0.efi"]).expect(&[Effect::Undo]);
    story.tell(Event::Undone(Ok(()))).expect(&[Effect::Release]);
    story.tell(Event::Released(Ok(()))).expect(&[]);
    assert_eq!((story.known.prepared, story.known.lock), (false, Belief::Free));
}

#[test]
fn hooks_are_not_run_again_when_the_agent_is_started_again_in_between() {
    let mut story = about_to_reboot();
    // The agent ends here; the next one finds what was kept.
    story.boot("1.0.0", false, &["p_1.1.0+3-0.efi"]).expect(&[Effect::Undo]);
    story.tell(Event::Undone(Ok(()))).expect(&[Effect::Release]);
}

#[test]
fn hold_stops_installs_and_reboots_until_it_ends() {
    let hold = |until: Option<i64>| {
        Some(Hold {
            since: jiff::Timestamp::UNIX_EPOCH,
            until: until.map(|second| jiff::Timestamp::from_second(second).unwrap()),
            reason: "audit".to_owned(),
        })
    };
    let mut story = Story::started(Strategy::Lock);
    story.known.hold = hold(None);
    story.offer("1.1.0").waits("held");
    story.tell(Event::Asked { retry: false }).waits("held");

    let mut story = Story::staged(Strategy::Lock);
    story.gates_open();
    story.known.hold = hold(Some(600));
    story.tell(Event::Taken(Grant::Granted)).expect(&[Effect::Release]);
    story.tell(Event::Released(Ok(()))).waits("held");
    assert!(story.live.waiting.as_ref().unwrap().problem.text.ends_with("audit"));
    story.wake().expect(&[Effect::Observe]);
    assert_eq!(story.known.hold, None);
}

#[test]
fn withdrawn_release_that_cannot_be_taken_out_is_not_booted_and_is_tried_again() {
    let mut story = Story::staged(Strategy::Immediate);
    story.offer("1.0.0");
    story.expect(&[Effect::Discard(version("1.1.0"))]);
    story.tell(Event::Discarded(Err(problem("esp")))).waits("esp");
    // Neither time nor a repository that is out of reach changes anything about that.
    story.wake().expect(&[Effect::Discard(version("1.1.0"))]);
    story.tell(Event::Discarded(Err(problem("esp"))));
    story.uptime += Duration::from_hours(2);
    story.tell(Event::Woke).expect(&[Effect::Check]);
    story.tell(Event::Checked(Err(problem("network"))));
    story.expect(&[Effect::Discard(version("1.1.0"))]);
    story.tell(Event::Discarded(Ok(()))).expect(&[]);
    assert_eq!(story.known.attempt, None);
    assert!(!story.known.withdrawn);
}

#[test]
fn withdrawn_release_that_is_offered_again_is_booted_after_all() {
    let mut story = Story::staged(Strategy::Immediate);
    story.offer("1.0.0");
    story.tell(Event::Discarded(Err(problem("esp"))));
    story.uptime += Duration::from_hours(2);
    story.offer("1.1.0").expect(&[Effect::Observe]);
}

#[test]
fn release_withdrawn_while_staged_gives_everything_back() {
    let mut story = Story::staged(Strategy::Lock);
    story
        .gates_open()
        .tell(Event::Taken(Grant::Unknown(problem("lock-unknown"))));
    story.offer("1.0.0").expect(&[Effect::Discard(version("1.1.0"))]);
    story.tell(Event::Discarded(Ok(()))).expect(&[Effect::Release]);
    story.tell(Event::Released(Ok(()))).expect(&[]);
    assert_eq!((&story.known.attempt, story.known.lock), (&None, Belief::Free));
}

#[test]
fn halt_while_the_lock_may_be_held_gives_it_back() {
    let mut story = Story::staged(Strategy::Lock);
    story
        .gates_open()
        .tell(Event::Taken(Grant::Unknown(problem("lock-unknown"))));
    story.tell(Event::Checked(Ok(Offer {
        version: version("1.1.0"),
        turn: Turn::Halted("halted".to_owned()),
    })));
    story.wake().expect(&[Effect::Release]);
}

#[test]
fn second_failure_in_a_row_is_followed_by_a_pause_and_a_success_ends_it() {
    let mut story = Story::started(Strategy::Immediate);
    story.boot("1.0.0", false, &["p_1.1.0+0-3.efi"]);
    assert_eq!(story.known.setbacks, 1);
    story.offer("1.2.0").expect(&[Effect::Install(version("1.2.0"))]);
    story.tell(Event::Installed(Ok(Installed {
        fetched: 0,
        phases: Vec::new(),
    })));
    story.boot("1.0.0", false, &["p_1.2.0+0-3.efi"]);
    assert_eq!(story.known.setbacks, 2);
    story.offer("1.3.0").waits("backing-off");
    story.tell(Event::Asked { retry: false }).offer("1.3.0");
    story.expect(&[Effect::Install(version("1.3.0"))]);

    story.known.attempt = None;
    story.uptime += Duration::from_mins(61);
    story.offer("1.3.0").expect(&[Effect::Install(version("1.3.0"))]);
    story.tell(Event::Installed(Ok(Installed {
        fetched: 0,
        phases: Vec::new(),
    })));
    story.boot("1.3.0", false, &["p_1.0.0.efi"]);
    assert_eq!((story.known.setbacks, story.known.last_setback), (0, None));
}
