//! An attacker keeps serving what was right once.

use serde_json::json;
use twinhull_trust::TrustError;

use crate::world::World;

#[test]
fn frozen_repository_is_noticed_when_its_timestamp_expires() {
    let mut world = World::with_release();
    world.set("timestamp", "expires", json!("2026-01-08T00:00:00Z"));
    world.publish();
    world.turn().unwrap();
    for day in 1..7 {
        world.later(24);
        assert!(!world.refresh().unwrap().changed, "day {day}");
    }
    world.later(24);
    match world.refresh() {
        Err(TrustError::Expired { role, .. }) => assert_eq!(role, "timestamp"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn withheld_timestamp_is_an_error() {
    let mut world = World::with_release();
    world.turn().unwrap();
    world.server.files.remove("metadata/timestamp.json");
    assert!(matches!(world.turn(), Err(TrustError::Fetch { .. })));
}

#[test]
fn withheld_roots_are_noticed_when_the_last_one_expires() {
    let mut world = World::with_release();
    world.set("root", "expires", json!("2026-01-08T00:00:00Z"));
    world.publish();
    world.shipped_root = world.server.files["metadata/1.root.json"].clone();
    world.turn().unwrap();
    world.later(24 * 7);
    match world.refresh() {
        Err(TrustError::Expired { role, .. }) => assert_eq!(role, "root"),
        other => panic!("{other:?}"),
    }
}
