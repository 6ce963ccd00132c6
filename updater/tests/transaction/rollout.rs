//! A rollout as a host meets it: waves, pins, patience, stepping stones, halt and resume.

use jiff::{SignedDuration, Timestamp};
use twinhull_rollout::{Rollout, Wave, preset};
use twinhull_trust::ChannelDocument;

use crate::host::Host;
use crate::recorder::Machine;
use crate::server::Server;
use crate::world::{ARCH, Image, Signed, images, product, release, version};

/// A host on 0.9.0, and 1.0.0 and 1.1.0 in the repository.
struct Fleet {
    host: Host,
    repository: Signed,
    server: Server,
    _folder: tempfile::TempDir,
}

impl Fleet {
    fn new() -> Self {
        let images: [Image; 3] = images();
        let folder = tempfile::tempdir().unwrap();
        let repository = Signed::new(folder.path());
        for image in &images {
            let (document, files) = release(image, None);
            repository.publish(&document, &files);
        }
        let host = Host::new(&images[0], &Machine::new(&images[0], None), &repository.root());
        let server = Server::new(&repository.folder);
        let fleet = Self {
            host,
            repository,
            server,
            _folder: folder,
        };
        fleet.configure("");
        fleet
    }

    /// The configuration, with `more` in `[updates]`.
    fn configure(&self, more: &str) {
        let base = &self.server.base;
        self.host.configure(&format!(
            "[updates]\nrepository = \"{base}/\"\nstrategy = \"download-only\"\n{more}\n"
        ));
    }

    /// 1.1.0 goes out in `rollout` since so many minutes; then `change` has its say.
    fn roll_out(&self, rollout: Rollout, minutes: i64, change: impl FnOnce(&mut ChannelDocument)) {
        let mut channel = ChannelDocument::new(product(), "stable");
        let began = Timestamp::now() - SignedDuration::from_mins(minutes);
        let began = Timestamp::from_second(began.as_second()).unwrap();
        channel.roll_out(ARCH, version("1.1.0"), Some(rollout), began);
        change(&mut channel);
        self.repository.set_channel(&channel);
    }

    /// What a look comes to: its outcome, and the release it is about.
    #[track_caller]
    fn look(&self) -> (String, String) {
        let (_, check) = self.host.json(&["check"]);
        let outcome = check["outcome"].as_str().unwrap().to_owned();
        let version = check["version"].as_str().unwrap_or_default().to_owned();
        (outcome, version)
    }

    /// Has `update` tried, and says why nothing came of it.
    fn why(&self) -> String {
        let (exit, _) = self.host.json(&["update"]);
        assert_eq!(exit, 3);
        let (exit, why) = self.host.json(&["why"]);
        assert_eq!(exit, 0);
        why["why"].as_str().unwrap().to_owned()
    }
}

/// Two waves: nobody waits for the first, everybody is in the second.
fn late() -> Rollout {
    let wave = |share, start_seconds| Wave {
        share,
        start_seconds,
        pace_seconds: 0,
    };
    Rollout {
        name: "late".to_owned(),
        waves: vec![wave(1, 0), wave(9999, 7200)],
    }
}

#[test]
fn host_waits_for_its_wave_and_says_until_when() {
    let fleet = Fleet::new();
    fleet.roll_out(late(), 0, |_| {});
    assert_eq!(fleet.look(), ("refused".to_owned(), "1.1.0".to_owned()));
    let why = fleet.why();
    assert!(
        why.starts_with("release 1.1.0 reaches this host at 20") && why.ends_with(", wave 2 of 2"),
        "{why}"
    );
    // The same release, two hours on.
    fleet.roll_out(late(), 121, |_| {});
    assert_eq!(fleet.look(), ("available".to_owned(), "1.1.0".to_owned()));
}

#[test]
fn pins_of_the_configuration_overrule_the_place() {
    let fleet = Fleet::new();
    fleet.roll_out(late(), 0, |_| {});
    fleet.configure("pin_wave = 1");
    assert_eq!(fleet.look(), ("available".to_owned(), "1.1.0".to_owned()));
    fleet.configure("pin_version = \"1.0.0\"");
    assert_eq!(fleet.look(), ("available".to_owned(), "1.0.0".to_owned()));
    fleet.configure("pin_version = \"0.9.0\"");
    assert_eq!(fleet.look(), ("current".to_owned(), "0.9.0".to_owned()));
    fleet.configure("min_age_seconds = 86400\npin_wave = 1");
    assert_eq!(fleet.look().0, "refused");
    assert!(fleet.why().ends_with(", when it is old enough for it"));
}

#[test]
fn stepping_stone_is_installed_first() {
    let fleet = Fleet::new();
    let everybody = || preset("emergency").unwrap();
    fleet.roll_out(everybody(), 60, |channel| {
        channel.stepping_stones.push(version("1.0.0"));
    });
    assert_eq!(fleet.look(), ("available".to_owned(), "1.0.0".to_owned()));
}

#[test]
fn halt_stops_the_host_and_resume_lets_it_go_on() {
    let fleet = Fleet::new();
    let everybody = || preset("emergency").unwrap();
    let halt = |channel: &mut ChannelDocument| channel.halt(Some("3 hosts rolled back".to_owned()), Timestamp::now());
    fleet.roll_out(everybody(), 60, halt);
    assert_eq!(fleet.look(), ("refused".to_owned(), "1.1.0".to_owned()));
    let why = fleet.why();
    assert!(
        why.starts_with("the rollout of 1.1.0 is halted since ") && why.ends_with(": 3 hosts rolled back"),
        "{why}"
    );
    fleet.roll_out(everybody(), 60, |channel| {
        halt(channel);
        channel.resume(Timestamp::now());
    });
    assert_eq!(fleet.look(), ("available".to_owned(), "1.1.0".to_owned()));
}

#[test]
fn service_takes_what_went_out_before_and_waits_for_the_rest() {
    let fleet = Fleet::new();
    fleet.roll_out(late(), 0, |channel| {
        channel.settled.insert(ARCH, version("1.0.0"));
    });
    let _service = fleet.host.service();
    fleet.host.until("staged", |status| {
        status["state"]["phase"] == "staged" && status["state"]["version"] == "1.0.0"
    });
}
