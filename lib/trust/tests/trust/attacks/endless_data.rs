//! A server that never stops sending.

use serde_json::json;
use twinhull_trust::TrustError;

use crate::world::World;

/// The largest bound of any metadata file, and something for the good files before the endless one.
const MOST: u64 = 8 * 1024 * 1024 + 64 * 1024;

#[test]
fn every_download_is_bounded() {
    let mut paths: Vec<String> = World::with_release().server.files.into_keys().collect();
    paths.push("metadata/2.root.json".to_owned());
    let mut refused = 0;
    for path in paths {
        let mut world = World::with_release();
        world.server.endless = Some(path.clone());
        match world.turn() {
            Err(TrustError::TooLong { path: named, .. }) => assert_eq!(named, path),
            Ok(_) => continue,
            other => panic!("{path}: {other:?}"),
        }
        refused += 1;
        assert!(world.server.sent < MOST, "{path}: took {} bytes", world.server.sent);
    }
    // Root, timestamp, snapshot, targets, two delegated roles, two documents; not the old versions.
    assert_eq!(refused, 8);
}

#[test]
fn listed_length_cannot_raise_the_bound() {
    let mut world = World::with_release();
    world.advance(&[]);
    world.roles.get_mut("snapshot").unwrap()["meta"]["releases.json"]["length"] = json!(u64::MAX);
    world.publish_online();
    world.server.endless = Some(world.path_of("releases"));
    assert!(matches!(world.turn(), Err(TrustError::TooLong { .. })));
    assert!(world.server.sent < MOST);
}

#[test]
fn target_longer_than_wanted_is_not_fetched() {
    let mut world = World::with_release();
    world.roles.get_mut("releases").unwrap()["targets"]["releases/demo/x86_64/1.0.0.json"]["length"] =
        json!(1_u64 << 40);
    world.advance(&["releases"]);
    assert!(matches!(world.turn(), Err(TrustError::TooLong { .. })));
    assert!(
        !world
            .server
            .requests
            .iter()
            .any(|path| path.starts_with("targets/releases"))
    );
}
