//! Metadata past its date is an error that names the role; never "nothing new".

use serde_json::json;
use twinhull_trust::{FixedClock, TrustError};

use crate::world::{NOW, World, product};

fn assert_expired(world: &mut World, of: &str) {
    match world.turn() {
        Err(TrustError::Expired { role, .. }) => assert_eq!(role, of),
        other => panic!("{of}: {other:?}"),
    }
}

const ALL: [&str; 6] = ["root", "timestamp", "snapshot", "targets", "releases", "channels"];

#[test]
fn each_expired_role_is_named() {
    for role in ALL {
        let mut world = World::with_release();
        // The very second it expires is too late already (section 5.3.10: the date must be higher).
        world.set(role, "expires", json!(NOW));
        if role == "root" {
            world.advance_root(&[]);
        } else {
            world.publish();
        }
        assert_expired(&mut world, role);
    }
}

#[test]
fn what_was_fresh_and_kept_still_expires() {
    for role in ALL {
        let mut world = World::with_release();
        if role == "root" {
            world.set(role, "expires", json!("2026-01-10T00:00:00Z"));
            world.advance_root(&[]);
        } else {
            world.set(role, "expires", json!("2026-01-10T00:00:00Z"));
            world.publish();
        }
        world.turn().unwrap();
        world.later(24 * 8);
        world.turn().unwrap();
        world.later(24);
        assert_expired(&mut world, role);
    }
}

#[test]
fn clock_set_back_makes_nothing_fresh() {
    let mut world = World::with_release();
    world.later(24 * 20);
    world.turn().unwrap();

    // Newer than what was seen, so that it is no rollback; expired by then, but not by the clock that was set back.
    world.set("timestamp", "expires", json!("2026-01-15T00:00:00Z"));
    world.advance(&[]);
    world.now = NOW.parse().unwrap();
    assert_expired(&mut world, "timestamp");
}

#[test]
fn clock_that_went_back_is_reported() {
    let mut world = World::with_release();
    world.later(24);
    assert!(!world.refresh().unwrap().clock_went_back);
    world.later(-12);
    let refreshed = world.refresh().unwrap();
    assert!(refreshed.clock_went_back);
    assert_eq!(refreshed.judged_at, "2026-01-02T00:00:00Z".parse().unwrap());
}

#[test]
fn clock_far_ahead_does_not_raise_the_floor_of_time() {
    let mut world = World::with_release();
    world.refresh().unwrap();
    let now = world.now;
    world.now = "2099-01-01T00:00:00Z".parse().unwrap();
    assert!(matches!(world.refresh(), Err(TrustError::Expired { .. })));
    world.now = now;
    world.turn().unwrap();
}

#[test]
fn time_stands_still_during_one_update() {
    let mut world = World::with_release();
    let mut client = world.client().unwrap();
    client.refresh(&mut world.server, &FixedClock(world.now)).unwrap();
    let late = FixedClock("2027-01-01T00:00:00Z".parse().unwrap());
    client.channel(&mut world.server, &late, &product(), "stable").unwrap();
}

#[test]
fn client_whose_refresh_failed_answers_nothing() {
    let mut world = World::with_release();
    let mut client = world.client().unwrap();
    client.refresh(&mut world.server, &FixedClock(world.now)).unwrap();
    let late = FixedClock("2027-01-01T00:00:00Z".parse().unwrap());
    client.refresh(&mut world.server, &late).unwrap_err();
    let answer = client.channel(&mut world.server, &late, &product(), "stable");
    assert!(matches!(answer, Err(TrustError::Expired { .. })), "{answer:?}");
}
