//! Everything that can go wrong below and around the agent, at every single effect: the reason has the right code, what runs and
//! its boot entry are untouched, and the next run, when the fault is gone, gets to the end.

use std::time::Duration;

use twinhull_layout::Slot;
use twinhull_trust::{Client, FixedClock};
use twinhull_updater::install::{InstallError, install};
use twinhull_updater::io::Io;
use twinhull_updater::machine::Known;
use twinhull_updater::rollback;

use crate::host::Host;
use crate::oracle;
use crate::recorder::{Effect, Fault, Machine, Recorder};
use crate::server::{Lock, Mood, Server};
use crate::world::{ARCH, Files, Image, Signed, images, product, release, version};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// The slot and the boot entry of `running` are as they were.
#[track_caller]
fn intact(machine: &Machine, before: &Machine, running: &Image, what: &str) {
    let (table, was) = (oracle::table(machine).unwrap(), oracle::table(before).unwrap());
    let place = table.slot(Slot::A, ARCH).unwrap();
    assert_eq!(place, was.slot(Slot::A, ARCH).unwrap(), "{what}");
    for partition in [&place.root, &place.verity] {
        let start = usize::try_from(partition.start).unwrap();
        let range = start..start + usize::try_from(partition.size).unwrap();
        assert!(machine.disk[range.clone()] == before.disk[range], "{what}");
    }
    assert!(machine.entries[&running.entry()] == running.kernel, "{what}");
}

/// An effect, the errors that it can meet, and the code that each is reported with. None where the agent gets by without.
const EFFECTS: [(Effect, &[i32], Option<&str>); 14] = [
    (Effect::ReadDisk, &[EIO], Some("disk")),
    (Effect::WriteDisk, &[EIO, ENOSPC], Some("disk")),
    (Effect::FlushDisk, &[EIO], Some("disk")),
    (Effect::Forget, &[EIO], Some("disk")),
    // What the running root cannot give comes from the full payload.
    (Effect::ReadRoot, &[EIO], None),
    (Effect::List, &[EIO], Some("esp")),
    (Effect::Space, &[EIO], Some("esp")),
    (Effect::Size, &[EIO], Some("esp")),
    (Effect::ReadEntry, &[EIO], Some("esp")),
    (Effect::Create, &[EIO, ENOSPC, EROFS], Some("esp")),
    (Effect::WriteEntry, &[EIO, ENOSPC, EROFS], Some("esp")),
    (Effect::FlushEntry, &[EIO, ENOSPC], Some("esp")),
    (Effect::Remove, &[EIO, EROFS], Some("esp")),
    (Effect::FlushEntries, &[EIO], Some("esp")),
];

/// All faults of `effect`, at its first occurrence, then at the second, and so on until `meets` says that there was none.
fn each_fault(effect: Effect, errors: &[i32], mut meets: impl FnMut(Fault) -> bool) -> usize {
    let mut count = 0;
    for errno in errors {
        for (lasting, short) in [(false, false), (true, false), (true, true)] {
            if short && !matches!(effect, Effect::WriteDisk | Effect::WriteEntry) {
                continue;
            }
            for at in 0.. {
                let fault = Fault {
                    effect,
                    at,
                    errno: *errno,
                    lasting,
                    short,
                };
                if !meets(fault) {
                    break;
                }
                count += 1;
            }
        }
    }
    count
}

#[test]
fn every_error_of_disk_and_esp_during_an_update_has_its_code_and_costs_nothing() {
    let images = images();
    let [_, running, new] = &images;
    let (document, files) = release(new, Some(running));
    let start = Machine::new(running, Some(&images[0]));
    let mut repository = Files::new(files);
    for (effect, errors, code) in EFFECTS {
        let faults = each_fault(effect, errors, |fault| {
            let what = format!("{fault:?}");
            let mut io = Recorder::new(start.clone(), running);
            io.fault = Some(fault);
            let outcome = install(&io, &mut repository, &running.running(), &document, &mut |_| {});
            if !io.fault_was_met() {
                outcome.unwrap();
                return false;
            }
            let machine = io.machine();
            match &outcome {
                Err(error) => assert_eq!(Some(error.code()), code, "{what}: {error}"),
                // Only where the agent can do without: the base, and looks that are repeated. What is read back is not.
                Ok(_) => assert!(
                    matches!(effect, Effect::ReadRoot | Effect::ReadEntry)
                        || matches!(effect, Effect::ReadDisk | Effect::Size) && !fault.lasting,
                    "{what} went unnoticed"
                ),
            }
            intact(&machine, &start, running, &what);
            // Between the first sector and its flush both outcomes are right, and the agent cannot know which it was.
            let entry = machine.entries.get(&new.fresh_entry());
            let committed = entry.is_some_and(|content| content.starts_with(b"MZ"));
            let expected = if committed { "1.1.0" } else { "1.0.0" };
            assert_eq!(oracle::boots(&machine, &images), Ok(version(expected)), "{what}");

            let io = Recorder::new(machine, running);
            install(&io, &mut repository, &running.running(), &document, &mut |_| {})
                .unwrap_or_else(|error| panic!("after {what}: {error}"));
            assert_eq!(oracle::boots(&io.machine(), &images), Ok(version("1.1.0")), "{what}");
            true
        });
        assert!(faults > 0, "{effect:?} is never met");
    }
}

