//! The search through delegated roles (TUF 1.0.x section 5.6.7).

use serde_json::json;
use twinhull_trust::TrustError;

use crate::world::{World, key, public};

fn length(world: &mut World, name: &str) -> Option<u64> {
    world.find(name).unwrap().map(|target| target.length())
}

/// `targets` delegates `x/*` to a, b; a to c; all list `x/f` with as many bytes as said.
fn tree(a: Option<usize>, b: Option<usize>, c: Option<usize>, terminating: bool) -> World {
    let mut world = World::new();
    world.delegate("targets", "a", &["x/*"], terminating);
    world.delegate("targets", "b", &["x/*"], false);
    world.delegate("a", "c", &["x/*"], false);
    for (role, size) in [("a", a), ("b", b), ("c", c)] {
        if let Some(size) = size {
            world.add_target(role, "x/f", &vec![0; size]);
        }
    }
    world.advance(&["targets"]);
    world
}

#[test]
fn order_is_depth_first_and_the_first_answer_wins() {
    assert_eq!(length(&mut tree(Some(1), Some(2), Some(3), false), "x/f"), Some(1));
    assert_eq!(length(&mut tree(None, Some(2), Some(3), false), "x/f"), Some(3));
    assert_eq!(length(&mut tree(None, Some(2), None, false), "x/f"), Some(2));
    assert_eq!(length(&mut tree(None, None, None, false), "x/f"), None);
}

#[test]
fn terminating_delegation_ends_the_search_after_its_own_descendants() {
    assert_eq!(length(&mut tree(None, Some(2), Some(3), true), "x/f"), Some(3));
    assert_eq!(length(&mut tree(None, Some(2), None, true), "x/f"), None);
}

#[test]
fn terminating_delegation_further_down_ends_the_whole_search() {
    let mut world = World::new();
    world.delegate("targets", "a", &["x/*"], false);
    world.delegate("targets", "b", &["x/*"], false);
    world.delegate("a", "c", &["x/*"], true);
    world.add_target("b", "x/f", b"1");
    world.advance(&["targets"]);
    assert_eq!(length(&mut world, "x/f"), None);
}

#[test]
fn roles_before_a_terminating_one_are_asked() {
    let mut world = World::new();
    world.delegate("targets", "first", &["x/*"], false);
    world.delegate("targets", "second", &["x/*"], true);
    world.delegate("targets", "third", &["x/*"], false);
    for (role, name) in [("first", "x/1"), ("second", "x/2"), ("third", "x/3")] {
        world.add_target(role, name, name.as_bytes());
    }
    world.advance(&["targets"]);
    assert!(length(&mut world, "x/1").is_some());
    assert!(length(&mut world, "x/2").is_some());
    assert!(length(&mut world, "x/3").is_none());
}

#[test]
fn roles_are_opened_only_when_they_are_reached() {
    let mut world = tree(Some(1), Some(2), Some(3), false);
    world.find("x/f").unwrap();
    let requests = world.server.take_requests();
    assert!(requests.contains(&"metadata/1.a.json".to_owned()));
    for other in ["b", "c", "releases", "channels"] {
        assert!(
            !requests.iter().any(|path| path.ends_with(&format!(".{other}.json"))),
            "{other}"
        );
    }
}

#[test]
fn role_speaks_only_for_names_that_every_delegation_on_the_way_allows() {
    let mut world = World::new();
    world.delegate("targets", "outer", &["x/*"], false);
    world.delegate("outer", "inner", &["x/*", "y/*"], false);
    world.add_target("inner", "y/f", b"1");
    world.add_target("outer", "y/g", b"1");
    world.add_target("releases", "channels/demo/stable.json", b"1");
    world.add_target("channels", "releases/demo/x86_64/9.json", b"1");
    world.advance(&["targets", "releases", "channels"]);
    for name in ["y/f", "y/g", "channels/demo/stable.json", "releases/demo/x86_64/9.json"] {
        assert_eq!(length(&mut world, name), None, "{name}");
    }
}

