//! A machine in memory that remembers every write, flush and rename, so that any of them can be the last before a power cut.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use twinhull_updater::io::Io;
use uuid::Uuid;

use crate::world::{Image, put};

/// Free space of the EFI system partition when it is empty.
const ESP: u64 = 8 * 1024 * 1024;

/// One change to the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    WriteDisk(u64, Vec<u8>),
    FlushDisk,
    /// From here on this part of the disk is read from the medium.
    Forget(u64, u64),
    Create(String),
    WriteEntry(String, u64, Vec<u8>),
    FlushEntry(String),
    Rename(String, String),
    Remove(String),
    FlushEntries,
}

impl Op {
    /// Half of a write, in whole sectors: within one of them a write to a place that is allocated is not cut short.
    fn half(&self) -> Option<Self> {
        let half = |bytes: &[u8]| bytes[..bytes.len() / 2 / 512 * 512].to_vec();
        match self {
            Self::WriteDisk(offset, bytes) => Some(Self::WriteDisk(*offset, half(bytes))),
            Self::WriteEntry(name, offset, bytes) if bytes.len() > 512 => {
                Some(Self::WriteEntry(name.clone(), *offset, half(bytes)))
            }
            _ => None,
        }
    }

    pub(crate) fn is_flush(&self) -> bool {
        matches!(self, Self::FlushDisk | Self::FlushEntry(_) | Self::FlushEntries)
    }
}

/// Everything the agent asks of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    ReadDisk,
    WriteDisk,
    FlushDisk,
    Forget,
    ReadRoot,
    List,
    Space,
    Size,
    ReadEntry,
    Create,
    WriteEntry,
    FlushEntry,
    Remove,
    FlushEntries,
}

impl Effect {
    fn of(op: &Op) -> Self {
        match op {
            Op::WriteDisk(..) => Self::WriteDisk,
            Op::FlushDisk => Self::FlushDisk,
            Op::Forget(..) => Self::Forget,
            Op::Create(_) => Self::Create,
            Op::WriteEntry(..) => Self::WriteEntry,
            Op::FlushEntry(_) => Self::FlushEntry,
            Op::Remove(_) => Self::Remove,
            Op::FlushEntries => Self::FlushEntries,
            Op::Rename(..) => unreachable!("the agent renames nothing"),
        }
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) effect: Effect,
    /// The first that fails is the one with this number.
    pub(crate) at: usize,
    pub(crate) errno: i32,
    /// Whether all those after it fail, too.
    pub(crate) lasting: bool,
    /// Whether a write that fails has done half of its work.
    pub(crate) short: bool,
}

/// Disk and boot entries as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) disk: Vec<u8>,
    pub(crate) entries: BTreeMap<String, Vec<u8>>,
}

impl Machine {
    /// Runs `active` from slot A, and has `other` in slot B.
    pub(crate) fn new(active: &Image, other: Option<&Image>) -> Self {
        let mut entries = BTreeMap::from([(active.entry(), active.kernel.clone())]);
        entries.extend(other.map(|other| (other.entry(), other.kernel.clone())));
        Self {
            disk: crate::world::disk(active, other),
            entries,
        }
    }
}

/// The recorder.
pub(crate) struct Recorder {
    inner: Mutex<Inner>,
    root: Vec<u8>,
    /// Blocks of the running root that dm-verity refuses to give.
    pub(crate) damaged_root: Option<std::ops::Range<u64>>,
    /// What goes wrong.
    pub(crate) fault: Option<Fault>,
    /// Byte of the disk that is another one on the medium than it was in memory.
    pub(crate) rot: Option<u64>,
    /// The same for the kernel image.
    pub(crate) rot_kernel: bool,
    /// Free bytes on the EFI system partition beside its files.
    pub(crate) esp: u64,
}

struct Inner {
    machine: Machine,
    log: Vec<Op>,
    /// How often the effect of the fault was met.
    met: usize,
}

impl Recorder {
    pub(crate) fn new(machine: Machine, running: &Image) -> Self {
        Self {
            inner: Mutex::new(Inner {
                machine,
                log: Vec::new(),
                met: 0,
            }),
            root: running.root.clone(),
            damaged_root: None,
            fault: None,
            rot: None,
            rot_kernel: false,
            esp: ESP,
        }
    }

    pub(crate) fn into_parts(self) -> (Machine, Vec<Op>) {
        let inner = self.inner.into_inner().unwrap();
        (inner.machine, inner.log)
    }

    pub(crate) fn machine(&self) -> Machine {
        self.inner.lock().unwrap().machine.clone()
    }

    /// The changes since the last time.
    pub(crate) fn take_log(&self) -> Vec<Op> {
        std::mem::take(&mut self.inner.lock().unwrap().log)
    }

    /// Whether the fault was there to be met.
    pub(crate) fn fault_was_met(&self) -> bool {
        let met = self.inner.lock().unwrap().met;
        self.fault.is_some_and(|fault| met > fault.at)
    }

