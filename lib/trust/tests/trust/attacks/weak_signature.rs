//! Signatures that a careless verifier takes: zero, malleable, by a key of small order.

use serde_json::{Value, json};
use twinhull_trust::TrustError;

use crate::world::{World, key};

/// The order of the ed25519 group, little-endian (RFC 8032 section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn timestamp_with(world: &mut World, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let mut file: Value = serde_json::from_slice(&world.file_of("timestamp")).unwrap();
    let signature = hex::decode(file["signatures"][0]["sig"].as_str().unwrap()).unwrap();
    file["signatures"][0]["sig"] = json!(hex::encode(change(signature)));
    world.put("metadata/timestamp.json", file.to_string().into_bytes());
}

fn assert_unsigned(world: &mut World) {
    assert!(matches!(world.refresh(), Err(TrustError::Signatures { valid: 0, .. })));
}

#[test]
fn zero_short_and_long_signatures_are_refused() {
    for bad in [vec![0; 64], vec![0; 63], Vec::new(), vec![0xff; 64]] {
        let mut world = World::new();
        timestamp_with(&mut world, |_| bad.clone());
        assert_unsigned(&mut world);
    }
    let mut world = World::new();
    timestamp_with(&mut world, |signature| [signature, vec![0]].concat());
    assert_unsigned(&mut world);
}

#[test]
fn second_form_of_a_signature_is_refused() {
    let mut world = World::new();
    timestamp_with(&mut world, |mut signature| {
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        signature
    });
    assert_unsigned(&mut world);
}

#[test]
fn key_of_small_order_signs_nothing() {
    // With the neutral element as key and as R, and S = 0, the equation holds for every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut world = World::new();
    let root = world.roles.get_mut("root").unwrap();
    root["keys"][key("timestamp").id()]["keyval"]["public"] = json!(hex::encode(neutral));
    world.publish();
    world.shipped_root = world.server.files["metadata/1.root.json"].clone();
    timestamp_with(&mut world, |_| [neutral.to_vec(), vec![0; 32]].concat());
    assert_unsigned(&mut world);
}
