//! The thread that writes, seen from the one that reads.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope};

use super::worker::{Job, Worker};
use crate::error::ApplyError;

/// A segment that was worked on: with the bytes that the target held of it already.
pub(super) type Written = (Job, Result<u64, ApplyError>);

/// A thread for one worker and one segment at a time. It ends when this is dropped.
pub(super) struct Writing {
    jobs: SyncSender<Job>,
    results: Receiver<Written>,
    busy: bool,
}

impl Writing {
    pub(super) fn start<'scope, 'worker: 'scope>(
        scope: &'scope Scope<'scope, '_>,
        mut worker: Worker<'worker>,
    ) -> io::Result<Self> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let (done, results) = channel();
        Builder::new().name("payload".to_owned()).spawn_scoped(scope, move || {
            for mut job in todo {
                let result = worker.write(&mut job);
                if done.send((job, result)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self {
            jobs,
            results,
            busy: false,
        })
    }

    /// Begins with a segment; the one before must be finished.
    pub(super) fn begin(&mut self, job: Job) -> Result<(), ApplyError> {
        self.busy = true;
        self.jobs.send(job).map_err(|_| ended())
    }

    /// Waits for the segment that was begun, if there is one.
    pub(super) fn finish(&mut self) -> Result<Option<Written>, ApplyError> {
        if !std::mem::replace(&mut self.busy, false) {
            return Ok(None);
        }
        self.results.recv().map(Some).map_err(|_| ended())
    }
}

/// The thread panicked; the scope it runs in passes that on.
fn ended() -> ApplyError {
    ApplyError::Thread(io::ErrorKind::BrokenPipe.into())
}