    fn meet(&self, effect: Effect) -> io::Result<()> {
        let Some(fault) = self.fault.filter(|fault| fault.effect == effect) else {
            return Ok(());
        };
        let mut inner = self.inner.lock().unwrap();
        let number = inner.met;
        inner.met += 1;
        if number == fault.at || fault.lasting && number > fault.at {
            return Err(io::Error::from_raw_os_error(fault.errno));
        }
        Ok(())
    }

    fn change(&self, op: Op) -> io::Result<()> {
        if let Err(error) = self.meet(Effect::of(&op)) {
            if let Some(part) = self.fault.filter(|fault| fault.short).and_then(|_| op.half()) {
                apply(&mut self.inner.lock().unwrap().machine, &part)?;
            }
            return Err(error);
        }
        let mut inner = self.inner.lock().unwrap();
        apply(&mut inner.machine, &op)?;
        inner.log.push(op);
        Ok(())
    }
}

/// What a change does at once, as every reader sees it.
fn apply(machine: &mut Machine, op: &Op) -> io::Result<()> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    match op {
        Op::WriteDisk(offset, bytes) => put(&mut machine.disk, *offset, bytes),
        Op::Create(name) => drop(machine.entries.insert(name.clone(), Vec::new())),
        Op::WriteEntry(name, offset, bytes) => {
            write_file(machine.entries.get_mut(name).ok_or_else(missing)?, *offset, bytes);
        }
        Op::Rename(from, to) => {
            let content = machine.entries.remove(from).ok_or_else(missing)?;
            assert!(machine.entries.insert(to.clone(), content).is_none(), "{to} is there");
        }
        Op::Remove(name) => drop(machine.entries.remove(name).ok_or_else(missing)?),
        Op::FlushDisk | Op::Forget(..) | Op::FlushEntry(_) | Op::FlushEntries => {}
    }
    Ok(())
}

pub(crate) fn write_file(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = usize::try_from(offset).unwrap() + bytes.len();
    file.resize(file.len().max(end), 0);
    put(file, offset, bytes);
}

fn read(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let offset = usize::try_from(offset).unwrap();
    let part = bytes.get(offset..offset + buffer.len());
    buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

impl Io for Recorder {
    fn disk_size(&self) -> io::Result<u64> {
        Ok(self.inner.lock().unwrap().machine.disk.len() as u64)
    }

    fn sector_size(&self) -> u64 {
        512
    }

    fn read_disk(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.meet(Effect::ReadDisk)?;
        read(&self.inner.lock().unwrap().machine.disk, offset, buffer)
    }

    fn write_disk(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Op::WriteDisk(offset, bytes.to_vec()))
    }

    fn flush_disk(&self) -> io::Result<()> {
        self.change(Op::FlushDisk)
    }

    fn forget_disk(&self, offset: u64, length: u64) -> io::Result<()> {
        self.change(Op::Forget(offset, length))?;
        if let Some(at) = self.rot.filter(|at| (offset..offset + length).contains(at)) {
            self.inner.lock().unwrap().machine.disk[usize::try_from(at).unwrap()] ^= 1;
        }
        Ok(())
    }

    fn read_root(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.meet(Effect::ReadRoot)?;
        let end = offset + buffer.len() as u64;
        match &self.damaged_root {
            Some(damage) if damage.start < end && offset < damage.end => Err(io::Error::from_raw_os_error(5)),
            _ => read(&self.root, offset, buffer),
        }
    }

    fn entries(&self) -> io::Result<Vec<String>> {
        self.meet(Effect::List)?;
        Ok(self.inner.lock().unwrap().machine.entries.keys().cloned().collect())
    }

    fn free_for_entries(&self) -> io::Result<u64> {
        self.meet(Effect::Space)?;
        let inner = self.inner.lock().unwrap();
        let used: usize = inner.machine.entries.values().map(Vec::len).sum();
        Ok(self.esp.saturating_sub(used as u64))
    }

    fn entry_size(&self, name: &str) -> io::Result<u64> {
        self.meet(Effect::Size)?;
        let inner = self.inner.lock().unwrap();
        let file = inner.machine.entries.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.len() as u64)
    }

    fn read_entry(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.meet(Effect::ReadEntry)?;
        let inner = self.inner.lock().unwrap();
        read(
            inner.machine.entries.get(name).ok_or(io::ErrorKind::NotFound)?,
            offset,
            buffer,
        )
    }

    fn create_entry(&self, name: &str) -> io::Result<()> {
        self.change(Op::Create(name.to_owned()))
    }

    fn write_entry(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Op::WriteEntry(name.to_owned(), offset, bytes.to_vec()))
    }

    fn flush_entry(&self, name: &str) -> io::Result<()> {
        self.change(Op::FlushEntry(name.to_owned()))?;
        if self.rot_kernel {
            self.inner.lock().unwrap().machine.entries.get_mut(name).unwrap()[1000] ^= 1;
        }
        Ok(())
    }

    fn remove_entry(&self, name: &str) -> io::Result<()> {
        self.change(Op::Remove(name.to_owned()))
    }

    fn flush_entries(&self) -> io::Result<()> {
        self.change(Op::FlushEntries)
    }

    fn new_ids(&self) -> [Uuid; 3] {
        [0xa1, 0xa2, 0xa3].map(Uuid::from_u128)
    }
}
