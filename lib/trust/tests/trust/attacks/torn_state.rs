//! A power cut or a failing disk has damaged what the host remembers, and the attacker replays old metadata.

use std::fs;

use twinhull_trust::{Client, TrustError};

use crate::world::World;

const CACHED: [&str; 3] = ["timestamp.json", "snapshot.json", "targets.json"];

/// A world whose host has seen version 3, and whose server now offers version 2 again.
fn replayed() -> World {
    let mut world = World::with_release();
    let old = world.server.files.clone();
    world.advance(&["releases", "channels"]);
    world.turn().unwrap();
    world.server.files = old;
    world
}

fn assert_rollback(world: &mut World, context: &str) {
    let found = world.refresh();
    assert!(
        matches!(found, Err(TrustError::Rollback { .. })),
        "{context}: {found:?}"
    );
}

#[test]
fn torn_cache_keeps_the_floor() {
    for name in CACHED {
        let mut world = replayed();
        let path = world.home_file(name);
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert_rollback(&mut world, name);
        }
        fs::write(&path, vec![0xa5; whole.len()]).unwrap();
        assert_rollback(&mut world, name);
        fs::remove_file(&path).unwrap();
        assert_rollback(&mut world, name);
    }
}

#[test]
fn whole_cache_lost_keeps_the_floor() {
    let mut world = replayed();
    for name in CACHED {
        fs::remove_file(world.home_file(name)).unwrap();
    }
    fs::remove_dir_all(world.home_file("delegated")).unwrap();
    fs::remove_dir_all(world.home_file("documents")).unwrap();
    assert_rollback(&mut world, "no cache");
}

#[test]
fn torn_cache_is_fetched_again() {
    for name in CACHED
        .into_iter()
        .chain(["delegated/releases.json", "delegated/channels.json"])
    {
        let mut world = World::with_release();
        let before = world.turn().unwrap();
        fs::write(world.home_file(name), "{\"signat").unwrap();
        assert_eq!(world.turn().unwrap(), before, "{name}");
    }
}

#[test]
fn torn_floors_stop_everything() {
    let mut world = replayed();
    let path = world.home_file("floors.json");
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(
            matches!(world.refresh(), Err(TrustError::Floors { .. })),
            "cut at {length}"
        );
    }
    for position in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[position] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert!(
            matches!(world.refresh(), Err(TrustError::Floors { .. })),
            "flipped at {position}"
        );
    }
    fs::write(&path, &whole).unwrap();
    assert_rollback(&mut world, "restored");
}

#[test]
fn lost_floors_stop_everything_unless_nothing_was_ever_seen() {
    let mut world = replayed();
    fs::remove_file(world.home_file("floors.json")).unwrap();
    assert!(matches!(world.refresh(), Err(TrustError::Floors { .. })));

    // A first start that was cut: only the temporary file of the floors is there.
    let mut world = World::new();
    fs::create_dir_all(world.home()).unwrap();
    fs::write(world.home_file(".floors.json.new"), "{").unwrap();
    world.refresh().unwrap();
}

#[test]
fn floors_of_another_format_are_not_guessed_at() {
    let mut world = World::new();
    world.refresh().unwrap();
    let path = world.home_file("floors.json");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(world.refresh(), Err(TrustError::Floors { .. })));
}

#[test]
fn recovery_saves_what_the_cache_proves() {
    let mut world = replayed();
    fs::write(world.home_file("floors.json"), "").unwrap();
    let recovered = Client::recover(&world.home(), &world.shipped_root).unwrap();
    assert_eq!(recovered.given_up.len(), 1, "{:?}", recovered.given_up);
    assert_eq!(recovered.floors.timestamp(), 3);
    assert_eq!(recovered.floors.roles()["releases"], 3);
    assert_rollback(&mut world, "recovered");
}

#[test]
fn recovery_without_a_cache_says_what_is_given_up() {
    let mut world = replayed();
    fs::write(world.home_file("floors.json"), "").unwrap();
    fs::write(world.home_file("timestamp.json"), "").unwrap();
    let recovered = Client::recover(&world.home(), &world.shipped_root).unwrap();
    assert_eq!(recovered.given_up.len(), 2);
    assert_eq!(recovered.floors.timestamp(), 0);
    world.refresh().unwrap();
}

#[test]
fn recovery_keeps_floors_that_are_good() {
    let mut world = replayed();
    let recovered = Client::recover(&world.home(), &world.shipped_root).unwrap();
    assert!(recovered.given_up.is_empty());
    assert_eq!(recovered.floors.timestamp(), 3);
    assert_rollback(&mut world, "nothing to recover");
}

/// Makes the durable replacement of `name` fail, as a full or failing disk would; the path to remove to end that.
fn blocked(world: &World, name: &str) -> std::path::PathBuf {
    let path = world.home_file(name);
    let temporary = path.with_file_name(format!(".{}.new", path.file_name().unwrap().display()));
    fs::create_dir_all(temporary.join("in the way")).unwrap();
    temporary
}

#[test]
fn floor_is_durable_before_the_file_it_speaks_of() {
    for name in ["timestamp.json", "snapshot.json", "targets.json"] {
        let mut world = World::with_release();
        world.turn().unwrap();
        let old = world.server.files.clone();
        world.advance(&["targets", "releases", "channels"]);
        let obstacle = blocked(&world, name);
        assert!(matches!(world.refresh(), Err(TrustError::Store(_))), "{name}");
        fs::remove_dir_all(obstacle).unwrap();

        let new = std::mem::replace(&mut world.server.files, old);
        assert_rollback(&mut world, name);
        world.server.files = new;
        world.turn().unwrap();
    }
}

#[test]
fn root_that_was_believed_is_needed_again_although_it_could_not_be_kept() {
    let mut world = World::with_release();
    world.turn().unwrap();
    world.advance_root(&[]);
    let obstacle = blocked(&world, "roots/2.json");
    assert!(matches!(world.refresh(), Err(TrustError::Store(_))));
    fs::remove_dir_all(obstacle).unwrap();

    let withheld = world.server.files.remove("metadata/2.root.json").unwrap();
    assert_rollback(&mut world, "root");
    world.put("metadata/2.root.json", withheld);
    assert_eq!(world.refresh().unwrap().root, 2);
}

#[test]
fn nothing_is_believed_while_the_floors_cannot_be_written() {
    let mut world = World::with_release();
    world.turn().unwrap();
    let kept = fs::read(world.home_file("timestamp.json")).unwrap();
    world.advance(&["releases"]);
    let _obstacle = blocked(&world, "floors.json");
    assert!(matches!(world.refresh(), Err(TrustError::Store(_))));
    assert_eq!(fs::read(world.home_file("timestamp.json")).unwrap(), kept);
}
