//! Power cuts: at every point of an update, of a blessing and of a way back, with every way the writes since the last flush may
//! have gone.
//!
//! What the agent does is recorded once. Then it is done again on a disk whose EFI system partition is a FAT volume, written as
//! the kernel writes it ([`vfat`]), and at every write the power goes: every subset of up to twelve writes that were not flushed
//! reaches the medium, else a sample; the last of them also torn between sectors and with garbage. Each such disk is judged by
//! [`loader`], and the agent is started again on it. `docs/crash-testing.md` says what is modelled and what is not.

mod folder;
mod image;
mod life;
mod loader;
mod vfat;

use std::collections::{BTreeMap, HashSet};

use twinhull_trust::ReleaseDocument;
use twinhull_updater::install::install;
use twinhull_updater::io::Io;
use twinhull_updater::machine::Known;
use twinhull_updater::rollback;

use image::Image as Disk;
use life::Life;
use loader::Boot;
use vfat::Medium;

use crate::recorder::{Machine, Op, Recorder};
use crate::world::{Files, Image, images, noise, release};

const SECTOR: usize = 512;

/// How much is tried.
#[derive(Clone, Copy)]
struct Effort {
    /// Up to so many writes, all subsets of them.
    exhaustive: usize,
    /// Of more, so many samples at each write.
    samples: usize,
    /// The agent is started again on each so manieth state.
    rerun: usize,
    seed: u64,
}

/// For every test run.
const REDUCED: Effort = Effort {
    exhaustive: 7,
    samples: 12,
    rerun: 60,
    seed: 1,
};

/// For a mutation, which is mostly caught at once.
const CONTROL: Effort = Effort {
    exhaustive: 6,
    samples: 16,
    rerun: usize::MAX,
    seed: 1,
};

/// Something that is done to a machine.
struct Story {
    name: &'static str,
    images: [Image; 3],
    /// What the agent does, if it is the agent that does it.
    deed: Option<Deed>,
    start: Medium,
    log: Vec<Op>,
    /// What may boot at any time.
    may: fn(&Boot) -> bool,
    /// What boots once it is reported as done.
    ends: fn(&Boot) -> bool,
}

/// What the agent does, from the start or from what a cut has left.
enum Deed {
    Install(Box<ReleaseDocument>, BTreeMap<String, Vec<u8>>),
    RollBack,
}

impl Deed {
    /// The release that runs meanwhile.
    fn running(&self) -> usize {
        match self {
            Self::Install(..) => 1,
            Self::RollBack => 2,
        }
    }

    fn does(&self, io: &dyn Io, images: &[Image; 3]) -> Result<(), String> {
        let running = images[self.running()].running();
        match self {
            Self::Install(document, files) => {
                let mut repository = Files::new(files.clone());
                install(io, &mut repository, &running, document, &mut |_| {})
                    .map(drop)
                    .map_err(|error| error.to_string())
            }
            Self::RollBack => rollback::find(io, &running, &Known::default(), &mut |_| {})
                .and_then(|way| rollback::take(io, &way))
                .map_err(|error| error.to_string()),
        }
    }
}

#[derive(Default)]
struct Verdict {
    states: usize,
    reruns: usize,
    unbootable: Vec<String>,
    not_converged: Vec<String>,
}

/// Files of somebody else, so that a name of ours lies across two sectors of the folder.
fn crowded(mut machine: Machine) -> Machine {
    for name in ["readme-of-the-first.txt", "readme-of-the-other.txt"] {
        machine.entries.insert(name.to_owned(), b"not ours".to_vec());
    }
    machine
}

/// The agent does `deed` on `machine`.
fn deed(
    name: &'static str,
    images: [Image; 3],
    machine: Machine,
    deed: Deed,
    may: fn(&Boot) -> bool,
    ends: fn(&Boot) -> bool,
) -> Story {
    let machine = crowded(machine);
    let io = Recorder::new(machine.clone(), &images[deed.running()]);
    deed.does(&io, &images).unwrap();
    let (_, log) = io.into_parts();
    Story {
        name,
        images,
        deed: Some(deed),
        start: Medium::new(&machine),
        log,
        may,
        ends,
    }
}

