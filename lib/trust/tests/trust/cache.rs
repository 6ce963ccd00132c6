//! What has not changed is not fetched again.

use crate::world::World;

#[test]
fn idle_refresh_asks_for_the_next_root_and_the_timestamp_only() {
    let mut world = World::with_release();
    world.turn().unwrap();
    world.server.take_requests();
    world.server.sent = 0;
    let (channel, _) = world.turn().unwrap();
    assert_eq!(channel.releases.len(), 1);
    assert_eq!(
        world.server.take_requests(),
        ["metadata/2.root.json", "metadata/timestamp.json"]
    );
    assert!(world.server.sent <= 1024, "{} bytes", world.server.sent);
}

#[test]
fn new_channel_document_fetches_nothing_of_the_releases() {
    let mut world = World::with_release();
    world.turn().unwrap();
    world.server.take_requests();
    world.offer("1.0.0");
    world.advance(&["channels"]);
    world.turn().unwrap();
    let requests = world.server.take_requests();
    assert_eq!(requests[2..], ["metadata/3.snapshot.json", "metadata/3.channels.json"]);
}

#[test]
fn kept_files_are_the_bytes_that_were_signed() {
    let mut world = World::with_release();
    world.turn().unwrap();
    for (kept, served) in [
        ("timestamp.json", world.path_of("timestamp")),
        ("snapshot.json", world.path_of("snapshot")),
        ("targets.json", world.path_of("targets")),
        ("delegated/releases.json", world.path_of("releases")),
    ] {
        assert_eq!(
            std::fs::read(world.home_file(kept)).unwrap(),
            world.server.files[&served],
            "{kept}"
        );
    }
}

#[test]
fn refresh_says_whether_anything_changed() {
    let mut world = World::with_release();
    assert!(world.refresh().unwrap().changed);
    assert!(!world.refresh().unwrap().changed);
    world.advance(&[]);
    assert!(world.refresh().unwrap().changed);
}

#[test]
fn kept_file_that_is_not_the_listed_one_is_fetched_again() {
    // Signed anew under the same version number: only length and hash tell.
    for role in ["snapshot", "targets", "releases"] {
        let mut world = World::with_release();
        world.turn().unwrap();
        world.set(role, "expires", serde_json::json!("2026-02-20T00:00:00Z"));
        world.bump("timestamp");
        if role != "snapshot" {
            world.bump("snapshot");
        }
        world.publish();
        world.server.take_requests();
        world.turn().unwrap();
        assert!(world.server.take_requests().contains(&world.path_of(role)), "{role}");
    }
}

#[test]
fn unchanged_timestamp_is_not_sent_again_and_still_expires() {
    let mut world = World::new();
    world.server.tags = true;
    world.refresh().unwrap();
    let sent = world.server.sent;
    world.refresh().unwrap();
    assert_eq!(world.server.sent, sent);
    assert_eq!(
        world.server.expected,
        ["metadata/2.root.json", "metadata/timestamp.json"]
    );
    world.later(24 * 365);
    assert!(matches!(
        world.refresh(),
        Err(twinhull_trust::TrustError::Expired { .. })
    ));
}

#[test]
fn tag_is_not_used_for_a_timestamp_that_is_torn_or_another() {
    for content in ["", "{}"] {
        let mut world = World::new();
        world.server.tags = true;
        world.refresh().unwrap();
        let sent = world.server.sent;
        std::fs::write(world.home_file("timestamp.json"), content).unwrap();
        world.refresh().unwrap();
        assert!(world.server.sent > sent);
    }
}
