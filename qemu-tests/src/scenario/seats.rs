//! How much runs side by side: as many scenarios as were asked for, and no more machines than memory allows.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The seats of a run.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    jobs: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// One of them, with memory; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    _job: Option<OwnedSemaphorePermit>,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Seats {
    /// `jobs` seats, at least one, and `memory_mib` for all of them.
    pub(super) fn new(jobs: usize, memory_mib: u32) -> Self {
        let memory = usize::try_from(memory_mib).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            jobs: Arc::new(Semaphore::new(jobs.max(1))),
            memory: Arc::new(Semaphore::new(memory.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Waits for a seat. Whoever asks first is served first.
    pub(super) async fn take(&self, memory_mib: u32) -> Seat {
        // An error would mean that a semaphore was closed, which nobody does.
        let job = Arc::clone(&self.jobs).acquire_owned().await.ok();
        let memory = Arc::clone(&self.memory).acquire_many_owned(memory_mib).await.ok();
        Seat {
            _job: job,
            _memory: memory,
        }
    }

    /// A seat that nobody waits for, if there is one.
    pub(super) fn spare(&self, memory_mib: u32) -> Option<Seat> {
        let there = |permit: Result<_, TryAcquireError>| permit.ok();
        let job = there(Arc::clone(&self.jobs).try_acquire_owned())?;
        let memory = there(Arc::clone(&self.memory).try_acquire_many_owned(memory_mib))?;
        Some(Seat {
            _job: Some(job),
            _memory: Some(memory),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_spare_seat_needs_a_job_and_memory_and_is_free_again() {
        let seats = Seats::new(2, 3000);
        let first = seats.take(2000).await;
        assert!(seats.spare(2000).is_none());
        let second = seats.spare(1000).unwrap();
        assert!(seats.spare(0).is_none());
        drop(first);
        assert!(seats.spare(2001).is_none());
        assert!(seats.spare(2000).is_some());
        drop(second);
    }
}