fn install_story(name: &'static str, start: impl Fn(&[Image; 3]) -> Machine) -> Story {
    let images = images();
    let machine = start(&images);
    let (document, files) = release(&images[2], Some(&images[1]));
    deed(
        name,
        images,
        machine,
        Deed::Install(Box::new(document), files),
        |boot| boot.release == 1 || (boot.release == 2 && boot.counter == Some(3)),
        |boot| boot.release == 2 && boot.counter == Some(3),
    )
}

/// 1.0.0 becomes 1.1.0, over a 0.9.0 that could still boot.
fn update() -> Story {
    install_story("update", |images| Machine::new(&images[1], Some(&images[0])))
}

/// 1.1.0 is left for 1.0.0 by hand. It stays in the boot menu throughout.
fn roll_back() -> Story {
    let images = images();
    let mut machine = Machine::new(&images[1], Some(&images[2]));
    // So many that the name of the copy lies across two sectors that hold nothing of the entry itself.
    for number in 1..6 {
        machine
            .entries
            .insert(format!("letter-of-the-{number}.txt"), b"not ours".to_vec());
    }
    deed(
        "rollback",
        images,
        machine,
        Deed::RollBack,
        |boot| boot.offered.iter().any(|(release, _)| *release == 2),
        |boot| boot.release == 1 && boot.offered.contains(&(2, Some(0))),
    )
}

/// The same over a 1.1.0 that failed, which must never boot without a counter again.
fn retry() -> Story {
    let start = |images: &[Image; 3]| {
        let mut machine = Machine::new(&images[1], Some(&images[2]));
        let kernel = machine.entries.remove(&images[2].entry()).unwrap();
        machine
            .entries
            .insert("twinhull-server_1.1.0+0-3.efi".to_owned(), kernel);
        machine
    };
    install_story("retry", start)
}

/// An entry gets another name: by the loader, or by systemd-bless-boot.
fn rename(name: &'static str, from: &str, to: &str, ends: fn(&Boot) -> bool) -> Story {
    let images = images();
    let mut machine = Machine::new(&images[1], Some(&images[2]));
    let kernel = machine.entries.remove(&images[2].entry()).unwrap();
    machine.entries.insert(from.to_owned(), kernel);
    Story {
        name,
        images,
        deed: None,
        start: Medium::new(&crowded(machine)),
        log: vec![Op::Rename(from.to_owned(), to.to_owned()), Op::FlushEntries],
        may: |boot| boot.release > 0,
        ends,
    }
}

fn stories() -> Vec<Story> {
    let (fresh, tried) = ("twinhull-server_1.1.0+3-0.efi", "twinhull-server_1.1.0+2-1.efi");
    let blessed = "twinhull-server_1.1.0.efi";
    vec![
        update(),
        roll_back(),
        retry(),
        rename("count", fresh, tried, |boot| boot.counter == Some(2)),
        rename("bless", tried, blessed, |boot| {
            boot.release == 2 && boot.counter.is_none()
        }),
    ]
}

/// What becomes of the last write.
#[derive(Clone, Copy)]
enum Last {
    Whole,
    /// Sectors before this one only.
    Before(usize),
    /// Sectors from this one on only.
    From(usize),
    /// Sectors before this one, and garbage in this one.
    Garbage(usize),
}

