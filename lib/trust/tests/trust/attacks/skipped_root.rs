//! Roots that do not follow one another, or that their predecessors did not sign.

use twinhull_trust::TrustError;

use crate::world::{World, key, signed_by};

fn refused(world: &mut World) -> TrustError {
    match world.refresh() {
        Err(error) => error,
        Ok(refreshed) => panic!("accepted: {refreshed:?}"),
    }
}

#[test]
fn roots_are_followed_one_by_one() {
    let mut world = World::with_release();
    for number in 2..6 {
        let old = world.signers["root"].clone();
        world.set_keys("root", &[key(&format!("root {number}"))], 1);
        world.advance_root(&old);
    }
    assert_eq!(world.refresh().unwrap().root, 5);
    // After a restart the kept ones lead there again, and only the next one is asked for.
    world.server.take_requests();
    assert_eq!(world.refresh().unwrap().root, 5);
    assert_eq!(world.server.take_requests()[0], "metadata/6.root.json");
}

#[test]
fn root_two_versions_ahead_under_the_next_name_is_refused() {
    let mut world = World::new();
    world.bump("root");
    world.bump("root");
    world.put("metadata/2.root.json", world.file_of("root"));
    assert!(matches!(refused(&mut world), TrustError::Mismatch { .. }));
}

#[test]
fn root_of_the_same_version_under_the_next_name_is_refused() {
    let mut world = World::new();
    world.put("metadata/2.root.json", world.shipped_root.clone());
    assert!(matches!(refused(&mut world), TrustError::Rollback { .. }));
}

#[test]
fn root_beyond_a_gap_is_never_reached() {
    let mut world = World::new();
    world.bump("root");
    world.advance_root(&[]);
    assert!(world.server.files.contains_key("metadata/3.root.json"));
    assert_eq!(world.refresh().unwrap().root, 1);
}

#[test]
fn root_not_signed_by_the_old_keys_is_refused() {
    let mut world = World::new();
    world.set_keys("root", &[key("thief")], 1);
    world.advance_root(&[]);
    assert!(matches!(refused(&mut world), TrustError::Signatures { valid: 0, .. }));
}

#[test]
fn root_not_signed_by_the_new_keys_is_refused() {
    let mut world = World::new();
    let old = world.signers["root"].clone();
    world.set_keys("root", &[key("new root")], 1);
    world.bump("root");
    world.put("metadata/2.root.json", signed_by(&world.roles["root"], &old));
    assert!(matches!(refused(&mut world), TrustError::Signatures { valid: 0, .. }));
}

#[test]
fn raised_threshold_binds_at_once() {
    let mut world = World::new();
    let old = key("root");
    world.set_keys("root", &[old.clone(), key("second"), key("third")], 3);
    world.bump("root");
    world.put(
        "metadata/2.root.json",
        signed_by(&world.roles["root"], &[old, key("second")]),
    );
    assert!(matches!(
        refused(&mut world),
        TrustError::Signatures {
            valid: 2,
            threshold: 3,
            ..
        }
    ));
}

#[test]
fn kept_root_gives_no_authority_by_itself() {
    // An attacker who can write to the state puts a root of his own there; it does not follow from the image's.
    let mut world = World::with_release();
    world.refresh().unwrap();
    let mut thief = World::new();
    thief.set_keys("root", &[key("thief")], 1);
    thief.bump("root");
    std::fs::write(world.home_file("roots/2.json"), thief.file_of("root")).unwrap();
    assert_eq!(world.refresh().unwrap().root, 1);
}
