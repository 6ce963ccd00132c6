//! Keys that change, and signatures collected from several people.

use std::fs;
use std::path::PathBuf;

use jiff::SignedDuration;
use tempfile::TempDir;
use twinhull_trust::{
    Client, FixedClock, KeyChange, Keyring, PublicKey, Repository, RepositoryError, RoleTerms, Setup, TrustError,
    sign_pending,
};

use crate::repository::Folder;
use crate::world::{NOW, key, release_document};

const ROLES: [&str; 6] = ["root", "targets", "releases", "channels", "snapshot", "timestamp"];

struct Place {
    folder: TempDir,
    clock: FixedClock,
}

impl Place {
    /// A repository in which two of three keys of root and of releases must sign.
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
            clock: FixedClock(NOW.parse().unwrap()),
        };
        let mut keys = Keyring::default();
        for role in ROLES {
            keys.add(role, key(role));
        }
        for role in ["root", "releases"] {
            keys.add(role, key(&format!("{role} 2")));
            keys.add(role, key(&format!("{role} 3")));
        }
        keys.save(&place.path("all")).unwrap();
        let two_of_three = RoleTerms {
            keys: 3,
            threshold: 2,
            lifetime: SignedDuration::from_hours(24 * 365),
        };
        let setup = Setup {
            root: two_of_three,
            releases: two_of_three,
            ..Setup::default()
        };
        Repository::init_at(&place.path("repo"), &place.path("all"), &setup, &place.clock).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pending(&self, role: &str) -> PathBuf {
        self.path(&format!("repo/pending/{role}.json"))
    }

    fn open(&self, keys: &Keyring) -> Repository {
        Repository::open(&self.path("repo"), keys)
            .unwrap()
            .with_clock(self.clock)
    }

    fn all(&self) -> Keyring {
        Keyring::load(&self.path("all")).unwrap()
    }

    /// A host that knows the first root and keeps its state.
    fn refresh(&self) -> Result<u64, TrustError> {
        let root = fs::read(self.path("repo/metadata/1.root.json")).unwrap();
        let mut client = Client::open(&self.path("host"), &root)?;
        let refreshed = client.refresh(&mut Folder(self.path("repo")), &self.clock)?;
        Ok(refreshed.root)
    }
}

fn ring(keys: &[(&str, &str)]) -> Keyring {
    let mut ring = Keyring::default();
    for (role, label) in keys {
        ring.add(role, key(label));
    }
    ring
}

fn online() -> Keyring {
    ring(&[
        ("channels", "channels"),
        ("snapshot", "snapshot"),
        ("timestamp", "timestamp"),
    ])
}

fn replace(role: &str, old: &str, new: &str) -> KeyChange {
    KeyChange {
        add: vec![PublicKey {
            role: role.to_owned(),
            public: key(new).public().into(),
        }],
        remove: vec![key(old).id()],
        threshold: None,
    }
}

#[test]
fn every_role_can_be_given_another_key_and_hosts_follow() {
    for role in ROLES {
        let place = Place::new();
        place.refresh().unwrap();
        let mut keys = place.all();
        keys.add(role, key("new"));
        let mut repository = place.open(&keys);
        repository.rotate(role, &replace(role, role, "new")).unwrap();
        assert!(repository.commit().unwrap(), "{role}");
        place.refresh().unwrap_or_else(|error| panic!("{role}: {error}"));
        // The old key is of no use any more.
        let mut repository = place.open(&place.all());
        repository.rotate(role, &KeyChange::default()).unwrap();
        let signed = repository.commit();
        let enough_others = ["root", "releases"].contains(&role);
        assert!(
            enough_others == signed.is_ok()
                && (enough_others || matches!(signed, Err(RepositoryError::MissingKeys { .. }))),
            "{role}: {signed:?}"
        );
        place.refresh().unwrap();
    }
}

#[test]
fn root_and_timestamp_can_be_read_at_every_step_of_a_rotation() {
    // With the old key at hand all is signed by both, so the order of files cannot matter to any reader.
    let place = Place::new();
    let mut keys = place.all();
    keys.add("timestamp", key("new"));
    let mut repository = place.open(&keys);
    repository
        .rotate("timestamp", &replace("timestamp", "timestamp", "new"))
        .unwrap();
    repository.commit().unwrap();
    let root = place.path("repo/metadata/2.root.json");
    let away = place.path("2.root.json");
    // Cut before the new root: the host still believes the old one.
    fs::rename(&root, &away).unwrap();
    assert_eq!(place.refresh().unwrap(), 1);
    fs::rename(&away, &root).unwrap();
    assert_eq!(place.refresh().unwrap(), 2);
}