/// The disk after a cut: what was flushed, and of the rest what `kept` says.
fn cut(medium: &Medium, kept: impl Fn(usize) -> bool, last: Last) -> Disk {
    let mut disk = medium.durable.clone();
    let Some((newest, others)) = medium.pending.split_last() else {
        return disk;
    };
    for (index, write) in others.iter().enumerate() {
        if kept(index) {
            disk.write(write.offset, &write.bytes);
        }
    }
    let at = |sector: usize| (newest.offset + (sector * SECTOR) as u64, sector * SECTOR);
    match last {
        Last::Whole => disk.write(newest.offset, &newest.bytes),
        Last::Before(sector) => disk.write(newest.offset, &newest.bytes[..sector * SECTOR]),
        Last::From(sector) => disk.write(at(sector).0, &newest.bytes[at(sector).1..]),
        Last::Garbage(sector) => {
            disk.write(newest.offset, &newest.bytes[..sector * SECTOR]);
            let length = SECTOR.min(newest.bytes.len() - sector * SECTOR);
            disk.write(at(sector).0, &noise(sector as u64 + 99, length));
        }
    }
    disk
}

fn cuts(medium: &Medium, effort: Effort, dice: &mut u64, each: &mut dyn FnMut(Disk)) {
    let count = medium.pending.len();
    each(medium.durable.clone());
    if count == 0 {
        return;
    }
    let others = count - 1;
    if count <= effort.exhaustive {
        for mask in 0..1_u32 << others {
            each(cut(medium, |index| mask >> index & 1 == 1, Last::Whole));
        }
    } else {
        each(cut(medium, |_| false, Last::Whole));
        each(cut(medium, |_| true, Last::Whole));
        for _ in 0..effort.samples {
            *dice += 1;
            let bits = noise(*dice << 20 | effort.seed, others);
            each(cut(medium, |index| bits[index] & 1 == 1, Last::Whole));
        }
    }
    let newest = &medium.pending[others];
    if medium.may_tear(newest.offset) {
        let sectors = newest.bytes.len().div_ceil(SECTOR);
        for keep in [false, true] {
            for sector in 1..sectors {
                each(cut(medium, |_| keep, Last::Before(sector)));
                each(cut(medium, |_| keep, Last::From(sector)));
            }
            for sector in 0..sectors {
                each(cut(medium, |_| keep, Last::Garbage(sector)));
            }
        }
        // Both copies of a table at once, if nothing keeps them apart: of the primary, its header alone.
        if let Some(before) = others.checked_sub(1).map(|index| &medium.pending[index])
            && medium.may_tear(before.offset)
            && sectors > 1
        {
            let mut torn = medium.clone();
            let half = before.bytes.len() / SECTOR / 2 * SECTOR;
            torn.pending[others - 1].bytes = before.bytes[..half].into();
            each(cut(&torn, |_| true, Last::Before(1)));
        }
    }
}

impl Story {
    /// Cuts the power at every write from change `skip` on. The error is for a mutation that could not even be carried out.
    fn judge(&self, log: &[Op], skip: usize, effort: Effort, only_first: bool) -> Result<Verdict, String> {
        let mut verdict = Verdict::default();
        let mut known = HashSet::new();
        let mut dice = 0;
        let mut medium = self.start.clone();
        for (index, op) in log.iter().enumerate() {
            let mut see = |medium: &Medium| {
                if index < skip || only_first && !verdict.unbootable.is_empty() {
                    return;
                }
                cuts(medium, effort, &mut dice, &mut |disk| {
                    if !known.insert(disk.differs(&self.start.durable)) {
                        return;
                    }
                    verdict.states += 1;
                    let told = |what: String| format!("{}, change {index}: {what}", self.name);
                    match loader::boots(&disk, &self.images) {
                        Err(problem) => verdict.unbootable.push(told(problem)),
                        Ok(boot) if !(self.may)(&boot) => verdict.unbootable.push(told(format!("{boot:?} boots"))),
                        Ok(boot) if verdict.states % effort.rerun == 0 => {
                            if let Some(deed) = self.deed.as_ref().filter(|deed| deed.running() == boot.release) {
                                verdict.reruns += 1;
                                if let Err(problem) = self.run_again(disk, deed) {
                                    verdict.not_converged.push(told(problem));
                                }
                            }
                        }
                        Ok(_) => {}
                    }
                });
            };
            if let Err(problem) = medium.step(op, &mut see) {
                return if problem.starts_with("no file") {
                    Err(problem)
                } else {
                    verdict.unbootable.push(problem);
                    Ok(verdict)
                };
            }
        }
        match loader::boots(&medium.durable, &self.images) {
            Ok(boot) if (self.ends)(&boot) => {}
            other => verdict
                .unbootable
                .push(format!("{}: reported as done, and {other:?}", self.name)),
        }
        Ok(verdict)
    }

