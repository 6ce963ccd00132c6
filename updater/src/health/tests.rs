//! The check with units and time of its own making, and real scripts.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;

use super::*;
use crate::script;

/// Units that go through a list of states, one for each look, and stay at the last.
struct Fleet(RefCell<BTreeMap<String, Vec<State>>>);

impl Probe for Fleet {
    fn state(&self, subject: &Subject) -> State {
        let mut units = self.0.borrow_mut();
        let states = units.get_mut(&subject.to_string()).unwrap();
        if states.len() > 1 {
            states.remove(0)
        } else {
            states[0].clone()
        }
    }
}

/// Time that only passes when somebody pauses.
#[derive(Default)]
struct Still(Cell<Duration>);

impl Stopwatch for Still {
    fn elapsed(&self) -> Duration {
        self.0.get()
    }

    fn pause(&self, time: Duration) {
        self.0.set(self.0.get() + time);
    }
}

fn health(units: &[&str]) -> Health {
    Health {
        required: units.iter().map(|name| Subject::Unit((*name).to_owned())).collect(),
        reported: Vec::new(),
        settle: Duration::from_secs(5),
        timeout: Duration::from_mins(1),
        script: Duration::from_secs(10),
    }
}

fn fleet(units: &[(&str, &[State])]) -> Fleet {
    Fleet(RefCell::new(
        units
            .iter()
            .map(|(name, states)| (format!("unit {name}"), states.to_vec()))
            .collect(),
    ))
}

fn starting() -> State {
    State::Other("activating".to_owned())
}

fn folders(required: &[PathBuf]) -> Folders {
    Folders {
        required: required.to_vec(),
        reported: Vec::new(),
    }
}

/// What decides.
fn wrong(units: &[&str], fleet: &Fleet, time: &Still) -> Vec<String> {
    check(&health(units), fleet, &folders(&[]), time).wrong
}

#[test]
fn unit_may_take_its_time() {
    let fleet = fleet(&[("a.service", &[starting(), starting(), State::Up])]);
    assert_eq!(wrong(&["a.service"], &fleet, &Still::default()), Vec::<String>::new());
}

#[test]
fn unit_that_never_comes_up_is_named_with_its_state_and_time() {
    let fleet = fleet(&[("a.service", &[State::Up]), ("b.service", &[starting()])]);
    let wrong = wrong(&["a.service", "b.service"], &fleet, &Still::default());
    assert_eq!(wrong, ["unit b.service is activating after 60 s"]);
}

#[test]
fn failed_unit_is_not_waited_for() {
    let time = Still::default();
    let fleet = fleet(&[("a.service", &[State::Failed])]);
    assert_eq!(wrong(&["a.service"], &fleet, &time), ["unit a.service is failed"]);
    assert_eq!(time.elapsed(), Duration::ZERO);
}

#[test]
fn unit_that_comes_up_and_falls_over_is_noticed() {
    let time = Still::default();
    let fleet = fleet(&[("a.service", &[State::Up, starting()])]);
    let wrong = wrong(&["a.service"], &fleet, &time);
    assert_eq!(wrong, ["unit a.service is activating, having been up before"]);
    assert_eq!(time.elapsed(), Duration::from_secs(5));
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        script::write(&path, text);
        path
    }
}

#[test]
fn scripts_run_in_order_and_each_failure_is_told_with_its_last_line() {
    let folder = Folder::new();
    let log = folder.0.path().join("log.txt");
    folder.script(
        "20-bad",
        &format!(
            "echo 20 >> {}; echo first; echo disk is slow >&2; exit 3",
            log.display()
        ),
    );
    folder.script("10-good", &format!("echo 10 >> {}", log.display()));
    fs::write(folder.0.path().join("README"), "no script").unwrap();
    let scripts = folders(&[folder.0.path().to_owned()]);
    let wrong = check(&health(&[]), &fleet(&[]), &scripts, &Still::default()).wrong;
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(
        wrong[0].ends_with("20-bad failed (exit status: 3): disk is slow"),
        "{}",
        wrong[0]
    );
    assert_eq!(fs::read_to_string(log).unwrap(), "10\n20\n");
}

#[test]
fn what_is_only_reported_decides_nothing() {
    let folder = Folder::new();
    folder.script("10-slow", "echo disk is slow; exit 1");
    let mut health = health(&["a.service"]);
    health.reported = vec![Subject::Container("web".to_owned())];
    let mut fleet = fleet(&[("a.service", &[State::Up])]);
    let exited = vec![State::Other("exited".to_owned())];
    fleet.0.get_mut().insert("container web".to_owned(), exited);
    let folders = Folders {
        required: Vec::new(),
        reported: vec![folder.0.path().to_owned()],
    };
    let found = check(&health, &fleet, &folders, &Still::default());
    assert_eq!(found.wrong, Vec::<String>::new());
    assert_eq!(found.reported[0], "container web is exited");
    assert!(found.reported[1].ends_with("10-slow failed (exit status: 1): disk is slow"));
}

#[test]
fn script_that_hangs_is_killed_with_what_it_started() {
    let folder = Folder::new();
    let path = folder.script("10-hangs", "sleep 1000 & echo waiting; wait");
    let wrong = scripts::run(&path, Duration::from_millis(300)).unwrap_err();
    assert!(
        wrong.contains("took longer than") && wrong.ends_with("waiting"),
        "{wrong}"
    );
}

#[test]
fn script_that_cannot_be_run_is_unhealthy() {
    let folder = Folder::new();
    let path = folder.script("10-odd", "");
    fs::write(&path, "#!/does/not/exist\n").unwrap();
    assert!(
        scripts::run(&path, Duration::from_secs(1))
            .unwrap_err()
            .starts_with("could not be run")
    );
}

#[test]
fn report_survives_and_is_forgotten_when_told() {
    let folder = Folder::new();
    let path = folder.0.path().join("deep/health.json");
    let report = Report {
        version: "1.2.0".parse().unwrap(),
        at: Timestamp::UNIX_EPOCH,
        reasons: vec!["unit a.service is failed".to_owned()],
    };
    write_report(&path, &report).unwrap();
    assert_eq!(read_report(&path), Some(report));
    forget(&path).unwrap();
    assert_eq!(read_report::<Report>(&path), None);
}
