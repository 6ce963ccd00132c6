//! All groups of a server: their queues, and which of them the configuration names.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::history::Event;
use crate::names::{GroupName, HostId};
use crate::queue::{Ask, AskError, Clock, Queue};
use crate::semaphore::{Outcome, Request};
use crate::status::{GroupStatus, HolderStatus, RECENT, Status};
use crate::store::{Store, StoreError};

/// Who is named in the history when the configuration changes something.
const BY_CONFIG: &str = "configuration";

/// How many slots each configured group has.
pub type Slots = BTreeMap<GroupName, u32>;

/// The groups of a server.
pub struct Groups {
    store: Arc<dyn Store>,
    clock: Clock,
    // Locked only to look up or replace an entry, never across an await.
    entries: RwLock<BTreeMap<GroupName, Entry>>,
}

#[derive(Clone)]
struct Entry {
    queue: Queue,
    configured: bool,
}

/// Why a group did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The configuration does not name it.
    #[error("there is no group {group}; {}", listed(known))]
    Unknown {
        /// The group asked for.
        group: GroupName,
        /// Those that are configured.
        known: Vec<GroupName>,
    },
    /// It could not be asked.
    #[error("group {group}: {error}")]
    Ask {
        /// The group asked for.
        group: GroupName,
        /// Why.
        error: AskError,
    },
}

/// How many groups an error lists.
const LISTED: usize = 10;

fn listed(groups: &[GroupName]) -> String {
    let names: Vec<_> = groups.iter().take(LISTED).map(GroupName::as_str).collect();
    match groups.len() {
        0 => "none is configured".to_owned(),
        all if all > LISTED => format!("known are {} and {} more", names.join(", "), all - LISTED),
        _ => format!("known are {}", names.join(", ")),
    }
}

impl Groups {
    /// Starts the queues of all groups that `slots` names or `store` knows, and writes the slots to the store.
    ///
    /// Must run on a tokio runtime.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn start(store: Arc<dyn Store>, clock: Clock, slots: &Slots) -> Result<Self, GroupsError> {
        let groups = Self {
            store,
            clock,
            entries: RwLock::default(),
        };
        groups.configure(slots).await?;
        Ok(groups)
    }

    /// Makes `slots` the configuration: adds new groups, changes the slots of others, and closes those it no longer names.
    /// A closed group grants nothing; its holders can still release.
    ///
    /// # Errors
    /// When the store does not answer. Groups that were changed before the error stay changed.
    pub async fn configure(&self, slots: &Slots) -> Result<(), GroupsError> {
        for group in self.store.groups().await.map_err(GroupsError::List)? {
            self.enter(group);
        }
        for group in slots.keys() {
            self.enter(group.clone());
        }
        for (group, queue) in self.queues() {
            let wanted = slots.get(&group).copied();
            self.mark(&group, wanted.is_some());
            let ask = Ask {
                request: Request::SetSlots(wanted.unwrap_or(0)),
                by: BY_CONFIG.to_owned(),
                reason: None,
            };
            queue.ask(ask).await.map_err(|error| GroupsError::Slots {
                group: group.clone(),
                error,
            })?;
        }
        Ok(())
    }

    /// Asks `group` for a slot for `id`.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn take(&self, group: &GroupName, id: HostId, by: String) -> Result<Outcome, GroupError> {
        let queue = self.queue(group, |entry| entry.configured)?;
        let ask = Ask {
            request: Request::Take(id),
            by,
            reason: None,
        };
        ask_of(group, &queue, ask).await
    }

    /// Frees the slot of `id` in `group`; with a `reason`, by force. Works also while the group is closed: otherwise a
    /// host that holds a slot there could never become steady again.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn release(
        &self,
        group: &GroupName,
        id: HostId,
        by: String,
        reason: Option<String>,
    ) -> Result<Outcome, GroupError> {
        let queue = self.queue(group, |_| true)?;
        let ask = Ask {
            request: Request::Release(id),
            by,
            reason,
        };
        ask_of(group, &queue, ask).await
    }

    /// What there is to see.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn status(&self) -> Result<Status, StoreError> {
        let entries = self.read().clone();
        let mut groups = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            let semaphore = self.store.load(&name).await?.semaphore;
            if !entry.configured && semaphore.holders.is_empty() {
                continue;
            }
            let mut holders: Vec<_> = semaphore
                .holders
                .into_iter()
                .map(|(id, hold)| HolderStatus { id, since: hold.since })
                .collect();
            holders.sort_by_key(|holder| holder.since);
            groups.push(GroupStatus {
                name,
                slots: semaphore.slots,
                configured: entry.configured,
                holders,
            });
        }
        Ok(Status {
            now: (self.clock)(),
            groups,
            history: self.store.history(RECENT).await?,
        })
    }

    /// The latest events, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn history(&self, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.store.history(limit).await
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<GroupName, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn queues(&self) -> Vec<(GroupName, Queue)> {
        let entries = self.read();
        entries
            .iter()
            .map(|(name, entry)| (name.clone(), entry.queue.clone()))
            .collect()
    }

    fn queue(&self, group: &GroupName, usable: impl Fn(&Entry) -> bool) -> Result<Queue, GroupError> {
        let entries = self.read();
        match entries.get(group) {
            Some(entry) if usable(entry) => Ok(entry.queue.clone()),
            _ => Err(GroupError::Unknown {
                group: group.clone(),
                known: entries
                    .iter()
                    .filter(|(_, entry)| entry.configured)
                    .map(|(name, _)| name.clone())
                    .collect(),
            }),
        }
    }

    fn enter(&self, group: GroupName) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.entry(group.clone()).or_insert_with(|| Entry {
            queue: Queue::start(group, Arc::clone(&self.store), Arc::clone(&self.clock)),
            configured: false,
        });
    }

    fn mark(&self, group: &GroupName, configured: bool) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(group) {
            entry.configured = configured;
        }
    }
}

/// Why the groups could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum GroupsError {
    /// The store did not list its groups.
    #[error("cannot list the groups in the store: {0}")]
    List(#[source] StoreError),
    /// The slots of a group could not be set.
    #[error("cannot set the slots of group {group}: {error}")]
    Slots {
        /// The group.
        group: GroupName,
        /// Why.
        #[source]
        error: AskError,
    },
}

async fn ask_of(group: &GroupName, queue: &Queue, ask: Ask) -> Result<Outcome, GroupError> {
    queue.ask(ask).await.map_err(|error| GroupError::Ask {
        group: group.clone(),
        error,
    })
}
