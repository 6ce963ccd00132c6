//! How much runs side by side: as many machines as were asked for, and no more than memory allows.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The seats of a run.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    machines: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    /// How many machines there are seats for.
    jobs: u32,
}

/// Those of one scenario, with memory; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    _machines: Option<OwnedSemaphorePermit>,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Seats {
    /// Seats for `jobs` machines, at least one, and `memory_mib` for all of them.
    pub(super) fn new(jobs: usize, memory_mib: u32) -> Self {
        let permits =
            |wanted: u32| usize::try_from(wanted).map_or(Semaphore::MAX_PERMITS, |n| n.min(Semaphore::MAX_PERMITS));
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX).max(1);
        Self {
            machines: Arc::new(Semaphore::new(permits(jobs))),
            memory: Arc::new(Semaphore::new(permits(memory_mib))),
            jobs,
        }
    }

    /// Waits for the seats of a scenario that has `machines` at a time. Whoever asks first is served first. One that has more
    /// than there are seats gets all of them: beside others, its machines would be so slow that what they wait for gives up.
    pub(super) async fn take(&self, machines: u32, memory_mib: u32) -> Seat {
        // An error would mean that a semaphore was closed, which nobody does.
        let machines = machines.clamp(1, self.jobs);
        let machines = Arc::clone(&self.machines).acquire_many_owned(machines).await.ok();
        let memory = Arc::clone(&self.memory).acquire_many_owned(memory_mib).await.ok();
        Seat {
            _machines: machines,
            _memory: memory,
        }
    }

    /// A seat for one machine that nobody waits for, if there is one.
    pub(super) fn spare(&self, memory_mib: u32) -> Option<Seat> {
        let there = |permit: Result<_, TryAcquireError>| permit.ok();
        let machine = there(Arc::clone(&self.machines).try_acquire_owned())?;
        let memory = there(Arc::clone(&self.memory).try_acquire_many_owned(memory_mib))?;
        Some(Seat {
            _machines: Some(machine),
            _memory: Some(memory),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_machines_than_seats_have_them_to_themselves() {
        let seats = Seats::new(2, 9000);
        let one = seats.take(1, 1000).await;
        let fleet = tokio::spawn({
            let seats = seats.clone();
            async move { seats.take(6, 6000).await }
        });
        // It waits in front of whoever comes later.
        while seats.spare(1000).is_some() {
            tokio::task::yield_now().await;
        }
        assert!(!fleet.is_finished());
        drop(one);
        let fleet = fleet.await.unwrap();
        assert!(seats.spare(1000).is_none());
        drop(fleet);
        assert!(seats.spare(9000).is_some());
    }

    #[tokio::test]
    async fn a_spare_seat_needs_a_job_and_memory_and_is_free_again() {
        let seats = Seats::new(2, 3000);
        let first = seats.take(1, 2000).await;
        assert!(seats.spare(2000).is_none());
        let second = seats.spare(1000).unwrap();
        assert!(seats.spare(0).is_none());
        drop(first);
        assert!(seats.spare(2001).is_none());
        assert!(seats.spare(2000).is_some());
        drop(second);
    }
}
