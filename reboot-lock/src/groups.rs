//! All groups of a server: their queues, and which of them the configuration names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use jiff::Timestamp;

use crate::history::Event;
use crate::names::{GroupName, HostId};
use crate::policy::Policy;
use crate::queue::{Ask, AskError, Clock, Queue};
use crate::roster::{Budget, Roster};
use crate::semaphore::{Outcome, Report, Request, Semaphore, known, refusal};
use crate::status::{
    FailureStatus, GroupStatus, HolderStatus, NAMED_WAITING, RECENT, Status, VersionStatus, WaitingStatus,
};
use crate::store::{Store, StoreError};

/// Who is named in the history when the configuration changes something.
const BY_CONFIG: &str = "configuration";

/// Who is named in the history when time has passed.
const BY_CLOCK: &str = "policy";

/// How often holders are looked at for those that should have returned.
const TICK: Duration = Duration::from_secs(15);

/// The rules of each configured group.
pub type Policies = BTreeMap<GroupName, Policy>;

/// The groups of a server.
pub struct Groups {
    store: Arc<dyn Store>,
    clock: Clock,
    // Locked only to look up or replace an entry, never across an await.
    entries: RwLock<BTreeMap<GroupName, Entry>>,
    budget: Budget,
}

#[derive(Clone)]
struct Entry {
    queue: Queue,
    configured: bool,
    // Locked for moments, never across an await.
    roster: Arc<Mutex<Roster>>,
}

