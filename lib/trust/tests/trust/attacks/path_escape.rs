//! Names in signed metadata that lead out of their folder.

use twinhull_trust::TrustError;

use crate::world::World;

#[test]
fn target_names_that_climb_out_are_refused_unasked() {
    for name in [
        "../../etc/shadow",
        "/etc/shadow",
        "channels/../../x",
        "channels/demo/..",
        "a//b",
        "a\\..\\b",
        "",
    ] {
        let mut world = World::with_release();
        assert!(matches!(world.find(name), Err(TrustError::UnsafeName { .. })), "{name}");
        assert!(world.server.requests.is_empty());
    }
}

#[test]
fn channel_names_that_climb_out_are_refused() {
    let mut world = World::with_release();
    let clock = twinhull_trust::FixedClock(world.now);
    let mut client = world.client().unwrap();
    let found = client.channel(&mut world.server, &clock, &crate::world::product(), "../../x");
    assert!(matches!(found, Err(TrustError::UnsafeName { .. })), "{found:?}");
}

#[test]
fn role_names_that_climb_out_stay_in_the_folder() {
    let mut world = World::new();
    world.delegate("targets", "../../../escaped", &["odd/*"], false);
    world.add_target("../../../escaped", "odd/file", b"content");
    world.advance(&["targets"]);
    // Asked for under the quoted name, and kept under it.
    let target = world.find("odd/file").unwrap().unwrap();
    assert_eq!(target.length(), 7);
    assert!(
        world
            .server
            .requests
            .contains(&"metadata/1...%2F..%2F..%2Fescaped.json".to_owned())
    );
    assert!(world.home_file("delegated/..%2F..%2F..%2Fescaped.json").exists());
    assert!(!world.file_exists_under_home("escaped.json"));
}

#[test]
fn delegated_role_cannot_take_the_place_of_a_top_level_one() {
    for name in ["root", "timestamp", "snapshot", "targets", ""] {
        let mut world = World::new();
        let own = crate::world::key("thief");
        let targets = world.roles.get_mut("targets").unwrap();
        targets["delegations"]["keys"][own.id()] = crate::world::public(&own);
        targets["delegations"]["roles"].as_array_mut().unwrap().push(
            serde_json::json!({"name": name, "keyids": [own.id()], "threshold": 1, "paths": ["*"], "terminating": false}),
        );
        world.advance(&["targets"]);
        match world.refresh() {
            Err(TrustError::Malformed { role, .. }) => assert_eq!(role, "targets"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn documents_of_other_names_cannot_replace_the_floors() {
    let mut world = World::new();
    world.delegate("targets", "floors", &["odd/*"], false);
    world.add_target("floors", "odd/file", b"content");
    world.advance(&["targets"]);
    world.find("odd/file").unwrap().unwrap();
    world.refresh().unwrap();
}
