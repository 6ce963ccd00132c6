//! The store for one server: one file, one process. Transactional; survives the process or the machine dying at any point.
//!
//! One thread owns all writing. Whatever swaps have come in while it was flushing the last transaction go into the next one
//! together, so that the number of flushes does not grow with the number of groups or clients.
//!
//! When the disk fails, everything waiting is answered [`StoreError::Unavailable`] (it may have been applied), the file is
//! closed, and the thread opens it again until that works: a full disk that is cleared needs no restart.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::Database;
use tokio::sync::oneshot;

use super::file::{self, OpenError};
use super::tables::{self, Swap, TableError};
use super::{Answer, Revision, Store, StoreError, Stored};
use crate::history::Event;
use crate::names::GroupName;
use crate::semaphore::Semaphore;

/// How long the writer waits before it opens a file again that failed.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// How many swaps go into one transaction at most. Each is one group's, so that this bounds its size, not its use.
const MAX_BATCH: usize = 256;

type Opener = Box<dyn Fn() -> Result<Database, OpenError> + Send>;
type Open = Arc<RwLock<Option<Arc<Database>>>>;

/// The embedded store. Closes the file when dropped.
pub struct Embedded {
    open: Open,
    swaps: Option<SyncSender<Pending>>,
    writer: Option<JoinHandle<()>>,
}

struct Pending {
    swap: Swap,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

impl Embedded {
    /// Opens the store in the file at `path`, creating it (mode 0600) when there is none; its folder must exist.
    ///
    /// # Errors
    /// See [`OpenError`]. A damaged file is refused, never replaced: that would forget who holds what.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let path = path.to_owned();
        Self::open_with(Box::new(move || file::open(&path)))
    }

    fn open_with(opener: Opener) -> Result<Self, OpenError> {
        let open: Open = Arc::new(RwLock::new(Some(Arc::new(opener()?))));
        let (sender, receiver) = sync_channel(MAX_BATCH);
        let shared = Arc::clone(&open);
        let writer = std::thread::Builder::new()
            .name("lock-store".to_owned())
            .spawn(move || write_loop(&receiver, &shared, &opener))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            open,
            swaps: Some(sender),
            writer: Some(writer),
        })
    }

    fn read<T>(&self, what: impl FnOnce(&Database) -> Result<T, TableError>) -> Result<T, StoreError> {
        let database = current(&self.open).ok_or_else(closed)?;
        what(&database).map_err(|error| StoreError::Unavailable(format!("cannot read the lock store: {error}")))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.swaps.take();
        if let Some(writer) = self.writer.take() {
            // A panic there has been printed already, and there is nothing left to do about it.
            let _ = writer.join();
        }
    }
}

// Reads come from `redb`'s pages in memory and take microseconds, so that they need no thread of their own.
impl Store for Embedded {
    fn groups(&self) -> Answer<'_, Result<Vec<GroupName>, StoreError>> {
        Box::pin(async { self.read(tables::groups) })
    }

    fn load<'a>(&'a self, group: &'a GroupName) -> Answer<'a, Result<Stored, StoreError>> {
        Box::pin(async { self.read(|database| tables::load(database, group)) })
    }

    fn swap<'a>(
        &'a self,
        group: &'a GroupName,
        expected: Revision,
        semaphore: &'a Semaphore,
        events: &'a [Event],
    ) -> Answer<'a, Result<Revision, StoreError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let swap = Swap {
                group: group.clone(),
                expected,
                semaphore: semaphore.clone(),
                events: events.to_vec(),
            };
            let sender = self.swaps.as_ref().ok_or_else(closed)?;
            // The queue is as long as a transaction and each group has one swap under way, so that it is full only with
            // more groups than that; then the caller tries again.
            sender
                .try_send(Pending { swap, reply })
                .map_err(|_| StoreError::Unavailable("the lock store is overloaded; ask again".to_owned()))?;
            answer.await.unwrap_or_else(|_| Err(closed()))?;
            Ok(expected.next())
        })
    }

    fn history(&self, limit: usize) -> Answer<'_, Result<Vec<Event>, StoreError>> {
        Box::pin(async move { self.read(|database| tables::history(database, limit)) })
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the lock store is closed after an error of its file; see the server's log".to_owned())
}