    /// The agent started on what a cut left. A volume that the driver gave up on is mounted again, as at the next boot.
    fn run_again(&self, disk: Disk, deed: &Deed) -> Result<(), String> {
        let mut disk = disk;
        let mut outcome = Err("never run".to_owned());
        for _ in 0..3 {
            let mut medium = Medium::mount(disk);
            let io = Recorder::new(medium.machine(), &self.images[deed.running()]);
            deed.does(&io, &self.images)?;
            let (_, log) = io.into_parts();
            outcome = log.iter().try_for_each(|op| medium.step(op, &mut |_| {}));
            if outcome.is_ok() {
                let boot = loader::boots(&medium.durable, &self.images)?;
                return if (self.ends)(&boot) {
                    Ok(())
                } else {
                    Err(format!("{boot:?} boots"))
                };
            }
            disk = medium.unmounted();
        }
        outcome
    }

    /// Changes that leave out one flush, or do one step before the one it must follow: what, from where on, and the changed log.
    fn mutations(&self) -> Vec<(String, usize, Vec<Op>)> {
        let mut mutations = Vec::new();
        for (index, op) in self.log.iter().enumerate().filter(|(_, op)| op.is_flush()) {
            let mut log = self.log.clone();
            log.remove(index);
            mutations.push((format!("{} without change {index}, {op:?}", self.name), index - 1, log));
        }
        if !matches!(self.deed, Some(Deed::Install(..))) {
            return mutations;
        }
        let steps = self.steps();
        let names = [
            "heads gone",
            "table without the slot",
            "root",
            "table with the slot",
            "content",
            "head",
        ];
        for (earlier, later) in [(0, 1), (1, 2), (2, 3), (3, 5), (4, 5)] {
            let (a, b) = (steps[earlier].clone(), steps[later].clone());
            let mut log = self.log.clone();
            let moved: Vec<Op> = log.drain(b).collect();
            log.splice(a.start..a.start, moved);
            let what = format!("{}: {:?} before {:?}", self.name, names[later], names[earlier]);
            mutations.push((what, a.start, log));
        }
        mutations
    }

    /// The steps that have an order. The name of the new entry is made between the last two tables and the content, and its place
    /// is no matter of safety: it has no content.
    fn steps(&self) -> [std::ops::Range<usize>; 6] {
        let find =
            |from: usize, wanted: &dyn Fn(&Op) -> bool| from + self.log[from..].iter().position(wanted).unwrap() + 1;
        let head = find(0, &|op| matches!(op, Op::FlushEntry(_)));
        let removed = find(head, &|op| matches!(op, Op::Remove(_)));
        let disk = |from| find(from, &|op| *op == Op::FlushDisk);
        let emptied = disk(disk(removed));
        let root = disk(emptied);
        let forgotten = root
            + self.log[root..]
                .iter()
                .take_while(|op| matches!(op, Op::Forget(..)))
                .count();
        let assigned = disk(disk(forgotten));
        let name = find(assigned, &|op| *op == Op::FlushEntries);
        let content = find(name, &|op| matches!(op, Op::FlushEntry(_)));
        [
            0..head,
            removed..emptied,
            emptied..root,
            forgotten..assigned,
            name..content,
            content..self.log.len(),
        ]
    }
}

/// Which mutations nobody noticed, and how many there were.
fn unnoticed(stories: &[Story]) -> (usize, Vec<String>) {
    let mut count = 0;
    let mut missed = Vec::new();
    for story in stories {
        for (what, from, log) in story.mutations() {
            count += 1;
            match story.judge(&log, from, CONTROL, true) {
                Ok(verdict) if verdict.unbootable.is_empty() => missed.push(what),
                _ => {}
            }
        }
    }
    (count, missed)
}

