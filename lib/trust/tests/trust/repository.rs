//! The repository editor, read by the client.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use twinhull_layout::Arch;
use twinhull_trust::{
    Client, FetchError, Fetcher, FixedClock, Keyring, Repository, RepositoryError, SecretKey, Setup, TrustError,
};

use crate::world::{NOW, channel_document, key, product, release_document, version};

/// Reads a repository from its folder, as a web server would serve it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Fetcher for Folder {
    fn fetch(&mut self, path: &str, _max: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        match fs::File::open(self.0.join(path)) {
            Ok(file) => Ok(Box::new(file)),
            Err(_) => Err(FetchError::NotFound),
        }
    }
}

struct Place {
    folder: TempDir,
    clock: FixedClock,
}

const ROLES: [&str; 6] = ["root", "targets", "releases", "channels", "snapshot", "timestamp"];

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: FixedClock(NOW.parse().unwrap()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes the repository with keys that are always the same.
    fn init(&self) -> Repository {
        let mut keys = Keyring::default();
        for role in ROLES {
            keys.add(role, key(role));
        }
        keys.save(&self.path("keys")).unwrap();
        let made = Repository::init_at(&self.path("repo"), &self.path("keys"), &Setup::default(), &self.clock);
        made.unwrap().with_clock(self.clock)
    }

    fn open(&self) -> Repository {
        self.open_with("keys")
    }

    fn open_online(&self) -> Repository {
        self.open_with("online")
    }

    fn open_with(&self, folder: &str) -> Repository {
        let keys = Keyring::load(&self.path(folder)).unwrap();
        Repository::open(&self.path("repo"), &keys)
            .unwrap()
            .with_clock(self.clock)
    }

    fn with_release() -> Self {
        let place = Self::new();
        let mut repository = place.init();
        repository
            .add_release(&release_document("1.0.0", Arch::X86_64))
            .unwrap();
        repository.set_channel(&channel_document("1.0.0")).unwrap();
        assert!(repository.commit().unwrap());
        place
    }

    fn client(&self) -> Client {
        let root = fs::read(self.path("repo/metadata/root.json")).unwrap();
        Client::open(&self.path("host"), &root).unwrap()
    }

    fn offered(&self) -> Result<String, TrustError> {
        let mut fetcher = Folder(self.path("repo"));
        let mut client = self.client();
        client.refresh(&mut fetcher, &self.clock)?;
        let channel = client.channel(&mut fetcher, &self.clock, &product(), "stable")?;
        let wanted = &channel.releases[&Arch::X86_64];
        let release = client.release(&mut fetcher, &self.clock, &product(), Arch::X86_64, wanted)?;
        Ok(release.version.to_string())
    }
}

/// Every file below `folder` with its content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.push((path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn published_release_reaches_a_host() {
    let place = Place::with_release();
    assert_eq!(place.offered().unwrap(), "1.0.0");

    let mut repository = place.open();
    repository
        .add_release(&release_document("1.1.0", Arch::X86_64))
        .unwrap();
    repository.set_channel(&channel_document("1.1.0")).unwrap();
    repository.commit().unwrap();
    assert_eq!(place.offered().unwrap(), "1.1.0");
    assert_eq!(repository.releases().count(), 2);
}

