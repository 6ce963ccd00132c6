//! Power cuts anywhere in an update: download, write, commit, first boot, bless.
//!
//! One update is recorded, with every write and flush of the kernel, the agent, the firmware and the loader. Then it is played
//! again, and at each flush the states that a cut could leave are looked at: thousands, in less time than a single boot
//! takes. A few of them are booted for real and have to become a healthy host of the new release, or begin to.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use tokio::task::JoinSet;
use twinhull_layout::Slot;

use super::agent;
use super::seats::Seat;
use super::stage::{Host, Site, Stage, copy_sparse};
use super::update::check_running;
use crate::artefacts::Image;
use crate::disk::{Disk, Judge};
use crate::error::{Error, Result, expect};
use crate::random::Random;
use crate::write_log::{Replay, Write, WriteLog};

/// With so many pending writes or fewer, every subset is looked at.
const ALL_SUBSETS: usize = 7;
/// With more, so many drawn by chance, beside every prefix.
const DRAWN_SUBSETS: usize = 64;
/// A write is torn after each of its first sectors: a folder or a table has no more, and the content of a file comes before
/// its name.
const TORN_SECTORS: u64 = 8;
/// Of the states that are booted every tenth is followed until the host is a healthy one of the new release, and the first of them in
/// the middle of ten. The others have to get as far as an update that writes to the other slot, which costs less than half of that.
const FOLLOWED: usize = 10;
/// Every run looks at the same states.
const SEED: u64 = 0x0074_7769_6e68_756c;

/// Figure: states that were booted.
const BOOTED: &str = "qemu.power_cuts";
/// Figure: states whose disk was looked at.
const LOOKED_AT: &str = "qemu.power_cuts.states";
/// Figure: states of either kind in which a host would have been, or was, lost.
const LOST: &str = "qemu.unbootable";

pub(super) async fn run(stage: Rc<Stage>) -> Result<()> {
    let (old, new) = (stage.image("1.0.0")?, stage.image("1.1.0")?);
    stage.step("publishing 1.1.0");
    let repository = stage.repository("repo").await?;
    repository.offer(&new, Some(&old)).await?;
    let releases = stage.serve(&repository).await?;
    let site = Site {
        spared: true,
        ..stage.site(&releases, None, "immediate")
    };

    let log = record(&stage, &old, &new, &site).await?;

    stage.step("cutting the power in every state between two flushes");
    let disk = fresh(&stage, &old).await?;
    let mut sweep = Sweep::new(&stage, &disk, &[&old, &new])?;
    let mut replay = Replay::new(WriteLog::open(&log)?, &disk)?;
    stage.count(LOST, 0);
    while replay.until_flush()? {
        let looked = sweep.interval(&replay);
        stage.count(LOST, looked.is_err().into());
        looked?;
        replay.flush()?;
        // Other scenarios share this thread.
        tokio::task::yield_now().await;
    }
    stage.count(LOOKED_AT, sweep.states);
    sweep.conclude(&old, &new)?;
    let chosen = spread(sweep.states, stage.power_cuts().into());
    stage.step(format!(
        "{} states looked at, none of them lost; booting {} of them",
        sweep.states,
        chosen.len()
    ));
    let mut replay = Replay::new(WriteLog::open(&log)?, &fresh(&stage, &old).await?)?;
    let mut boots = Boots::new(&stage);
    let mut number = 0;
    while replay.until_flush()? {
        let end = number + states(replay.pending(), &sweep.watched).len() as u64;
        for (place, wanted) in chosen
            .iter()
            .enumerate()
            .filter(|(_, wanted)| (number..end).contains(wanted))
        {
            let index = usize::try_from(wanted - number).unwrap_or_default();
            let cut = cut_disk(&stage, &replay, &sweep.watched, index, *wanted).await?;
            let cut = Cut {
                number: *wanted,
                disk: cut,
                followed: place % FOLLOWED == FOLLOWED / 2,
            };
            boots
                .start(recovers(Rc::clone(&stage), cut, new.clone(), site.clone()))
                .await?;
        }
        number = end;
        replay.flush()?;
    }
    boots.all_ended().await
}

/// States that are booted side by side: one on the scenario's own seat, and others where there is room.
struct Boots {
    stage: Rc<Stage>,
    running: JoinSet<(Option<Seat>, Result<()>)>,
    /// Whether the scenario's own seat is free.
    own_seat: bool,
}

impl Boots {
    fn new(stage: &Rc<Stage>) -> Self {
        Self {
            stage: Rc::clone(stage),
            running: JoinSet::new(),
            own_seat: true,
        }
    }

    /// Starts a boot once there is a seat for it. The first boot that failed is the error.
    async fn start(&mut self, boot: impl Future<Output = Result<()>> + 'static) -> Result<()> {
        let seat = loop {
            if std::mem::take(&mut self.own_seat) {
                break None;
            }
            match self.stage.spare_seat() {
                Some(seat) => break Some(seat),
                None => self.one_ended().await?,
            }
        };
        self.running.spawn_local(async move { (seat, boot.await) });
        Ok(())
    }

