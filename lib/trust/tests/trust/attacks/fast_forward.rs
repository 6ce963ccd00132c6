//! A thief of the online keys has raised versions so far that nothing can follow; new keys end that.

use serde_json::json;
use twinhull_trust::TrustError;

use crate::world::{World, key};

/// A host that saw versions which the real repository will never reach.
fn forwarded() -> World {
    let mut world = World::with_release();
    world.turn().unwrap();
    for role in ["timestamp", "snapshot"] {
        world.set(role, "version", json!(1_u64 << 40));
    }
    world.publish_online();
    world.refresh().unwrap();
    for role in ["timestamp", "snapshot"] {
        world.set(role, "version", json!(5));
    }
    world.publish_online();
    assert!(matches!(world.refresh(), Err(TrustError::Rollback { .. })));
    world
}

#[test]
fn rotated_online_keys_make_lower_versions_good_again() {
    for role in ["timestamp", "snapshot"] {
        let mut world = forwarded();
        world.set_keys(role, &[key("fresh")], 1);
        world.advance_root(&[]);
        world.publish_online();
        assert_eq!(world.refresh().unwrap().timestamp, 5);
    }
}

#[test]
fn new_root_with_the_same_online_keys_forgets_nothing() {
    let mut world = forwarded();
    world.advance_root(&[]);
    world.publish_online();
    assert!(matches!(world.refresh(), Err(TrustError::Rollback { .. })));
}

#[test]
fn rotation_is_noticed_when_a_new_image_brings_the_root() {
    let mut world = forwarded();
    world.set_keys("timestamp", &[key("fresh")], 1);
    world.advance_root(&[]);
    world.publish_online();
    world.shipped_root = world.server.files["metadata/2.root.json"].clone();
    assert_eq!(world.refresh().unwrap().timestamp, 5);
}

#[test]
fn floors_rise_again_under_the_new_keys() {
    let mut world = forwarded();
    world.set_keys("timestamp", &[key("fresh")], 1);
    world.advance_root(&[]);
    world.publish_online();
    world.refresh().unwrap();
    world.set("timestamp", "version", json!(4));
    world.publish_online();
    assert!(matches!(world.refresh(), Err(TrustError::Rollback { floor: 5, .. })));
}

#[test]
fn rotated_snapshot_key_lets_go_of_the_timestamp_that_named_the_old_snapshot() {
    // The repository signs its snapshot anew and keeps the version numbers: the kept timestamp of the same version must not
    // stand in the way.
    let mut world = World::with_release();
    world.turn().unwrap();
    world.set_keys("snapshot", &[key("fresh")], 1);
    world.advance_root(&[]);
    world.publish_online();
    let refreshed = world.refresh().unwrap();
    assert_eq!((refreshed.root, refreshed.timestamp), (2, 2));
    // And its version binds again.
    assert_eq!(world.client().unwrap().floors().timestamp(), 2);
}