impl Entry {
    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    /// Starts the queues of all groups that `policies` names or `store` knows, and writes the rules to the store. From then
    /// on, until it is dropped, holders that should have returned are looked for.
    ///
    /// Must run on a tokio runtime.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn start(store: Arc<dyn Store>, clock: Clock, policies: &Policies) -> Result<Arc<Self>, GroupsError> {
        let groups = Arc::new(Self {
            store,
            clock,
            entries: RwLock::default(),
            budget: Budget::default(),
        });
        groups.configure(policies).await?;
        tokio::spawn(watch_holders(Arc::downgrade(&groups)));
        Ok(groups)
    }

    /// Makes `policies` the configuration: adds new groups, changes the rules of others, and closes those it no longer
    /// names. A closed group grants nothing; its holders can still release.
    ///
    /// # Errors
    /// When the store does not answer. Groups that were changed before the error stay changed.
    pub async fn configure(&self, policies: &Policies) -> Result<(), GroupsError> {
        for group in self.store.groups().await.map_err(GroupsError::List)? {
            self.enter(group);
        }
        for group in policies.keys() {
            self.enter(group.clone());
        }
        let names: Vec<_> = self.read().keys().cloned().collect();
        for group in names {
            let wanted = policies.get(&group).cloned();
            self.mark(&group, wanted.is_some());
            let request = Request::Configure(wanted.unwrap_or_default());
            match self.change(&group, request, BY_CONFIG.to_owned()).await {
                Ok(_) | Err(GroupError::Unknown { .. }) => {}
                Err(GroupError::Ask { group, error }) => return Err(GroupsError::Policy { group, error }),
            }
        }
        Ok(())
    }

    /// Asks `group` for a slot for `id`.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn take(
        &self,
        group: &GroupName,
        id: HostId,
        mut report: Report,
        by: String,
    ) -> Result<Outcome, GroupError> {
        let entry = self.entry(group, |entry| entry.configured)?;
        let met = (self.clock)();
        let fleet = {
            let mut roster = entry.roster();
            roster.met(&id, &report, met);
            report.zone = report.zone.or_else(|| roster.zone(&id));
            roster.fleet(met)
        };
        let ask = Ask {
            request: Request::Take(id.clone(), report),
            fleet,
            by,
        };
        let outcome = ask_of(group, &entry.queue, ask).await?;
        let refused = matches!(outcome, Outcome::Refused(_));
        entry.roster().answered(&id, refused, met);
        Ok(outcome)
    }

    /// Frees the slot of `id` in `group`, because the host says that it is steady. Works also while the group is closed:
    /// otherwise a host that holds a slot there could never become steady again.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn release(
        &self,
        group: &GroupName,
        id: HostId,
        report: Report,
        by: String,
    ) -> Result<Outcome, GroupError> {
        let entry = self.entry(group, |_| true)?;
        let met = (self.clock)();
        let fleet = {
            let mut roster = entry.roster();
            if entry.configured {
                roster.met(&id, &report, met);
                roster.answered(&id, false, met);
            }
            roster.fleet(met)
        };
        let request = Request::Release(id, report);
        ask_of(group, &entry.queue, Ask { request, fleet, by }).await
    }

    /// What a person asks for, or the configuration, or the clock: anything but a host's own take and release. The reason, where
    /// there is one, is in the request; `by` is who.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub async fn change(&self, group: &GroupName, request: Request, by: String) -> Result<Outcome, GroupError> {
        let entry = self.entry(group, |_| true)?;
        let fleet = entry.roster().fleet((self.clock)());
        ask_of(group, &entry.queue, Ask { request, fleet, by }).await
    }

    /// What there is to see.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn status(&self) -> Result<Status, StoreError> {
        let entries = self.read().clone();
        let now = (self.clock)();
        let mut groups = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            let semaphore = self.store.load(&name).await?.semaphore;
            if entry.configured || !semaphore.holders.is_empty() {
                groups.push(status_of(name, &entry, semaphore, now));
            }
        }
        Ok(Status {
            now,
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

    /// Looks at every group that has holders for those that should have returned.
    async fn tick(&self) {
        let names: Vec<_> = self.read().keys().cloned().collect();
        for name in names {
            // A store that is down is said by every request; here it is only tried again.
            let Ok(stored) = self.store.load(&name).await else {
                return;
            };
            if stored.semaphore.holders.is_empty() {
                continue;
            }
            if let Err(error) = self.change(&name, Request::Tick, BY_CLOCK.to_owned()).await {
                tracing::warn!("cannot look for hosts that did not return: {error}");
            }
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<GroupName, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, group: &GroupName, usable: impl Fn(&Entry) -> bool) -> Result<Entry, GroupError> {
        let entries = self.read();
        match entries.get(group) {
            Some(entry) if usable(entry) => Ok(entry.clone()),
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
            roster: Arc::new(Mutex::new(Roster::new(self.budget.clone(), (self.clock)()))),
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
    /// The rules of a group could not be set.
    #[error("cannot set the rules of group {group}: {error}")]
    Policy {
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

async fn watch_holders(groups: Weak<Groups>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(groups) = groups.upgrade() else { return };
        groups.tick().await;
    }
}

fn status_of(name: GroupName, entry: &Entry, semaphore: Semaphore, now: Timestamp) -> GroupStatus {
    let roster = entry.roster();
    let fleet = roster.fleet(now);
    let known = known(&semaphore, &fleet);
    let (waiting, longest) = roster.waiting(NAMED_WAITING, now);
    let waiting_hosts = longest.into_iter().map(|host| WaitingStatus {
        why: refusal(&semaphore, host.zone.as_deref(), &fleet, now)
            .map_or_else(|| "a slot is free; asks again soon".to_owned(), |why| why.to_string()),
        id: host.id,
        since: host.since,
        zone: host.zone,
    });
    let waiting_hosts = waiting_hosts.collect();
    let versions = roster.versions().into_iter();
    let versions = versions
        .map(|(version, hosts)| VersionStatus { version, hosts })
        .collect();
    drop(roster);
    let holders = semaphore.holders.into_iter().map(|(id, hold)| HolderStatus {
        id,
        since: hold.since,
        zone: hold.zone,
        version: hold.version,
        overdue: hold.overdue,
    });
    let mut holders: Vec<_> = holders.collect();
    holders.sort_by_key(|holder| holder.since);
    let failures = semaphore.failures.into_iter().map(|(id, failure)| FailureStatus {
        id,
        at: failure.at,
        what: failure.what,
        version: failure.version,
    });
    let mut failures: Vec<_> = failures.collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.at));
    GroupStatus {
        name,
        slots: semaphore.policy.slots.of(known),
        configured: entry.configured,
        holders,
        policy: semaphore.policy,
        paused: semaphore.paused,
        halted: semaphore.halted,
        failures,
        waiting,
        waiting_hosts,
        known,
        versions,
    }
}
