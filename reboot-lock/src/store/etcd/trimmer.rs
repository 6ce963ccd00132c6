//! Cuts the history in etcd, beside what hosts ask: no answer waits for it.

use etcd_client::{GetOptions, SortOrder, SortTarget, Txn, TxnOp};
use tokio::sync::mpsc;

use super::super::StoreError;
use super::members::{Members, plainly};

/// How many swaps the history goes back. etcd sorts all of them for every look at the latest.
pub(super) const HISTORY_KEPT: usize = 2000;

/// The most keys that are deleted in one transaction; etcd allows 128 operations.
const TRIM_AT_ONCE: usize = 100;

/// The task that cuts the history when told to; ends when this is dropped.
pub(super) struct Trimmer(mpsc::Sender<()>);

impl Trimmer {
    pub(super) fn start(members: Members, prefix: String) -> Self {
        // One that waits is enough: it will find whatever there is too much of.
        let (told, mut wait) = mpsc::channel(1);
        tokio::spawn(async move {
            while wait.recv().await.is_some() {
                if let Err(error) = trim(&members, &prefix).await {
                    tracing::warn!("{error}");
                }
            }
        });
        Self(told)
    }

    pub(super) fn trim(&self) {
        // Full: it has been told already.
        let _ = self.0.try_send(());
    }
}

/// Deletes what the history below `prefix` has too much of. What fails is left for the next time.
async fn trim(members: &Members, prefix: &str) -> Result<(), StoreError> {
    let options = GetOptions::new()
        .with_prefix()
        .with_keys_only()
        .with_sort(SortTarget::Mod, SortOrder::Descend);
    let mut keys = members.get(prefix.to_owned(), Some(options)).await?;
    let kvs = keys.take_kvs();
    let old: Vec<_> = kvs.into_iter().skip(HISTORY_KEPT).collect();
    for part in old.chunks(TRIM_AT_ONCE) {
        let deletes: Vec<_> = part.iter().map(|kv| TxnOp::delete(kv.key(), None)).collect();
        let trimmed = members.transact(Txn::new().and_then(deletes)).await;
        trimmed
            .map_err(|error| StoreError::Unavailable(format!("cannot cut the history in etcd: {}", plainly(&error))))?;
    }
    Ok(())
}