fn current(open: &Open) -> Option<Arc<Database>> {
    open.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set(open: &Open, database: Option<Database>) {
    *open.write().unwrap_or_else(PoisonError::into_inner) = database.map(Arc::new);
}

fn write_loop(pending: &Receiver<Pending>, open: &Open, opener: &Opener) {
    loop {
        let Some(database) = current(open) else {
            match opener() {
                Ok(database) => {
                    tracing::info!("the lock store is open again");
                    set(open, Some(database));
                }
                Err(error) => {
                    tracing::error!("{error}; trying again");
                    if !refuse_for(REOPEN_AFTER, pending) {
                        return;
                    }
                }
            }
            continue;
        };
        let Ok(first) = pending.recv() else {
            return;
        };
        let batch = gather(first, pending);
        let (swaps, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.swap, one.reply)).unzip();
        let result = tables::commit(&database, &swaps);
        drop(database);
        match result {
            Ok(matched) => {
                for (matched, reply) in matched.into_iter().zip(replies) {
                    // A caller that has gone away needs no answer.
                    let _ = reply.send(if matched { Ok(()) } else { Err(StoreError::Conflict) });
                }
            }
            Err(error) => {
                tracing::error!("cannot write the lock store: {error}; closing it");
                set(open, None);
                for reply in replies {
                    let reason = format!("cannot write the lock store: {error}");
                    let _ = reply.send(Err(StoreError::Unavailable(reason)));
                }
            }
        }
    }
}

fn gather(first: Pending, pending: &Receiver<Pending>) -> Vec<Pending> {
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH {
        match pending.try_recv() {
            Ok(next) => batch.push(next),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    batch
}

/// Refuses what comes in for `duration`. False when nothing can come any more.
fn refuse_for(duration: Duration, pending: &Receiver<Pending>) -> bool {
    let end = std::time::Instant::now() + duration;
    loop {
        match pending.recv_timeout(end.saturating_duration_since(std::time::Instant::now())) {
            Ok(one) => {
                let _ = one.reply.send(Err(closed()));
            }
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::super::power::Disk;
    use super::*;

    fn on_disk(disk: &Arc<Disk>) -> Result<Embedded, OpenError> {
        let disk = Arc::clone(disk);
        Embedded::open_with(Box::new(move || {
            let content = |reason: String| OpenError::Content {
                path: "memory".into(),
                reason,
            };
            let database = Database::builder()
                .create_with_backend(disk.plug_in())
                .map_err(|error| content(error.to_string()))?;
            tables::seal(&database).map_err(|error| content(error.to_string()))?;
            Ok(database)
        }))
    }

    #[tokio::test]
    async fn embedded_store_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(&folder.path().join("lock.redb")).unwrap();
        contract::check(&store).await;
    }

    #[tokio::test]
    async fn what_was_written_is_there_when_opened_again_under_a_later_revision() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.redb");
        let group = "g".parse().unwrap();
        let written = Semaphore {
            policy: crate::policy::Policy::with_slots(7),
            ..Semaphore::default()
        };
        let store = Embedded::open(&path).unwrap();
        store.swap(&group, Revision(0), &written, &[]).await.unwrap();
        let before = store.load(&group).await.unwrap();
        drop(store);
        let store = Embedded::open(&path).unwrap();
        let after = store.load(&group).await.unwrap();
        assert_eq!(after.semaphore, written);
        assert!(after.revision > before.revision);
        let stale = store.swap(&group, before.revision, &written, &[]).await;
        assert_eq!(stale, Err(StoreError::Conflict));
    }

    #[tokio::test]
    async fn failing_disk_is_unavailable_until_it_works_again() {
        let disk = Disk::new();
        let store = on_disk(&disk).unwrap();
        let group = "g".parse().unwrap();
        let empty = Semaphore::default();
        store.swap(&group, Revision(0), &empty, &[]).await.unwrap();
        disk.fail();
        let revision = store.load(&group).await.unwrap().revision;
        let failed = store.swap(&group, revision, &empty, &[]).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
        let refused = store.swap(&group, revision, &empty, &[]).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        disk.heal();
        let end = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(stored) = store.load(&group).await {
                store.swap(&group, stored.revision, &empty, &[]).await.unwrap();
                break;
            }
            assert!(std::time::Instant::now() < end, "the store did not come back");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