#[test]
fn every_error_during_a_rollback_leaves_a_release_that_boots_and_a_rollback_that_can_be_repeated() {
    let images = images();
    let [_, older, running] = &images;
    let start = Machine::new(older, Some(running));
    let roll_back = |io: &dyn Io| {
        rollback::find(io, &running.running(), &Known::default(), &mut |_| {}).and_then(|way| rollback::take(io, &way))
    };
    for (effect, errors, code) in EFFECTS {
        each_fault(effect, errors, |fault| {
            let what = format!("{fault:?}");
            let mut io = Recorder::new(start.clone(), running);
            io.fault = Some(fault);
            let outcome = roll_back(&io);
            if !io.fault_was_met() {
                outcome.unwrap();
                return false;
            }
            if let Err(error) = &outcome {
                let found = error.problem().code;
                // A slot that cannot be read is no way back.
                let damaged = effect == Effect::ReadDisk && found == "other-slot-damaged";
                assert!(damaged || Some(&*found) == code, "{what}: {error}");
            }
            let machine = io.machine();
            intact(&machine, &start, older, &what);
            let boots = oracle::boots(&machine, &images).unwrap();
            assert!(outcome.is_err() || boots == version("1.0.0"), "{what}");
            if boots == version("1.1.0") {
                let io = Recorder::new(machine, running);
                roll_back(&io).unwrap_or_else(|error| panic!("after {what}: {error}"));
                assert_eq!(oracle::boots(&io.machine(), &images), Ok(version("1.0.0")), "{what}");
            }
            true
        });
    }
}

#[test]
fn rollback_needs_no_room_on_the_esp() {
    let images = images();
    let [_, older, running] = &images;
    let mut io = Recorder::new(Machine::new(older, Some(running)), running);
    io.esp = (older.kernel.len() + running.kernel.len() + 1000) as u64;
    let way = rollback::find(&io, &running.running(), &Known::default(), &mut |_| {}).unwrap();
    rollback::take(&io, &way).unwrap();
    let machine = io.machine();
    assert_eq!(oracle::boots(&machine, &images), Ok(version("1.0.0")));
    assert_eq!(
        machine.entries.len(),
        1,
        "no room for a copy of the entry that was left"
    );
}

/// A host on 1.0.0 and a server that offers 1.1.0.
struct Network {
    host: Host,
    server: Server,
    before: Machine,
    images: [Image; 3],
    _folder: tempfile::TempDir,
}

impl Network {
    fn new(strategy: &str) -> Self {
        let images = images();
        let folder = tempfile::tempdir().unwrap();
        let repository = Signed::new(folder.path());
        let (document, files) = release(&images[2], Some(&images[1]));
        repository.publish(&document, &files);
        let before = Machine::new(&images[1], None);
        let host = Host::new(&images[1], &before, &repository.root());
        let server = Server::new(&repository.folder);
        host.configure(&server.configuration(strategy));
        Self {
            host,
            server,
            before,
            images,
            _folder: folder,
        }
    }

    #[track_caller]
    fn converges(&self) {
        let (exit, outcome) = self.host.json(&["update"]);
        assert_eq!((exit, &outcome["outcome"]), (0, &"staged".into()), "{outcome:#}");
        assert_eq!(oracle::boots(&self.host.machine(), &self.images), Ok(version("1.1.0")));
    }
}

