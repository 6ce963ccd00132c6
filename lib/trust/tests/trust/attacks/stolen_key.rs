//! What the thief of some keys can show to hosts, and what he cannot.

use serde_json::json;
use twinhull_trust::TrustError;

use crate::world::{World, key, public};

#[test]
fn key_of_one_role_alone_changes_nothing_that_hosts_see() {
    for role in ["snapshot", "targets", "releases", "channels"] {
        let mut world = World::with_release();
        let before = world.turn().unwrap();
        // The same version with another content, rightly signed, in the place of the listed one.
        world.set(role, "of-the-thief", json!(true));
        world.put(&world.path_of(role), world.file_of(role));
        let mut newcomer = World::with_release();
        newcomer.server = world.server.clone();
        match newcomer.turn() {
            Err(TrustError::Mismatch { name, .. } | TrustError::TooLong { path: name, .. }) => {
                assert!(name.contains(role), "{name}");
            }
            other => panic!("{role}: {other:?}"),
        }
        // A version more is asked for by nobody.
        world.bump(role);
        world.put(&world.path_of(role), world.file_of(role));
        assert_eq!(world.turn().unwrap(), before, "{role}");
    }
}

#[test]
fn older_lists_are_shown_to_a_new_host_alone_by_who_has_snapshot_and_timestamp() {
    let mut world = World::with_release();
    let (releases, channels) = (world.roles["releases"].clone(), world.roles["channels"].clone());
    world.add_release("1.1.0");
    world.offer("1.1.0");
    world.advance(&["releases", "channels"]);
    assert_eq!(world.turn().unwrap().1.version.to_string(), "1.1.0");
    // Both old files are as their own keys signed them.
    world
        .roles
        .extend([("releases".to_owned(), releases), ("channels".to_owned(), channels)]);
    world.advance(&[]);
    match world.turn() {
        Err(TrustError::Rollback { role, .. }) => assert!(["releases", "channels"].contains(&role.as_str())),
        other => panic!("{other:?}"),
    }
    let mut newcomer = World::new();
    newcomer.server = world.server.clone();
    assert_eq!(newcomer.turn().unwrap().1.version.to_string(), "1.0.0");
}

#[test]
fn fewer_keys_of_releases_than_must_sign_list_nothing() {
    let mut world = World::with_release();
    let second = key("releases 2");
    let delegations = &mut world.roles.get_mut("targets").unwrap()["delegations"];
    delegations["keys"][second.id()] = public(&second);
    let releases = &mut delegations["roles"][0];
    assert_eq!(releases["name"], "releases");
    releases["keyids"].as_array_mut().unwrap().push(json!(second.id()));
    releases["threshold"] = json!(2);
    world.add_release("6.6.6");
    world.offer("6.6.6");
    world.advance(&["targets", "releases", "channels"]);
    match world.turn() {
        Err(TrustError::Signatures {
            role,
            valid: 1,
            threshold: 2,
            ..
        }) => assert_eq!(role, "releases"),
        other => panic!("{other:?}"),
    }
    world
        .signers
        .insert("releases".to_owned(), vec![key("releases"), second]);
    world.advance(&["releases"]);
    assert_eq!(world.turn().unwrap().1.version.to_string(), "6.6.6");
}

#[test]
fn revoked_key_is_believed_no_more() {
    for role in ["timestamp", "snapshot", "targets", "releases", "channels"] {
        let mut world = World::with_release();
        world.turn().unwrap();
        let fresh = key("fresh");
        if ["releases", "channels"].contains(&role) {
            let delegations = &mut world.roles.get_mut("targets").unwrap()["delegations"];
            delegations["keys"][fresh.id()] = public(&fresh);
            let entry = delegations["roles"]
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .find(|one| one["name"] == role);
            entry.unwrap()["keyids"] = json!([fresh.id()]);
            world.signers.insert(role.to_owned(), vec![fresh]);
        } else {
            world.set_keys(role, &[fresh], 1);
            world.advance_root(&[]);
        }
        world.advance(&["targets", "releases", "channels"]);
        world.turn().unwrap();
        // The thief has the old key of this role, and all others as they are now.
        world.signers.insert(role.to_owned(), vec![key(role)]);
        world.advance(&["targets", "releases", "channels"]);
        match world.turn() {
            Err(TrustError::Signatures {
                role: named, valid: 0, ..
            }) => assert_eq!(named, role),
            other => panic!("{role}: {other:?}"),
        }
    }
}

#[test]
fn revoked_key_of_the_root_makes_no_further_root() {
    let mut world = World::with_release();
    world.turn().unwrap();
    world.set_keys("root", &[key("fresh")], 1);
    world.advance_root(&[key("root")]);
    assert_eq!(world.refresh().unwrap().root, 2);
    world.signers.insert("root".to_owned(), vec![key("root")]);
    world.advance_root(&[]);
    assert!(matches!(world.refresh(), Err(TrustError::Signatures { .. })));
}