#[test]
fn rotation_without_the_lost_key_that_was_cut_is_finished_by_the_next_refresh() {
    let place = Place::new();
    let before = fs::read(place.path("repo/metadata/timestamp.json")).unwrap();
    let old_root = fs::read(place.path("repo/metadata/root.json")).unwrap();
    // The key of the timestamp is lost.
    let keys = ring(&[
        ("root", "root"),
        ("root", "root 2"),
        ("snapshot", "snapshot"),
        ("timestamp", "new"),
    ]);
    let mut repository = place.open(&keys);
    repository
        .rotate("timestamp", &replace("timestamp", "timestamp", "new"))
        .unwrap();
    repository.commit().unwrap();
    // Cut between the new root and the timestamp.
    fs::write(place.path("repo/metadata/timestamp.json"), before).unwrap();
    fs::write(place.path("repo/metadata/root.json"), old_root).unwrap();
    assert!(place.refresh().is_err());
    let mut repository = place.open(&ring(&[
        ("channels", "channels"),
        ("snapshot", "snapshot"),
        ("timestamp", "new"),
    ]));
    repository.renew_online();
    repository.commit().unwrap();
    assert_eq!(place.refresh().unwrap(), 2);
}

#[test]
fn signatures_of_two_people_are_collected_and_published_by_the_host_without_offline_keys() {
    let place = Place::new();
    let mut repository = place.open(&online());
    repository
        .add_release(&release_document("1.0.0", twinhull_layout::Arch::X86_64))
        .unwrap();
    assert!(repository.lacks_offline_keys());
    let staged = repository.stage().unwrap();
    assert_eq!((staged[0].role.as_str(), staged[0].missing()), ("releases", 2));

    // Each person has a copy of the file on a machine of their own.
    let copy = place.path("copy.json");
    fs::copy(place.pending("releases"), &copy).unwrap();
    assert_eq!(
        sign_pending(&copy, "releases", &ring(&[("releases", "releases 3")])).unwrap(),
        1
    );
    assert_eq!(
        sign_pending(&copy, "releases", &ring(&[("releases", "releases 3")])).unwrap(),
        0
    );
    fs::copy(&copy, place.pending("releases")).unwrap();
    assert_eq!(place.open(&online()).take_pending().unwrap()[0].missing(), 1);

    sign_pending(&copy, "releases", &ring(&[("releases", "releases")])).unwrap();
    // A signature by a key that does not speak for the role counts for nothing.
    sign_pending(&copy, "releases", &ring(&[("releases", "stranger")])).unwrap();
    fs::copy(&copy, place.pending("releases")).unwrap();
    let mut repository = place.open(&online());
    assert!(repository.take_pending().unwrap().is_empty());
    repository.renew_online();
    repository.commit().unwrap();
    assert!(!place.pending("releases").exists());
    assert_eq!(place.open(&online()).releases().count(), 1);
    place.refresh().unwrap();
}

#[test]
fn new_root_needs_the_signatures_of_the_root_before_it_and_its_own() {
    let place = Place::new();
    let mut repository = place.open(&online());
    repository.rotate("root", &replace("root", "root", "root 4")).unwrap();
    repository.stage().unwrap();
    let pending = place.pending("root");
    sign_pending(&pending, "root", &ring(&[("root", "root 4"), ("root", "root 2")])).unwrap();
    let waiting = place.open(&online()).take_pending().unwrap();
    assert_eq!((waiting[0].signed, waiting[0].before), (2, Some((1, 2))));
    sign_pending(&pending, "root", &ring(&[("root", "root 3")])).unwrap();
    let mut repository = place.open(&online());
    assert!(repository.take_pending().unwrap().is_empty());
    repository.renew_online();
    repository.commit().unwrap();
    assert_eq!(place.refresh().unwrap(), 2);
}

#[test]
fn pending_file_of_an_older_state_is_refused() {
    let place = Place::new();
    let mut repository = place.open(&place.all());
    repository
        .add_release(&release_document("1.0.0", twinhull_layout::Arch::X86_64))
        .unwrap();
    repository.stage().unwrap();
    for version in ["1.1.0", "1.2.0"] {
        let mut repository = place.open(&place.all());
        repository
            .add_release(&release_document(version, twinhull_layout::Arch::X86_64))
            .unwrap();
        repository.commit().unwrap();
    }
    let stale = place.open(&online()).take_pending();
    assert!(
        matches!(
            stale,
            Err(RepositoryError::Stale {
                found: 2,
                wanted: 4,
                ..
            })
        ),
        "{stale:?}"
    );
}

#[test]
fn keys_that_could_not_sign_are_refused() {
    let place = Place::new();
    let mut repository = place.open(&place.all());
    let none = KeyChange {
        remove: vec![key("timestamp").id()],
        ..KeyChange::default()
    };
    assert!(matches!(
        repository.rotate("timestamp", &none),
        Err(RepositoryError::BadKeys { .. })
    ));
    let unknown = replace("timestamp", "stranger", "new");
    assert!(matches!(
        repository.rotate("timestamp", &unknown),
        Err(RepositoryError::UnknownKey { .. })
    ));
    assert!(matches!(
        repository.rotate("nobody", &none),
        Err(RepositoryError::NoSuchRole { .. })
    ));
    assert!(!repository.commit().unwrap());
}
