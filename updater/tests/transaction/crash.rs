//! Power cuts: at every point of an update, with every way the writes since the last flush may have gone.
//!
//! One update is recorded. Then the machine is rebuilt up to each change, and what was not flushed by then reaches the medium in
//! part: all of it, none of it, or whatever the dice say, torn between sectors. Each such machine is judged by the oracle.

use std::collections::BTreeMap;

use twinhull_layout::Version;
use twinhull_trust::ReleaseDocument;
use twinhull_updater::install::install;

use crate::oracle;
use crate::recorder::{Machine, Op, Recorder, write_file};
use crate::world::{Files, Image, images, put, release, version};

const SECTOR: usize = 512;

/// What becomes of writes that were not flushed.
#[derive(Debug, Clone, Copy)]
enum Fate {
    AllLost,
    AllKept,
    Dice(u64),
}

/// A medium and what is on its way to it.
struct Medium {
    disk: Vec<u8>,
    disk_writes: Vec<(u64, Vec<u8>)>,
    /// Contents of files; names refer to them, and one may have two names for a moment.
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    names_now: BTreeMap<String, usize>,
    name_changes: Vec<(String, Option<usize>)>,
}

#[derive(Default)]
struct File {
    content: Vec<u8>,
    writes: Vec<(u64, Vec<u8>)>,
}

impl Medium {
    fn new(machine: &Machine) -> Self {
        let mut names = BTreeMap::new();
        let mut files = Vec::new();
        for (name, content) in &machine.entries {
            names.insert(name.clone(), files.len());
            files.push(File {
                content: content.clone(),
                writes: Vec::new(),
            });
        }
        Self {
            disk: machine.disk.clone(),
            disk_writes: Vec::new(),
            files,
            names_now: names.clone(),
            names,
            name_changes: Vec::new(),
        }
    }

    /// One change. An error if it relies on something that was not flushed.
    fn step(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::WriteDisk(offset, bytes) => self.disk_writes.push((*offset, bytes.clone())),
            Op::FlushDisk => {
                for (offset, bytes) in self.disk_writes.drain(..) {
                    put(&mut self.disk, offset, &bytes);
                }
            }
            Op::Forget(offset, length) => {
                let within = |at: u64| (*offset..offset + length).contains(&at);
                if self.disk_writes.iter().any(|(at, _)| within(*at)) {
                    return Err("what is read back was never flushed".to_owned());
                }
            }
            Op::Create(name) => {
                self.change_name(name, Some(self.files.len()));
                self.files.push(File::default());
            }
            Op::WriteEntry(name, offset, bytes) => {
                let file = self.names_now[name];
                self.files[file].writes.push((*offset, bytes.clone()));
            }
            Op::FlushEntry(name) => {
                let file = &mut self.files[self.names_now[name]];
                for (offset, bytes) in file.writes.drain(..) {
                    write_file(&mut file.content, offset, &bytes);
                }
            }
            Op::Rename(from, to) => {
                // FAT has no rename: a new name is written, and the old one taken away.
                let file = self.names_now[from];
                self.change_name(to, Some(file));
                self.change_name(from, None);
            }
            Op::Remove(name) => self.change_name(name, None),
            Op::FlushEntries => {
                for (name, file) in self.name_changes.drain(..) {
                    set(&mut self.names, name, file);
                }
            }
        }
        Ok(())
    }

    fn change_name(&mut self, name: &str, file: Option<usize>) {
        self.name_changes.push((name.to_owned(), file));
        set(&mut self.names_now, name.to_owned(), file);
    }

    /// The power goes.
    fn cut(&self, fate: Fate) -> Machine {
        let mut dice = Dice::new(fate);
        let mut disk = self.disk.clone();
        for (offset, bytes) in &self.disk_writes {
            put(&mut disk, *offset, &bytes[..dice.kept(bytes.len())]);
        }
        let contents: Vec<Vec<u8>> = self
            .files
            .iter()
            .map(|file| {
                let mut content = file.content.clone();
                for (offset, bytes) in &file.writes {
                    write_file(&mut content, *offset, &bytes[..dice.kept(bytes.len())]);
                }
                content
            })
            .collect();
        let mut names = self.names.clone();
        for (name, file) in &self.name_changes {
            if dice.kept(1) == 1 {
                set(&mut names, name.clone(), *file);
            }
        }
        Machine {
            disk,
            entries: names
                .into_iter()
                .map(|(name, file)| (name, contents[file].clone()))
                .collect(),
        }
    }
}

fn set(names: &mut BTreeMap<String, usize>, name: String, file: Option<usize>) {
    match file {
        Some(file) => drop(names.insert(name, file)),
        None => drop(names.remove(&name)),
    }
}

/// Decides how much of each write is kept.
struct Dice {
    fate: Fate,
    state: u64,
}

impl Dice {
    fn new(fate: Fate) -> Self {
        let state = match fate {
            // Each cut throws less than this often.
            Fate::Dice(seed) => seed * 1000,
            _ => 0,
        };
        Self { fate, state }
    }

    fn throw(&mut self, sides: usize) -> usize {
        self.state += 1;
        let word = crate::world::noise(self.state << 8, 8);
        usize::from(u16::from_le_bytes([word[0], word[1]])) % sides
    }

    /// Sectors of a torn write that reach the medium. What matters is mostly at one of the ends.
    fn tear(&mut self, sectors: usize) -> usize {
        match self.throw(4) {
            0 => 1.min(sectors - 1),
            1 => 2.min(sectors - 1),
            2 => sectors - 1,
            _ => self.throw(sectors),
        }
    }

