//! Where the state of the groups is kept: one record per group, replaced by compare-and-swap on its revision.
//!
//! The trait is as small as a store over the network (etcd) can serve well: a linearizable read and one transaction. What
//! happens between them (folding, retries) is the same for every store and lives in [`crate::queue`].

#[cfg(test)]
pub(crate) mod contract;
mod embedded;
mod etcd;
mod file;
#[cfg(test)]
mod power;
mod tables;

use std::pin::Pin;

use crate::history::Event;
use crate::names::GroupName;
use crate::semaphore::Semaphore;

pub use embedded::Embedded;
pub use etcd::{Etcd, EtcdConfig, EtcdError};
pub use file::OpenError;

/// What the functions of a [`Store`] return: a boxed future, so that the store can be chosen when the server starts.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A number that grows with every change of a record. 0 stands for "no record yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl Revision {
    /// The one after this, in a store that counts the changes of each record.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The record of one group, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its revision; 0 when there is no record, and then the state is the empty one.
    pub revision: Revision,
    /// The state.
    pub semaphore: Semaphore,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The record was changed by someone else since it was read. Nothing was written.
    #[error("the record of the group was changed by another server at the same time")]
    Conflict,
    /// The store cannot be reached or cannot write. A swap that ends like this **may have been applied**.
    #[error("{0}")]
    Unavailable(String),
}

/// Keeps one record per group and the history.
///
/// A swap is durable before it is answered: after `Ok`, no crash of the server or loss of power undoes it.
pub trait Store: Send + Sync {
    /// The names of all groups that have a record.
    fn groups(&self) -> Answer<'_, Result<Vec<GroupName>, StoreError>>;

    /// Reads the record of `group`: the last one whose swap was answered, or a later one.
    fn load<'a>(&'a self, group: &'a GroupName) -> Answer<'a, Result<Stored, StoreError>>;

    /// Replaces the record of `group` if its revision is still `expected`, and appends `events` to the history, both or
    /// neither. Returns the new revision.
    fn swap<'a>(
        &'a self,
        group: &'a GroupName,
        expected: Revision,
        semaphore: &'a Semaphore,
        events: &'a [Event],
    ) -> Answer<'a, Result<Revision, StoreError>>;

    /// The latest events, newest first, at most `limit`. The store keeps a bounded number.
    fn history(&self, limit: usize) -> Answer<'_, Result<Vec<Event>, StoreError>>;
}