#[test]
fn power_cut_anywhere_leaves_a_whole_release_that_boots_and_an_agent_that_goes_on() {
    let mut states = 0;
    for story in stories() {
        let verdict = story.judge(&story.log, 0, REDUCED, false).unwrap();
        assert_eq!(verdict.unbootable, [""; 0]);
        assert_eq!(verdict.not_converged, [""; 0]);
        states += verdict.states;
    }
    assert!(states > 2000, "{states}");
}

#[test]
fn every_flush_and_every_order_is_needed() {
    let (count, missed) = unnoticed(&[update(), roll_back()]);
    assert_eq!(missed, [""; 0], "of {count}");
    assert!(count >= 12, "{count}");
}

#[test]
fn power_cut_in_the_agents_own_files_makes_it_forget_nothing() {
    let life = Life::record();
    let verdict = life.judge_recorded(REDUCED);
    assert_eq!(verdict.forgotten, [""; 0]);
    assert_eq!(verdict.not_converged, [""; 0]);
    assert!(
        verdict.states > 200 && verdict.reruns > 10,
        "{} {}",
        verdict.states,
        verdict.reruns
    );
}

#[test]
fn every_flush_and_every_order_of_the_agents_own_files_is_needed() {
    let (count, missed) = Life::record().unnoticed(CONTROL);
    assert_eq!(missed, [""; 0], "of {count}");
}

/// `cargo xtask crash`.
#[test]
#[ignore = "minutes; cargo xtask crash runs it"]
fn full() {
    let seed = std::env::var("TWINHULL_CRASH_SEED").map_or(1, |seed| seed.parse().unwrap());
    let effort = Effort {
        exhaustive: 12,
        samples: 1000,
        rerun: 100,
        seed,
    };
    let stories = stories();
    let judged: Vec<Verdict> = std::thread::scope(|scope| {
        let work = |story: &'static str| {
            scope.spawn(move || {
                let story = self::stories().into_iter().find(|one| one.name == story).unwrap();
                story.judge(&story.log, 0, effort, false).unwrap()
            })
        };
        let running: Vec<_> = stories.iter().map(|story| work(story.name)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let life = Life::record();
    let lived = life.judge_recorded(Effort { rerun: 20, ..REDUCED });
    let (mut mutations, mut missed) = unnoticed(&stories[..2]);
    let (more, also_missed) = life.unnoticed(CONTROL);
    mutations += more;
    missed.extend(also_missed);
    let sum = |of: fn(&Verdict) -> usize| judged.iter().map(of).sum::<usize>();
    for (story, verdict) in stories.iter().zip(&judged) {
        eprintln!(
            "{:10} {:7} states, agent started again on {}",
            story.name, verdict.states, verdict.reruns
        );
        for problem in verdict.unbootable.iter().chain(&verdict.not_converged).take(5) {
            eprintln!("  {problem}");
        }
    }
    eprintln!(
        "{:10} {:7} states, agent started again on {}",
        "own files", lived.states, lived.reruns
    );
    for problem in lived.forgotten.iter().chain(&lived.not_converged).take(5) {
        eprintln!("  {problem}");
    }
    for mutation in &missed {
        eprintln!("not noticed: {mutation}");
    }
    let figures = serde_json::json!({
        "crash.states": sum(|verdict| verdict.states) + lived.states,
        "crash.unbootable": sum(|verdict| verdict.unbootable.len()),
        "crash.floor_lost": lived.forgotten.len(),
        "crash.restarts": sum(|verdict| verdict.reruns) + lived.reruns,
        "crash.not_converged": sum(|verdict| verdict.not_converged.len()) + lived.not_converged.len(),
        "crash.mutations": mutations,
        "crash.mutations_caught": mutations - missed.len(),
    });
    match std::env::var_os("TWINHULL_CRASH_FIGURES") {
        Some(path) => std::fs::write(path, figures.to_string()).unwrap(),
        None => println!("{figures:#}"),
    }
}
