//! Files that are each signed, but never belonged together.

use serde_json::json;
use twinhull_trust::TrustError;

use crate::world::World;

fn assert_mismatch(world: &mut World, of: &str) {
    match world.turn() {
        Err(TrustError::Mismatch { name, .. } | TrustError::TooLong { path: name, .. }) => {
            assert!(name.contains(of), "{name}");
        }
        other => panic!("{of}: {other:?}"),
    }
}

#[test]
fn file_of_another_version_in_place_of_the_listed_one_is_refused() {
    for role in ["snapshot", "targets", "releases", "channels"] {
        let mut world = World::with_release();
        let old = world.file_of(role);
        world.advance(&["targets", "releases", "channels"]);
        world.put(&world.path_of(role), old);
        assert_mismatch(&mut world, role);
    }
}

#[test]
fn version_binds_even_without_length_and_hashes() {
    let mut world = World::with_release();
    let old = world.file_of("releases");
    world.advance(&["releases"]);
    let listed = world.version_of("releases");
    world.roles.get_mut("snapshot").unwrap()["meta"]["releases.json"] = json!({"version": listed});
    world.publish_online();
    world.put(&world.path_of("releases"), old);
    assert_mismatch(&mut world, "releases");

    let mut world = World::with_release();
    let old = world.file_of("snapshot");
    world.bump("snapshot");
    world.bump("timestamp");
    world.publish_online();
    let listed = world.version_of("snapshot");
    world.roles.get_mut("timestamp").unwrap()["meta"]["snapshot.json"] = json!({"version": listed});
    world.put("metadata/timestamp.json", world.file_of("timestamp"));
    world.put(&world.path_of("snapshot"), old);
    assert_mismatch(&mut world, "snapshot");
}

#[test]
fn listed_length_and_each_listed_hash_bind() {
    for (field, wrong) in [
        ("length", json!(100_000)),
        ("hashes", json!({"sha256": "00".repeat(32)})),
        ("hashes", json!({"sha512": "00".repeat(64)})),
        ("hashes", json!({"md5": "00"})),
        ("hashes", json!({})),
    ] {
        let mut world = World::with_release();
        world.bump("snapshot");
        world.bump("timestamp");
        world.roles.get_mut("snapshot").unwrap()["meta"]["releases.json"][field] = wrong;
        world.publish_online();
        assert_mismatch(&mut world, "releases");
    }
}

#[test]
fn changed_target_is_refused() {
    let mut world = World::with_release();
    let path = world
        .server
        .files
        .keys()
        .find(|path| path.starts_with("targets/releases"))
        .unwrap()
        .clone();
    let mut bytes = world.server.files[&path].clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    world.put(&path, bytes.clone());
    assert_mismatch(&mut world, "releases/demo");
    bytes.pop();
    world.put(&path, bytes);
    assert_mismatch(&mut world, "releases/demo");
}

#[test]
fn role_in_the_place_of_another_is_refused() {
    // All four roles of type "targets" signed by one key: only the type and the listing tell them apart.
    let mut world = World::with_release();
    let timestamp = world.file_of("timestamp");
    let listed = json!({"version": world.version_of("timestamp"), "length": timestamp.len()});
    world.roles.get_mut("snapshot").unwrap()["meta"]["targets.json"] = listed;
    world.set_keys("targets", &[crate::world::key("timestamp")], 1);
    world.put("metadata/1.root.json", world.file_of("root"));
    world.shipped_root = world.file_of("root");
    world.publish_online();
    let path = format!("metadata/{}.targets.json", world.version_of("timestamp"));
    let timestamp = world.file_of("timestamp");
    world.put(&path, timestamp);
    match world.refresh() {
        Err(TrustError::Malformed { role, .. } | TrustError::Mismatch { name: role, .. }) => {
            assert_eq!(role, "targets");
        }
        other => panic!("{other:?}"),
    }
}