#[test]
fn server_that_fails_in_any_way_is_a_network_fault_and_the_next_run_gets_there() {
    for (mood, text) in [
        (Mood::Fails, "500"),
        (Mood::Circle, "redirect"),
        (Mood::Closes, ""),
        (Mood::BreaksOff, ""),
    ] {
        let network = Network::new("download-only");
        network.server.set_mood(mood);
        for command in ["check", "update"] {
            let (exit, outcome) = network.host.json(&[command]);
            assert_eq!(
                (exit, &outcome["problem"]["code"]),
                (1, &"network".into()),
                "{mood:?}: {outcome:#}"
            );
            assert!(
                outcome["problem"]["text"].as_str().unwrap().contains(text),
                "{mood:?}: {outcome:#}"
            );
        }
        assert_eq!(network.host.machine(), network.before, "{mood:?}");
        network.server.set_mood(Mood::Well);
        network.converges();
    }
}

#[test]
fn server_that_fails_every_second_time_only_costs_time() {
    let network = Network::new("download-only");
    network.server.set_mood(Mood::FlipFlop);
    for _ in 0..20 {
        let (_, outcome) = network.host.json(&["update"]);
        if outcome["outcome"] == "staged" {
            assert_eq!(
                oracle::boots(&network.host.machine(), &network.images),
                Ok(version("1.1.0"))
            );
            return;
        }
        assert_eq!(outcome["problem"]["code"], "network", "{outcome:#}");
        intact(
            &network.host.machine(),
            &network.before,
            &network.images[1],
            "flip-flop",
        );
    }
    panic!("not staged in twenty runs");
}

#[test]
fn name_that_cannot_be_resolved_is_a_network_fault() {
    let network = Network::new("download-only");
    network
        .host
        .configure("[updates]\nrepository = \"http://repository.invalid/\"\nstrategy = \"download-only\"\n");
    let (exit, outcome) = network.host.json(&["update"]);
    assert_eq!(
        (exit, &outcome["problem"]["code"]),
        (1, &"network".into()),
        "{outcome:#}"
    );
    assert_eq!(network.host.machine(), network.before);
    network.host.configure(&network.server.configuration("download-only"));
    network.converges();
}

#[test]
fn lock_server_that_dies_after_granting_is_asked_again_with_the_same_id() {
    let network = Network::new("lock");
    network.server.set_lock(Lock::DiesAfterGranting);
    let _service = network.host.service();
    network.host.until("unsure of the lock", |status| {
        status["state"]["code"] == "lock-unknown" && status["lock"] == "unsure"
    });
    assert!(!network.host.asked_of_systemd().contains("reboot"));
    assert_eq!(network.server.holders().len(), 1, "granted, and nobody was told");
    network.server.set_lock(Lock::Grants);
    network.host.until("rebooting", |status| {
        status["state"]["phase"] == "rebooting" && network.host.asked_of_systemd().lines().any(|line| line == "reboot")
    });
    assert_eq!(network.server.holders().len(), 1, "one host is one holder");
}

#[test]
fn of_two_agents_at_once_one_proceeds() {
    let network = Network::new("download-only");
    let (first, second) = std::thread::scope(|scope| {
        let run = || scope.spawn(|| network.host.run(&["update"]).status.code());
        let (first, second) = (run(), run());
        (first.join().unwrap(), second.join().unwrap())
    });
    // Told that the other is at work, or come when it had finished.
    for exit in [first, second] {
        assert!(matches!(exit, Some(0 | 4)), "{first:?} {second:?}");
    }
    assert!(first == Some(0) || second == Some(0), "{first:?} {second:?}");
    assert_eq!(
        oracle::boots(&network.host.machine(), &network.images),
        Ok(version("1.1.0"))
    );
}

#[test]
fn clock_that_runs_ahead_or_is_set_back_is_no_way_in_and_no_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let signed = Signed::new(folder.path());
    let (document, files) = release(&images()[2], None);
    signed.publish(&document, &files);
    let root = signed.root();
    let now = jiff::Timestamp::now();
    let state = folder.path().join("host");
    let look = |at: jiff::Timestamp| {
        let mut repository = crate::world::folder(&signed.folder);
        let mut client = Client::open(&state, &root).unwrap();
        client
            .refresh(&mut repository, &FixedClock(at))
            .and_then(|refreshed| {
                client.channel(&mut repository, &FixedClock(at), &product(), "stable")?;
                Ok(refreshed.clock_went_back)
            })
            .map_err(|error| InstallError::from(error).code())
    };
    let years = |years: u64| Duration::from_hours(24 * 366 * years);
    assert_eq!(look(now), Ok(false));
    // Ahead: everything has expired, and that is said, and not remembered.
    assert_eq!(look(now + years(30)), Err("expired"));
    assert_eq!(look(now), Ok(false));
    // Back: noticed, and judged by the time that was seen.
    assert_eq!(look(now - years(5)), Ok(true));
    assert_eq!(look(now), Ok(false));
}
