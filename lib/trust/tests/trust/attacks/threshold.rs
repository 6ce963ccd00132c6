//! One key made to count as several.

use serde_json::{Value, json};
use twinhull_trust::TrustError;

use crate::world::{World, key, signed_by};

/// A world in which two keys must sign the snapshot; `shipped` has that root.
fn two_must_sign() -> World {
    let mut world = World::new();
    world.set_keys("snapshot", &[key("snapshot"), key("snapshot 2")], 2);
    world.publish();
    world.shipped_root = world.server.files["metadata/1.root.json"].clone();
    world
}

fn assert_short(world: &mut World) {
    match world.refresh() {
        Err(TrustError::Signatures {
            role,
            valid: 1,
            threshold: 2,
            ..
        }) => assert_eq!(role, "snapshot"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_keys_together_are_enough() {
    two_must_sign().refresh().unwrap();
}

#[test]
fn signature_given_twice_counts_once() {
    let mut world = two_must_sign();
    world
        .signers
        .insert("snapshot".to_owned(), vec![key("snapshot"), key("snapshot")]);
    world.publish();
    assert_short(&mut world);
}

#[test]
fn key_id_listed_twice_counts_once() {
    let mut world = two_must_sign();
    let id = key("snapshot").id();
    world.roles.get_mut("root").unwrap()["roles"]["snapshot"]["keyids"] = json!([id, id]);
    world.signers.insert("snapshot".to_owned(), vec![key("snapshot")]);
    world.publish();
    world.shipped_root = world.server.files["metadata/1.root.json"].clone();
    assert_short(&mut world);
}

#[test]
fn one_key_under_two_ids_counts_once() {
    let mut world = two_must_sign();
    let own = key("snapshot");
    let root = world.roles.get_mut("root").unwrap();
    root["keys"]["alias"] = crate::world::public(&own);
    root["roles"]["snapshot"]["keyids"] = json!([own.id(), "alias"]);
    world.publish();
    world.shipped_root = world.server.files["metadata/1.root.json"].clone();

    let mut file: Value = serde_json::from_slice(&signed_by(&world.roles["snapshot"], &[own.clone(), own])).unwrap();
    file["signatures"][1]["keyid"] = json!("alias");
    let bytes = file.to_string().into_bytes();
    // Listed by length and hash as it is, so that only the signatures can be what is refused.
    world.signers.insert("snapshot".to_owned(), Vec::new());
    world.publish_online();
    let record = &mut world.roles.get_mut("timestamp").unwrap()["meta"]["snapshot.json"];
    *record = json!({"version": 1});
    world.put(&world.path_of("snapshot"), bytes);
    world.put("metadata/timestamp.json", world.file_of("timestamp"));
    assert_short(&mut world);
}

#[test]
fn signatures_of_strangers_neither_count_nor_harm() {
    let mut world = two_must_sign();
    world
        .signers
        .insert("snapshot".to_owned(), vec![key("a"), key("snapshot"), key("b")]);
    world.publish();
    assert_short(&mut world);
    world.signers.insert(
        "snapshot".to_owned(),
        vec![key("a"), key("snapshot"), key("b"), key("snapshot 2")],
    );
    world.advance(&[]);
    world.refresh().unwrap();
}

#[test]
fn threshold_of_zero_is_refused() {
    let mut world = World::new();
    world.roles.get_mut("root").unwrap()["roles"]["snapshot"]["threshold"] = json!(0);
    world.publish();
    world.shipped_root = world.server.files["metadata/1.root.json"].clone();
    assert!(matches!(world.refresh(), Err(TrustError::TrustedRoot { .. })));
}
