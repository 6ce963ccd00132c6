//! Older metadata, correctly signed.

use serde_json::json;
use twinhull_trust::TrustError;

use crate::world::World;

fn assert_rollback(world: &mut World, of: &str) {
    match world.refresh() {
        Err(TrustError::Rollback { role, offered, floor }) => {
            assert_eq!(role, of);
            assert!(offered < floor);
        }
        other => panic!("{other:?}"),
    }
}

/// A world that the host has seen, after some changes.
fn seen() -> World {
    let mut world = World::with_release();
    world.advance(&["targets", "releases", "channels"]);
    world.turn().unwrap();
    world
}

#[test]
fn older_timestamp_is_refused() {
    let mut world = seen();
    world.set("timestamp", "version", json!(2));
    world.publish_online();
    assert_rollback(&mut world, "timestamp");
}

#[test]
fn newer_timestamp_with_an_older_snapshot_is_refused() {
    let mut world = seen();
    world.bump("timestamp");
    world.set("snapshot", "version", json!(2));
    world.publish_online();
    assert_rollback(&mut world, "snapshot");
}

#[test]
fn newer_snapshot_with_an_older_role_is_refused() {
    for role in ["targets", "releases", "channels"] {
        let mut world = seen();
        world.set(role, "version", json!(1));
        world.advance(&[]);
        assert_rollback(&mut world, role);
    }
}

#[test]
fn role_that_disappears_is_refused() {
    let mut world = seen();
    world.bump("snapshot");
    world.bump("timestamp");
    world.roles.get_mut("snapshot").unwrap()["meta"]
        .as_object_mut()
        .unwrap()
        .remove("releases.json");
    world.publish_online();
    match world.refresh() {
        Err(TrustError::RoleDropped { role }) => assert_eq!(role, "releases"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn snapshot_floor_holds_although_that_snapshot_was_never_seen() {
    // The timestamp named snapshot 9 and the snapshot could not be had; what the timestamp said still binds.
    let mut world = seen();
    world.set("snapshot", "version", json!(9));
    world.bump("timestamp");
    world.publish_online();
    world.server.files.remove("metadata/9.snapshot.json");
    assert!(matches!(world.refresh(), Err(TrustError::Fetch { .. })));

    world.set("snapshot", "version", json!(8));
    world.bump("timestamp");
    world.publish_online();
    assert_rollback(&mut world, "snapshot");
}

#[test]
fn whole_old_repository_is_refused() {
    let mut world = World::with_release();
    let old = world.server.files.clone();
    world.advance(&["releases", "channels"]);
    world.turn().unwrap();
    world.server.files = old;
    assert_rollback(&mut world, "timestamp");
}

#[test]
fn older_root_is_refused_when_the_image_went_back() {
    let mut world = World::new();
    let first = world.shipped_root.clone();
    world.advance_root(&[]);
    world.refresh().unwrap();
    // The kept copy and the server's are gone, and the image ships the first root again.
    std::fs::remove_file(world.home_file("roots/2.json")).unwrap();
    world.server.files.remove("metadata/2.root.json");
    world.shipped_root = first;
    assert_rollback(&mut world, "root");
}

#[test]
fn same_timestamp_version_with_another_content_is_put_aside() {
    let mut world = seen();
    let before = world.refresh().unwrap();
    world.set("snapshot", "version", json!(50));
    world.publish_online();
    assert_eq!(world.refresh().unwrap(), before);
}
