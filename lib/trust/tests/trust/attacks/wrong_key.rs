//! Metadata signed by a key that does not speak for the role, or by nobody.

use serde_json::{Value, json};
use twinhull_trust::TrustError;

use crate::world::{World, key, signed_by};

const ALL: [&str; 5] = ["timestamp", "snapshot", "targets", "releases", "channels"];

fn refused_for(world: &mut World, role: &str) {
    match world.turn() {
        Err(TrustError::Signatures {
            role: named,
            valid: 0,
            threshold: 1,
            ..
        }) => assert_eq!(named, role),
        other => panic!("{role}: {other:?}"),
    }
}

#[test]
fn every_role_signed_by_a_stranger_is_refused() {
    for role in ALL {
        let mut world = World::with_release();
        world.signers.insert(role.to_owned(), vec![key("stranger")]);
        world.publish();
        refused_for(&mut world, role);
    }
}

#[test]
fn every_role_signed_by_another_role_is_refused() {
    for role in ALL {
        for other in ALL.iter().filter(|other| **other != role) {
            let mut world = World::with_release();
            world.signers.insert(role.to_owned(), vec![key(other)]);
            world.publish();
            refused_for(&mut world, role);
        }
    }
}

#[test]
fn strangers_key_under_the_id_of_a_known_one_is_refused() {
    let mut world = World::with_release();
    let signed = world.roles["timestamp"].clone();
    let mut file: Value = serde_json::from_slice(&signed_by(&signed, &[key("stranger")])).unwrap();
    file["signatures"][0]["keyid"] = json!(key("timestamp").id());
    world.put("metadata/timestamp.json", file.to_string().into_bytes());
    refused_for(&mut world, "timestamp");
}

#[test]
fn unsigned_metadata_is_refused() {
    for role in ALL {
        let mut world = World::with_release();
        world.signers.insert(role.to_owned(), Vec::new());
        world.publish();
        refused_for(&mut world, role);
    }
}

#[test]
fn trusted_root_that_is_empty_or_not_its_own_stops_everything() {
    for bytes in [Vec::new(), b"{}".to_vec(), b"not json".to_vec(), {
        let world = World::new();
        signed_by(&world.roles["root"], &[key("stranger")])
    }] {
        let mut world = World::with_release();
        world.shipped_root = bytes;
        assert!(matches!(world.turn(), Err(TrustError::TrustedRoot { .. })));
        assert!(world.server.requests.is_empty());
    }
}