#[test]
fn hash_prefixes_select_names() {
    let mut world = World::new();
    world.delegate("targets", "bin", &[], false);
    let entry = &mut world.roles.get_mut("targets").unwrap()["delegations"]["roles"][2];
    entry.as_object_mut().unwrap().remove("paths");
    // sha256 of "x/f" and of "x/g" begin with other digits.
    let prefix = &twinhull_trust::Hex32::sha256_of(b"x/f").to_string()[..3];
    entry["path_hash_prefixes"] = json!([prefix]);
    world.add_target("bin", "x/f", b"1");
    world.add_target("bin", "x/g", b"1");
    world.advance(&["targets"]);
    assert_eq!(length(&mut world, "x/f"), Some(1));
    assert_eq!(length(&mut world, "x/g"), None);
}

#[test]
fn circles_end() {
    let mut world = World::new();
    world.delegate("targets", "a", &["x/*"], false);
    world.delegate("a", "b", &["x/*"], false);
    world.delegate("b", "a", &["x/*"], false);
    world.advance(&["targets"]);
    assert_eq!(length(&mut world, "x/f"), None);
}

#[test]
fn search_gives_up_after_many_roles() {
    let mut world = World::new();
    for number in 0..40 {
        world.delegate("targets", &format!("r{number:02}"), &["x/*"], false);
    }
    world.add_target("r39", "x/f", b"1");
    world.advance(&["targets"]);
    assert_eq!(length(&mut world, "x/f"), None);
    assert!(!world.server.requests.iter().any(|path| path.contains("r35")));
}

#[test]
fn role_is_verified_with_the_keys_of_the_delegator_on_the_way() {
    // Two roles delegate to `shared`, the second with another key: what was opened by way of the first does not count.
    let mut world = World::new();
    world.delegate("targets", "one", &["x/*"], false);
    world.delegate("targets", "two", &["y/*"], false);
    world.delegate("one", "shared", &["x/*"], false);
    world.delegate("two", "shared", &["y/*"], false);
    let other = key("other");
    let two = world.roles.get_mut("two").unwrap();
    two["delegations"]["keys"][other.id()] = public(&other);
    two["delegations"]["roles"][0]["keyids"] = json!([other.id()]);
    world.add_target("shared", "x/f", b"1");
    world.add_target("shared", "y/f", b"1");
    world.advance(&["targets"]);

    let clock = twinhull_trust::FixedClock(world.now);
    let mut client = world.client().unwrap();
    assert!(client.find(&mut world.server, &clock, "x/f").unwrap().is_some());
    match client.find(&mut world.server, &clock, "y/f") {
        Err(TrustError::Signatures { role, .. }) => assert_eq!(role, "shared"),
        other => panic!("{other:?}"),
    }
    // Nor does the file that was kept.
    assert!(matches!(world.find("y/f"), Err(TrustError::Signatures { .. })));
}

#[test]
fn delegated_role_that_is_not_listed_is_an_error() {
    let mut world = World::new();
    world.delegate("targets", "a", &["x/*"], false);
    world.advance(&["targets"]);
    let mut fresh = World::new();
    fresh.roles = world.roles.clone();
    fresh.server = world.server.clone();
    fresh.roles.get_mut("snapshot").unwrap()["meta"]
        .as_object_mut()
        .unwrap()
        .remove("a.json");
    fresh.publish_online();
    match fresh.find("x/f") {
        Err(TrustError::RoleNotListed { role }) => assert_eq!(role, "a"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn repository_without_consistent_snapshots_is_read_by_plain_names() {
    let mut world = World::with_release();
    world.set("root", "consistent_snapshot", json!(false));
    world.put("metadata/1.root.json", world.file_of("root"));
    world.shipped_root = world.file_of("root");
    let files = world.server.files.clone();
    world
        .server
        .files
        .retain(|path, _| path.contains("root") || path.contains("timestamp"));
    for role in ["snapshot", "targets", "releases", "channels"] {
        world.put(&format!("metadata/{role}.json"), files[&world.path_of(role)].clone());
    }
    for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with("targets/")) {
        let (folder, file) = path.rsplit_once('/').unwrap();
        let (_, plain) = file.split_once('.').unwrap();
        world.put(&format!("{folder}/{plain}"), bytes.clone());
    }
    world.turn().unwrap();
}
