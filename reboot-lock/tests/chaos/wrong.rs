//! Two stores that are wrong on purpose: what proves that the checks see anything.

use etcd_client::{Client, Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp};
use twinhull_lock::history::Event;
use twinhull_lock::names::GroupName;
use twinhull_lock::semaphore::Semaphore;
use twinhull_lock::store::{Answer, Etcd, Revision, Store, StoreError, Stored};

use crate::invariants::GROUPS;

/// Seconds; the least that etcd allows.
const LEASE: i64 = 2;

fn down(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// Reads what a member has, without asking the others.
pub(crate) struct Stale {
    pub(crate) right: Etcd,
    pub(crate) client: Client,
}

impl Store for Stale {
    fn groups(&self) -> Answer<'_, Result<Vec<GroupName>, StoreError>> {
        self.right.groups()
    }

    fn load<'a>(&'a self, group: &'a GroupName) -> Answer<'a, Result<Stored, StoreError>> {
        Box::pin(async move {
            let options = GetOptions::new().with_serializable();
            let mut client = self.client.kv_client();
            let response = client
                .get(format!("{GROUPS}{group}"), Some(options))
                .await
                .map_err(down)?;
            let Some(kv) = response.kvs().first() else {
                return Ok(Stored {
                    revision: Revision(0),
                    semaphore: Semaphore::default(),
                });
            };
            Ok(Stored {
                revision: Revision(u64::try_from(kv.mod_revision()).unwrap()),
                semaphore: serde_json::from_slice(kv.value()).map_err(down)?,
            })
        })
    }

    fn swap<'a>(
        &'a self,
        group: &'a GroupName,
        expected: Revision,
        semaphore: &'a Semaphore,
        events: &'a [Event],
    ) -> Answer<'a, Result<Revision, StoreError>> {
        self.right.swap(group, expected, semaphore, events)
    }

    fn history(&self, limit: usize) -> Answer<'_, Result<Vec<Event>, StoreError>> {
        self.right.history(limit)
    }
}

/// Lets records expire.
pub(crate) struct Lease {
    pub(crate) right: Etcd,
    pub(crate) client: Client,
}

impl Store for Lease {
    fn groups(&self) -> Answer<'_, Result<Vec<GroupName>, StoreError>> {
        self.right.groups()
    }

    fn load<'a>(&'a self, group: &'a GroupName) -> Answer<'a, Result<Stored, StoreError>> {
        Box::pin(async move {
            let mut stored = self.right.load(group).await?;
            // The rules are the server's own; only who holds what has expired.
            if stored.revision == Revision(0) {
                let slots = crate::invariants::slots(group.as_str());
                stored.semaphore.policy = twinhull_lock::policy::Policy::with_slots(slots);
            }
            Ok(stored)
        })
    }

    fn swap<'a>(
        &'a self,
        group: &'a GroupName,
        expected: Revision,
        semaphore: &'a Semaphore,
        _: &'a [Event],
    ) -> Answer<'a, Result<Revision, StoreError>> {
        Box::pin(async move {
            let lease = self.client.lease_client().grant(LEASE, None).await.map_err(down)?.id();
            let key = format!("{GROUPS}{group}");
            let value = serde_json::to_vec(semaphore).map_err(down)?;
            let put = TxnOp::put(key.clone(), value, Some(PutOptions::new().with_lease(lease)));
            let revision = i64::try_from(expected.0).unwrap();
            let transaction = Txn::new()
                .when([Compare::mod_revision(key, CompareOp::Equal, revision)])
                .and_then([put]);
            let response = self.client.kv_client().txn(transaction).await.map_err(down)?;
            if !response.succeeded() {
                return Err(StoreError::Conflict);
            }
            Ok(Revision(u64::try_from(response.header().unwrap().revision()).unwrap()))
        })
    }

    fn history(&self, limit: usize) -> Answer<'_, Result<Vec<Event>, StoreError>> {
        self.right.history(limit)
    }
}