    async fn all_ended(&mut self) -> Result<()> {
        while !self.running.is_empty() {
            self.one_ended().await?;
        }
        Ok(())
    }

    async fn one_ended(&mut self) -> Result<()> {
        let (seat, recovered) = match self.running.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => return Err(Error::Expectation(format!("a boot did not come to its end: {error}"))),
            None => return Ok(()),
        };
        self.own_seat |= seat.is_none();
        self.stage.count(BOOTED, 1);
        self.stage.count(LOST, recovered.is_err().into());
        recovered
    }
}

/// Updates a host while all that happens to its disk is written down.
async fn record(stage: &Stage, old: &Image, new: &Image, site: &Site) -> Result<PathBuf> {
    stage.step("recording an update from 1.0.0 to 1.1.0");
    let log = stage.folder().join("host.log");
    std::fs::File::create(&log).map_err(|source| Error::file("create the write log", &log, source))?;
    let disk = fresh(stage, old).await?;
    let host = Host::new("host", disk);
    let machine = stage
        .switch_on(Host {
            write_log: Some(log.clone()),
            site: Some(site),
            ..host
        })
        .await?;
    machine.wait_for_login(stage.limit(120)).await?;
    agent::reboots(&machine, 0, stage.limit(420)).await?;
    agent::runs_proven(&machine, &new.version, stage.limit(240)).await?;
    machine.shut_down().await?;
    Ok(log)
}

/// A disk as it was before the recording.
async fn fresh(stage: &Stage, image: &Image) -> Result<PathBuf> {
    let disk = stage.folder().join("host.raw");
    copy_sparse(&image.disk, &disk).await?;
    Ok(disk)
}

/// Looks at all states of a recording.
struct Sweep {
    judge: Judge,
    /// Where a write can change what boots.
    watched: Vec<Range<u64>>,
    slots: [(Slot, Range<u64>); 2],
    /// How many states were looked at.
    states: u64,
    /// The versions that would have started, with how often.
    started: std::collections::BTreeMap<String, u64>,
}

impl Sweep {
    fn new(stage: &Stage, disk: &Path, images: &[&Image]) -> Result<Self> {
        let arch = stage.artefacts().arch();
        let opened = Disk::open(disk, arch)?;
        Ok(Self {
            judge: Judge::new(arch, images)?,
            watched: opened.boot_extents()?.into(),
            slots: [(Slot::A, opened.extent(Slot::A)?), (Slot::B, opened.extent(Slot::B)?)],
            states: 0,
            started: std::collections::BTreeMap::new(),
        })
    }

    /// Looks at every state that a cut before the next flush can leave.
    fn interval(&mut self, replay: &Replay) -> Result<()> {
        for state in states(replay.pending(), &self.watched) {
            let number = self.states;
            let judge = &mut self.judge;
            let entry = replay.with(&state, |disk| {
                judge.judge(disk).map_err(|reason| {
                    Error::Expectation(format!("a power cut (state {number}) is not survived: {reason}"))
                })
            })?;
            *self.started.entry(entry.version.to_string()).or_default() += 1;
            self.states += 1;
        }
        for (slot, extent) in &self.slots {
            if replay.pending().iter().any(|write| write.touches(extent)) {
                expect(*slot == Slot::B, || {
                    "the update wrote to the slot that it runs from".to_owned()
                })?;
                self.judge.slot_written(*slot);
            }
        }
        Ok(())
    }

    /// The sweep saw what it was made for: states before the commit and states after it.
    fn conclude(&self, old: &Image, new: &Image) -> Result<()> {
        for image in [old, new] {
            expect(self.started.contains_key(&image.version.to_string()), || {
                format!("no state starts {}: {:?}", image.version, self.started)
            })?;
        }
        Ok(())
    }
}

/// What of `pending` may be on the disk after a cut, as far as it can change what boots. Writes elsewhere are lost in all of
/// them, so that whatever refers to data that was not flushed is found. The state without any comes first.
fn states(pending: &[Write], watched: &[Range<u64>]) -> Vec<Vec<Write>> {
    let writes: Vec<Write> = pending
        .iter()
        .copied()
        .filter(|write| watched.iter().any(|range| write.touches(range)))
        .collect();
    let count = writes.len();
    let mut states = vec![Vec::new()];
    if count <= ALL_SUBSETS {
        states.extend((1u32..1 << count).map(|chosen| subset(&writes, |index| chosen >> index & 1 == 1)));
    } else {
        states.extend((1..=count).map(|length| writes[..length].to_vec()));
        let mut random = Random::new(SEED);
        states.extend((0..DRAWN_SUBSETS).map(|_| subset(&writes, |_| random.next() & 1 == 1)));
    }
    for (index, write) in writes.iter().enumerate() {
        for sectors in 1..write.sectors().min(TORN_SECTORS + 1) {
            let mut state = writes[..index].to_vec();
            state.push(write.torn(sectors));
            states.push(state);
        }
    }
    states
}

fn subset(writes: &[Write], mut chosen: impl FnMut(usize) -> bool) -> Vec<Write> {
    let kept = writes.iter().enumerate().filter(|(index, _)| chosen(*index));
    kept.map(|(_, write)| *write).collect()
}