    /// Bytes that reach the medium: all, none, or some sectors from the start.
    fn kept(&mut self, length: usize) -> usize {
        match self.fate {
            Fate::AllLost => 0,
            Fate::AllKept => length,
            Fate::Dice(_) => match self.throw(3) {
                0 => 0,
                1 => length,
                _ => self.tear(length.div_ceil(SECTOR)) * SECTOR,
            },
        }
    }
}

/// A recorded update from 1.0.0 to 1.1.0, over a 0.9.0 that could still boot.
struct Recording {
    images: [Image; 3],
    release: ReleaseDocument,
    files: BTreeMap<String, Vec<u8>>,
    start: Machine,
    log: Vec<Op>,
}

impl Recording {
    fn new() -> Self {
        let images = images();
        let (release, files) = release(&images[2], Some(&images[1]));
        let start = Machine::new(&images[1], Some(&images[0]));
        let io = Recorder::new(start.clone(), &images[1]);
        let mut repository = Files::new(files.clone());
        install(&io, &mut repository, &images[1].running(), &release, &mut |_| {}).unwrap();
        let (_, log) = io.into_parts();
        Self {
            images,
            release,
            files,
            start,
            log,
        }
    }

    /// Judges the machine after each change of `log` but the first `skip`, for each fate. The first verdict that is no release that may boot is the
    /// error. After the last change the new release boots whatever was lost: the update was reported as done.
    fn judge(
        &self,
        log: &[Op],
        skip: usize,
        fates: &[Fate],
        mut each: impl FnMut(usize, Fate, &Machine, &Version),
    ) -> Result<usize, String> {
        let mut medium = Medium::new(&self.start);
        let mut states = 0;
        for (index, op) in log.iter().enumerate() {
            medium
                .step(op)
                .map_err(|problem| format!("after {index} changes: {problem}"))?;
            if index < skip {
                continue;
            }
            for fate in fates {
                let machine = medium.cut(*fate);
                let told = |problem| format!("after {index} changes ({fate:?}): {problem}");
                let boots = oracle::boots(&machine, &self.images).map_err(told)?;
                let done = index + 1 == log.len();
                if boots == version("0.9.0") || (done && boots != version("1.1.0")) {
                    return Err(told(format!("{boots} boots")));
                }
                states += 1;
                each(index, *fate, &machine, &boots);
            }
        }
        Ok(states)
    }
}

fn fates(dice: u64) -> Vec<Fate> {
    let mut fates = vec![Fate::AllLost, Fate::AllKept];
    fates.extend((1..=dice).map(Fate::Dice));
    fates
}

#[test]
fn power_cut_anywhere_leaves_a_whole_release_that_boots() {
    let recording = Recording::new();
    let states = recording.judge(&recording.log, 0, &fates(12), |_, _, _, _| {}).unwrap();
    assert!(states > 300, "{states}");
}

#[test]
fn update_begun_again_after_any_cut_comes_to_its_end() {
    let recording = Recording::new();
    let [_, old, new] = &recording.images;
    let mut rerun = 0;
    recording
        .judge(&recording.log, 0, &fates(1), |index, fate, machine, boots| {
            if *boots == new.version {
                return;
            }
            let io = Recorder::new(machine.clone(), old);
            let mut repository = Files::new(recording.files.clone());
            install(&io, &mut repository, &old.running(), &recording.release, &mut |_| {})
                .unwrap_or_else(|error| panic!("after {index} changes ({fate:?}): {error}"));
            let (machine, _) = io.into_parts();
            assert_eq!(oracle::boots(&machine, &recording.images), Ok(new.version.clone()));
            assert_eq!(machine.entries.len(), 2, "nothing is left behind");
            rerun += 1;
        })
        .unwrap();
    assert!(rerun > 60, "{rerun}");
}

#[test]
fn every_flush_is_needed() {
    let recording = Recording::new();
    let flushes: Vec<usize> = (0..recording.log.len())
        .filter(|index| recording.log[*index].is_flush())
        .collect();
    assert!(flushes.len() >= 8, "{flushes:?}");
    for flush in flushes {
        let mut log = recording.log.clone();
        let removed = log.remove(flush);
        // Before that change the recording is the one that was judged whole.
        let verdict = recording.judge(&log, flush - 1, &fates(60), |_, _, _, _| {});
        assert!(
            verdict.is_err(),
            "nobody notices that change {flush}, {removed:?}, is missing"
        );
    }
}

#[test]
fn order_of_the_steps_is_needed() {
    let recording = Recording::new();
    let position = |wanted: &dyn Fn(&Op) -> bool| recording.log.iter().position(wanted).unwrap();
    let last_disk = recording.log.iter().rposition(|op| *op == Op::FlushDisk).unwrap();
    let removal = position(&|op| matches!(op, Op::Remove(_)));
    let rename = position(&|op| matches!(op, Op::Rename(..)));

    // The old entry goes after its slot was given up.
    let mut log = recording.log.clone();
    let removed: Vec<Op> = log.drain(removal..removal + 2).collect();
    log.splice(last_disk - 2..last_disk - 2, removed);
    assert!(recording.judge(&log, 0, &fates(2), |_, _, _, _| {}).is_err());

    // The new entry comes before the partition table names its slot.
    let mut log = recording.log.clone();
    let committed: Vec<Op> = log.drain(rename..).collect();
    let create = position(&|op| matches!(op, Op::Create(_)));
    let kernel: Vec<Op> = log.drain(create..).collect();
    let assign = last_disk - 3;
    log.splice(assign..assign, kernel.into_iter().chain(committed));
    assert!(recording.judge(&log, 0, &fates(2), |_, _, _, _| {}).is_err());
}
