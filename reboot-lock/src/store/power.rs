//! A disk in memory that fails when told to, and that a power cut can be simulated on: of what was written since the last
//! flush, any part may have reached it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// A part of a write that reaches the disk as a whole, in bytes.
const SECTOR: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Disk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    flushed: Vec<u8>,
    written: Vec<u8>,
    since_flush: Vec<Write>,
    operations: u64,
    fails_from: Option<u64>,
}

#[derive(Debug)]
enum Write {
    At(usize, Vec<u8>),
    Length(usize),
}

/// The disk as `redb` sees it.
#[derive(Debug)]
pub(super) struct Plug(Arc<Disk>);

impl Disk {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn plug_in(self: &Arc<Self>) -> Plug {
        Plug(Arc::clone(self))
    }

    /// From now on every write and flush fails.
    pub(super) fn fail(&self) {
        let mut state = self.lock();
        state.fails_from = Some(state.operations);
    }

    /// Writes and flushes fail once `operations` of them have been made.
    pub(super) fn fail_after(&self, operations: u64) {
        self.lock().fails_from = Some(operations);
    }

    pub(super) fn heal(&self) {
        self.lock().fails_from = None;
    }

    /// How many writes and flushes have been made or tried.
    pub(super) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// What the disk holds after a power cut now. `random` decides for each sector that was not flushed.
    pub(super) fn after_power_cut(&self, mut random: impl FnMut() -> u64) -> Arc<Self> {
        let state = self.lock();
        let mut flushed = state.flushed.clone();
        for write in &state.since_flush {
            match write {
                Write::At(offset, bytes) => {
                    for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                        let start = offset + index * SECTOR;
                        if random().is_multiple_of(2) && start + sector.len() <= flushed.len() {
                            flushed[start..start + sector.len()].copy_from_slice(sector);
                        }
                    }
                }
                // A file system may or may not have recorded a new length; growing is what a later write needs.
                Write::Length(length) => {
                    if *length > flushed.len() || random().is_multiple_of(2) {
                        flushed.resize(*length, 0);
                    }
                }
            }
        }
        Arc::new(Self(Mutex::new(State {
            written: flushed.clone(),
            flushed,
            ..State::default()
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn count(&mut self) -> Result<(), io::Error> {
        if self.fails_from.is_some_and(|from| self.operations >= from) {
            return Err(io::Error::other("the disk is broken"));
        }
        self.operations += 1;
        Ok(())
    }
}

impl StorageBackend for Plug {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let start = usize::try_from(offset).unwrap();
        let state = self.0.lock();
        let bytes = state.written.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let mut state = self.0.lock();
        state.count()?;
        let length = usize::try_from(length).unwrap();
        state.written.resize(length, 0);
        state.since_flush.push(Write::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut state = self.0.lock();
        state.count()?;
        state.flushed = state.written.clone();
        state.since_flush.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut state = self.0.lock();
        state.count()?;
        let start = usize::try_from(offset).unwrap();
        state.written[start..start + data.len()].copy_from_slice(data);
        state.since_flush.push(Write::At(start, data.to_vec()));
        Ok(())
    }
}