/// `count` numbers below `states`, spread over all of them.
fn spread(states: u64, count: u64) -> Vec<u64> {
    let count = count.min(states);
    (0..count).map(|index| (2 * index + 1) * states / (2 * count)).collect()
}

/// A disk in the state with this number; of the writes that do not change what boots, a part that chance decides.
async fn cut_disk(
    stage: &Stage,
    replay: &Replay,
    watched: &[Range<u64>],
    index: usize,
    number: u64,
) -> Result<PathBuf> {
    let chosen = states(replay.pending(), watched).swap_remove(index);
    let elsewhere = |write: &Write| !watched.iter().any(|range| write.touches(range));
    let mut random = Random::new(SEED ^ number);
    let mut writes: Vec<Write> = replay.pending().iter().copied().filter(elsewhere).collect();
    writes.retain(|_| random.next() & 1 == 1);
    writes.extend(chosen);
    let cut = stage.folder().join(format!("cut-{number}.raw"));
    copy_sparse(replay.disk(), &cut).await?;
    replay.write_to(&cut, &writes)?;
    Ok(cut)
}

/// A disk as a cut has left it.
struct Cut {
    /// The number of its state.
    number: u64,
    disk: PathBuf,
    /// Whether the host is followed to the end.
    followed: bool,
}

/// A host with this disk becomes a healthy host of `new`, or is well on its way to it. Then the disk is removed.
async fn recovers(stage: Rc<Stage>, cut: Cut, new: Image, site: Site) -> Result<()> {
    let (number, begun) = (cut.number, Instant::now());
    let followed = if cut.followed { ", followed to the end" } else { "" };
    let outcome = boots(&stage, cut, &new, &site).await;
    let taken = begun.elapsed().as_secs_f64();
    let went = if outcome.is_ok() {
        "recovered"
    } else {
        "did not recover"
    };
    // Others are booted meanwhile.
    stage
        .steps()
        .aside(format!("state {number} {went} in {taken:.0} s{followed}"));
    outcome.map_err(|error| Error::Expectation(format!("a power cut (state {number}) is not survived: {error}")))
}

async fn boots(stage: &Stage, cut: Cut, new: &Image, site: &Site) -> Result<()> {
    let Cut { number, disk, followed } = cut;
    let name = format!("cut-{number}");
    let host = Host::new(&name, disk.clone());
    let site = Some(site);
    let machine = stage.switch_on(Host { site, ..host }).await?;
    if followed {
        agent::runs_proven(&machine, &new.version, stage.limit(700)).await?;
        check_running(&machine, new).await?;
    } else {
        agent::runs_or_installs(&machine, &new.version, stage.limit(300)).await?;
    }
    machine.cut_power().await;
    stage.forget(&machine);
    std::fs::remove_file(&disk).map_err(|source| Error::file("remove the disk", &disk, source))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::write_log::recorded;

    /// The pending writes of a disk that was sent these: first sector and number of sectors.
    fn pending(requests: &[(u64, usize)]) -> Vec<Write> {
        let folder = tempfile::tempdir().unwrap();
        let (log, disk) = (folder.path().join("log"), folder.path().join("disk"));
        let data = vec![1; 64 * 512];
        let raw: Vec<_> = requests
            .iter()
            .map(|(sector, sectors)| (*sector, &data[..sectors * 512], 0))
            .collect();
        recorded::write(&log, &raw);
        std::fs::write(&disk, [0; 512]).unwrap();
        let mut replay = Replay::new(WriteLog::open(&log).unwrap(), &disk).unwrap();
        replay.until_flush().unwrap();
        replay.pending().to_vec()
    }

    #[test]
    fn few_writes_come_in_every_subset_and_torn() {
        let writes = pending(&[(0, 1), (1, 1), (2, 3)]);
        let states = states(&writes, from_ref(&(0..1 << 20)));
        // Eight subsets, and the third write cut after its first and its second sector.
        assert_eq!(states.len(), 8 + 2);
        assert!(states[0].is_empty());
        let torn = states.last().unwrap();
        assert_eq!((torn.len(), torn[2].sectors()), (3, 2));
    }

    #[test]
    fn many_writes_come_in_every_prefix_and_by_chance() {
        let writes = pending(&(0..20).map(|sector| (sector, 1)).collect::<Vec<_>>());
        let states = states(&writes, from_ref(&(0..1 << 20)));
        assert_eq!(states.len(), 1 + 20 + DRAWN_SUBSETS);
        assert!((1..=20).all(|length| states.iter().any(|state| state[..] == writes[..length])));
    }

    #[test]
    fn writes_elsewhere_are_lost_in_every_state() {
        let writes = pending(&[(0, 1), (100, 1)]);
        for state in states(&writes, from_ref(&(0..512))) {
            assert!(!state.contains(&writes[1]));
        }
    }

    #[test]
    fn the_booted_states_are_spread_over_all_of_them() {
        assert_eq!(spread(100, 2), [25, 75]);
        assert_eq!(spread(1, 3), [0]);
        assert_eq!(spread(0, 3), [0; 0]);
    }
}