#[test]
fn publication_cut_after_any_file_is_read_as_old_or_new_and_can_be_made_again() {
    let place = Place::with_release();
    let before: BTreeMap<_, _> = files(&place.path("repo")).into_iter().collect();
    let publish = |place: &Place| {
        let mut repository = place.open();
        repository
            .add_release(&release_document("1.1.0", Arch::X86_64))
            .unwrap();
        repository.set_channel(&channel_document("1.1.0")).unwrap();
        repository.commit().unwrap()
    };
    publish(&place);
    // In the order in which they came, which the kernel's clock tells apart well enough.
    let mut written: Vec<_> = files(&place.path("repo"))
        .into_iter()
        .filter(|(name, bytes)| before.get(name) != Some(bytes))
        .map(|(name, bytes)| {
            let modified = fs::metadata(place.path("repo").join(&name))
                .unwrap()
                .modified()
                .unwrap();
            (modified, name == Path::new("metadata/timestamp.json"), name, bytes)
        })
        .collect();
    written.sort();
    assert_eq!(
        written.len(),
        6,
        "two documents, releases, channels, snapshot, timestamp"
    );
    assert!(written.last().unwrap().1, "the timestamp comes last");

    for cut in 0..=written.len() {
        let place = Place::with_release();
        assert_eq!(place.offered().unwrap(), "1.0.0");
        for (_, _, name, bytes) in &written[..cut] {
            let path = place.path("repo").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let expected = if cut == written.len() { "1.1.0" } else { "1.0.0" };
        assert_eq!(place.offered().unwrap(), expected, "cut after {cut} files");
        publish(&place);
        assert_eq!(place.offered().unwrap(), "1.1.0", "made again after {cut} files");
    }
}

/// Leaves a release of 1.1.0 for signatures, and with it a channel that offers it, in waves from `NOW` on.
fn leave_with_a_channel(place: &Place) {
    let online = place.path("online");
    fs::create_dir(&online).unwrap();
    for role in ["channels", "snapshot", "timestamp"] {
        let file = format!("{role}-1.json");
        fs::copy(place.path("keys").join(&file), online.join(&file)).unwrap();
    }
    let mut repository = place.open_online();
    repository
        .add_release(&release_document("1.1.0", Arch::X86_64))
        .unwrap();
    let mut channel = channel_document("1.0.0");
    channel.roll_out(
        Arch::X86_64,
        version("1.1.0"),
        twinhull_rollout::preset("fast"),
        place.clock.0,
    );
    repository.set_channel(&channel).unwrap();
    assert_eq!(repository.stage().unwrap().len(), 1);
    assert_eq!(repository.pending_channels().unwrap(), [channel]);
    // Nobody sees anything of it, whatever is renewed in the meantime.
    let mut repository = place.open_online();
    assert_eq!(repository.take_pending().unwrap().len(), 1);
    repository.renew_online();
    repository.commit().unwrap();
    assert_eq!(place.offered().unwrap(), "1.0.0");
    assert_eq!(place.open_online().pending_channels().unwrap().len(), 1);
}

/// What cron does, a day later.
fn sign_and_renew(place: &mut Place) -> Repository {
    place.clock = FixedClock(place.clock.0 + SignedDuration::from_hours(24));
    let keys = Keyring::load(&place.path("keys")).unwrap();
    twinhull_trust::sign_pending(&place.path("repo/pending/releases.json"), "releases", &keys).unwrap();
    renew(place)
}

fn renew(place: &Place) -> Repository {
    let mut repository = place.open_online();
    assert!(repository.take_pending().unwrap().is_empty());
    repository.renew_online();
    repository.commit().unwrap();
    repository
}

#[test]
fn channel_that_offers_what_waits_waits_with_it_and_its_rollout_begins_when_that_is_published() {
    let mut place = Place::with_release();
    leave_with_a_channel(&place);
    let repository = sign_and_renew(&mut place);
    assert_eq!(place.offered().unwrap(), "1.1.0");
    let channel = repository.channel(&product(), "stable").unwrap().unwrap();
    assert_eq!(channel.since, Some(place.clock.0));
    assert_eq!(channel.rollout.unwrap().name, "fast");
    assert!(repository.pending_channels().unwrap().is_empty());
}

#[test]
fn later_word_about_a_channel_counts_more_than_one_that_waits() {
    let mut place = Place::with_release();
    leave_with_a_channel(&place);
    let mut repository = place.open_online();
    let mut channel = repository.channel(&product(), "stable").unwrap().unwrap();
    channel.halt(Some("look first".to_owned()), place.clock.0);
    repository.set_channel(&channel).unwrap();
    repository.commit().unwrap();
    assert!(repository.pending_channels().unwrap().is_empty());
    let repository = sign_and_renew(&mut place);
    assert_eq!(repository.releases().count(), 2);
    assert_eq!(repository.channel(&product(), "stable").unwrap(), Some(channel));
}

#[test]
fn channel_that_waited_is_changed_once_however_often_it_is_cut() {
    let mut place = Place::with_release();
    leave_with_a_channel(&place);
    let kept = place.path("repo/pending/channels/demo/stable.json");
    let bytes = fs::read(&kept).unwrap();
    sign_and_renew(&mut place);
    let channel = place.open().channel(&product(), "stable").unwrap();
    // Published, and cut before the file was removed.
    fs::write(&kept, bytes).unwrap();
    place.clock = FixedClock(place.clock.0 + SignedDuration::from_hours(1));
    let repository = renew(&place);
    assert_eq!(repository.channel(&product(), "stable").unwrap(), channel);
    assert!(!kept.exists());
}

#[test]
fn kept_channel_under_another_name_is_refused_with_its_file() {
    let place = Place::with_release();
    leave_with_a_channel(&place);
    let folder = place.path("repo/pending/channels/demo");
    fs::rename(folder.join("stable.json"), folder.join("edge.json")).unwrap();
    match place.open_online().take_pending() {
        Err(RepositoryError::NoChannel { path }) => assert!(path.ends_with("demo/edge.json")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn channel_that_is_taken_away_cannot_wait_and_nothing_is_changed() {
    let place = Place::with_release();
    fs::create_dir(place.path("online")).unwrap();
    let mut repository = place.open_online();
    repository
        .add_release(&release_document("1.1.0", Arch::X86_64))
        .unwrap();
    repository
        .remove_target("channels", "channels/demo/stable.json")
        .unwrap();
    assert!(matches!(repository.stage(), Err(RepositoryError::CannotWait { .. })));
    assert!(!place.path("repo/pending").exists());
    assert_eq!(place.offered().unwrap(), "1.0.0");
}

#[test]
fn generated_keys_work_and_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    Repository::init(&place.path("repo"), &place.path("keys"), &Setup::default()).unwrap();
    let keys = files(&place.path("keys"));
    assert_eq!(keys.len(), 6);
    for (name, _) in keys {
        let mode = fs::metadata(place.path("keys").join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let mut repository = Repository::open(&place.path("repo"), &Keyring::load(&place.path("keys")).unwrap()).unwrap();
    repository
        .add_release(&release_document("1.0.0", Arch::X86_64))
        .unwrap();
    repository.commit().unwrap();
}

#[test]
fn same_keys_and_times_give_the_same_bytes() {
    let (one, two) = (Place::with_release(), Place::with_release());
    let first = files(&one.path("repo"));
    assert!(first.len() > 10);
    assert_eq!(first, files(&two.path("repo")));
}

#[test]
fn init_never_touches_a_repository_that_is_there() {
    let place = Place::with_release();
    let before = files(place.folder.path());
    let again = Repository::init(&place.path("repo"), &place.path("keys"), &Setup::default());
    assert!(matches!(again, Err(RepositoryError::AlreadyThere { .. })));
    assert_eq!(files(place.folder.path()), before);
}

#[test]
fn commit_without_changes_publishes_nothing() {
    let place = Place::with_release();
    let before = files(&place.path("repo"));
    assert!(!place.open().commit().unwrap());
    assert_eq!(files(&place.path("repo")), before);
}

#[test]
fn reader_sees_the_old_or_the_new_state_after_each_file() {
    // Replays the publication of 1.1.0 file by file over the repository with 1.0.0.
    let old = Place::with_release();
    let new = Place::with_release();
    let mut repository = new.open();
    repository
        .add_release(&release_document("1.1.0", Arch::X86_64))
        .unwrap();
    repository.set_channel(&channel_document("1.1.0")).unwrap();
    repository.commit().unwrap();

    let before = files(&old.path("repo"));
    let mut changed: Vec<_> = files(&new.path("repo"))
        .into_iter()
        .filter(|file| !before.contains(file))
        .collect();
    // The one file that replaces another is the timestamp; all others are new names.
    let replaced: Vec<_> = changed
        .iter()
        .filter(|(path, _)| old.path("repo").join(path).exists())
        .collect();
    assert_eq!(replaced.len(), 1);
    changed.sort_by_key(|(path, _)| path.ends_with("timestamp.json"));
    for (path, bytes) in changed {
        assert_eq!(old.offered().unwrap(), "1.0.0", "before {}", path.display());
        let path = old.path("repo").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(old.offered().unwrap(), "1.1.0");
}

#[test]
fn publication_that_was_cut_can_be_done_again() {
    let place = Place::with_release();
    let publish = || {
        let mut repository = place.open();
        repository.add_release(&release_document("1.1.0", Arch::X86_64))?;
        repository.set_channel(&channel_document("1.1.0"))?;
        repository.commit()
    };
    // The timestamp cannot be replaced: a folder with content stands where its temporary file goes.
    let blocked = place.path("repo/metadata/.timestamp.json.new/x");
    fs::create_dir_all(&blocked).unwrap();
    assert!(matches!(publish(), Err(RepositoryError::Write(_))));
    assert_eq!(place.offered().unwrap(), "1.0.0");
    fs::remove_dir_all(blocked.parent().unwrap()).unwrap();
    publish().unwrap();
    assert_eq!(place.offered().unwrap(), "1.1.0");
}

#[test]
fn online_keys_alone_renew_and_set_channels_but_cannot_add_releases() {
    let place = Place::with_release();
    for role in ["root", "targets", "releases"] {
        fs::remove_file(place.path("keys").join(format!("{role}-1.json"))).unwrap();
    }
    let mut repository = place.open();
    repository.renew_online();
    repository.set_channel(&channel_document("1.0.0")).unwrap();
    repository.commit().unwrap();

    let before = files(&place.path("repo"));
    repository
        .add_release(&release_document("2.0.0", Arch::X86_64))
        .unwrap();
    match repository.commit() {
        Err(RepositoryError::MissingKeys {
            role,
            threshold: 1,
            have: 0,
        }) => assert_eq!(role, "releases"),
        other => panic!("{other:?}"),
    }
    assert_eq!(files(&place.path("repo")), before);
}

#[test]
fn renewal_keeps_hosts_going() {
    let mut place = Place::with_release();
    place.offered().unwrap();
    let lapsed: Timestamp = place.clock.0 + SignedDuration::from_hours(24 * 7);
    place.clock = FixedClock(lapsed);
    assert!(matches!(place.offered(), Err(TrustError::Expired { .. })));
    let mut repository = place.open();
    repository.renew_online();
    repository.commit().unwrap();
    assert_eq!(place.offered().unwrap(), "1.0.0");
}

#[test]
fn published_release_never_changes() {
    let place = Place::with_release();
    let mut repository = place.open();
    repository
        .add_release(&release_document("1.0.0", Arch::X86_64))
        .unwrap();
    assert!(!repository.commit().unwrap());
    let mut other = release_document("1.0.0", Arch::X86_64);
    other.uki.size += 1;
    assert!(matches!(
        repository.add_release(&other),
        Err(RepositoryError::AlreadyPublished { .. })
    ));
}

#[test]
fn channel_offers_only_what_is_published() {
    let place = Place::with_release();
    let refused = place.open().set_channel(&channel_document("3.0.0"));
    assert!(matches!(refused, Err(RepositoryError::UnknownRelease { .. })));
}

#[test]
fn what_was_published_can_be_read_back() {
    let place = Place::with_release();
    let repository = place.open();
    let made = release_document("1.0.0", Arch::X86_64);
    assert_eq!(
        repository.release(&product(), Arch::X86_64, &version("1.0.0")).unwrap(),
        Some(made)
    );
    assert_eq!(
        repository
            .release(&product(), Arch::Aarch64, &version("1.0.0"))
            .unwrap(),
        None
    );
    assert_eq!(
        repository.channel(&product(), "stable").unwrap(),
        Some(channel_document("1.0.0"))
    );
}

#[test]
fn wrong_document_with_a_right_signature_can_be_made_for_tests() {
    let place = Place::with_release();
    let mut repository = place.open();
    let wrong = release_document("1.0.0", Arch::Aarch64).to_bytes().unwrap();
    repository
        .add_target_bytes("releases", "releases/demo/x86_64/1.0.0.json", wrong)
        .unwrap();
    repository.commit().unwrap();
    assert!(matches!(place.offered(), Err(TrustError::WrongArchitecture { .. })));
}

#[test]
fn damaged_repository_is_not_edited() {
    let place = Place::with_release();
    let path = place.path("repo/metadata/2.releases.json");
    let mut bytes = fs::read(&path).unwrap();
    bytes[200] ^= 1;
    fs::write(&path, bytes).unwrap();
    let keys = Keyring::load(&place.path("keys")).unwrap();
    let refused = Repository::open(&place.path("repo"), &keys);
    assert!(matches!(refused, Err(RepositoryError::Invalid { .. })), "{refused:?}");
}

#[test]
fn thresholds_are_signed_for_and_must_make_sense() {
    let place = Place::new();
    let mut setup = Setup::default();
    setup.releases.keys = 3;
    setup.releases.threshold = 2;
    let init = |setup| Repository::init_at(&place.path("repo"), &place.path("keys"), setup, &place.clock);
    init(&setup).unwrap();
    fs::remove_file(place.path("keys/releases-2.json")).unwrap();
    let mut repository = place.open();
    repository
        .add_release(&release_document("1.0.0", Arch::X86_64))
        .unwrap();
    repository.set_channel(&channel_document("1.0.0")).unwrap();
    repository.commit().unwrap();
    assert_eq!(place.offered().unwrap(), "1.0.0");

    fs::remove_file(place.path("keys/releases-3.json")).unwrap();
    let mut repository = place.open();
    repository
        .add_release(&release_document("1.1.0", Arch::X86_64))
        .unwrap();
    let short = repository.commit();
    assert!(
        matches!(
            short,
            Err(RepositoryError::MissingKeys {
                threshold: 2,
                have: 1,
                ..
            })
        ),
        "{short:?}"
    );

    let other = Place::new();
    setup.releases.threshold = 4;
    let refused = Repository::init(&other.path("repo"), &other.path("keys"), &setup);
    assert!(matches!(
        refused,
        Err(RepositoryError::BadTerms { role: "releases", .. })
    ));
}

#[test]
fn damaged_key_file_is_named_and_its_secret_is_not_shown() {
    let place = Place::with_release();
    let path = place.path("keys/root-1.json");
    let whole = fs::read_to_string(&path).unwrap();
    let secret = hex::encode(sha2_of("root"));
    assert!(whole.contains(&secret));
    for damaged in [
        whole.replace(&secret, &secret.replace('a', "b")),
        whole.replace("\"role\"", "7"),
        String::new(),
    ] {
        fs::write(&path, &damaged).unwrap();
        let error = Keyring::load(&place.path("keys")).unwrap_err();
        assert!(matches!(error, RepositoryError::KeyFile { .. }), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("root-1.json") && !shown.contains(&secret[..16]),
            "{shown}"
        );
    }
    assert!(!format!("{:?}", SecretKey::from_seed(sha2_of("root"))).contains(&secret));
}

fn sha2_of(label: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(label.as_bytes()).into()
}
