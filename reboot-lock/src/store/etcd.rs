//! The store for any number of servers: etcd v3.
//!
//! `<prefix>groups/<group>` holds the JSON of a group's record, whose revision is the key's mod revision.
//! `<prefix>history/<group>/<revision>` holds the events of the swap that replaced that revision, written in the same
//! transaction. Neither has a lease: a lease frees a slot exactly when a host, or the network, is in trouble.
//!
//! Every read is linearizable. A read that fails is tried again on another endpoint. A write is tried again only where it
//! certainly was never sent, because its endpoint could not be reached; any other write that failed may have been applied.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, Error, GetOptions, GetResponse, Identity, SortOrder,
    SortTarget, TlsOptions, Txn, TxnOp, TxnResponse,
};
use serde::Deserialize;

use super::{Answer, Revision, Store, StoreError, Stored};
use crate::history::Event;
use crate::names::GroupName;
use crate::semaphore::Semaphore;

/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// How long a read or write may take. A cluster without a majority answers after 7 seconds; nobody waits for that.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// How often a connection at rest is tested, so that a cut one is noticed before it is needed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How often a read is tried.
const READS: u32 = 3;

/// How many endpoints that cannot be reached are gone through. They are picked at random, so that the same one comes up again.
const UNREACHED: u32 = 10;

/// How many swaps the history goes back. etcd sorts all of them for every look at the latest.
const HISTORY_KEPT: usize = 2000;

/// After how many swaps of this server the history is cut to that.
const TRIM_EVERY: u64 = 256;

/// The most keys that are deleted in one transaction; etcd allows 128 operations.
const TRIM_AT_ONCE: usize = 100;

/// `[store.etcd]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdConfig {
    /// URLs of the members, such as `https://10.0.0.1:2379`.
    pub endpoints: Vec<String>,
    /// What the keys begin with.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// The user, where etcd asks for one.
    pub user: Option<String>,
    /// The file with the user's password.
    pub password_file: Option<PathBuf>,
    /// Who signs the certificates of the members, in PEM; needed for `https`.
    pub ca: Option<PathBuf>,
    /// This server's certificate chain, in PEM, where etcd asks for one.
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
}

fn default_prefix() -> String {
    "/twinhull-lock/".to_owned()
}

/// Why etcd cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// A file that the configuration names.
    #[error("cannot read {path} (store.etcd.{key}): {source}")]
    File {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration.
    #[error("store.etcd: {0}")]
    Config(&'static str),
    /// The cluster.
    #[error("cannot connect to etcd at {endpoints}: {}", plainly(source))]
    Connect {
        /// Where.
        endpoints: String,
        /// Why.
        source: Box<etcd_client::Error>,
    },
}

impl EtcdConfig {
    /// Members at `endpoints` that anybody may use.
    pub fn at(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            prefix: default_prefix(),
            user: None,
            password_file: None,
            ca: None,
            certificate: None,
            key: None,
        }
    }

    /// Checks what the format alone does not.
    ///
    /// # Errors
    /// [`EtcdError::Config`].
    pub fn check(&self) -> Result<(), EtcdError> {
        if self.endpoints.is_empty() {
            return Err(EtcdError::Config("endpoints is empty; name at least one member"));
        }
        let secure = self.endpoints.iter().filter(|url| url.starts_with("https://")).count();
        if secure != 0 && secure != self.endpoints.len() {
            return Err(EtcdError::Config("endpoints has both http and https; use one"));
        }
        if (secure != 0) != self.ca.is_some() {
            return Err(EtcdError::Config(
                "https endpoints need ca, and http ones do not use it",
            ));
        }
        if self.user.is_some() != self.password_file.is_some() {
            return Err(EtcdError::Config("user and password_file go together"));
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(EtcdError::Config("certificate and key go together"));
        }
        // Without the slash, "/lock" would also be the beginning of somebody's "/locksmith".
        if self.prefix.len() < 2 || !self.prefix.ends_with('/') {
            return Err(EtcdError::Config(
                "prefix must be a name that ends with /, such as /twinhull-lock/",
            ));
        }
        Ok(())
    }

    fn options(&self) -> Result<ConnectOptions, EtcdError> {
        let read = |key, path: &PathBuf| {
            let path = path.clone();
            std::fs::read(&path).map_err(|source| EtcdError::File { key, path, source })
        };
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIME)
            .with_timeout(REQUEST_TIME)
            .with_keep_alive(KEEP_ALIVE, CONNECT_TIME)
            .with_keep_alive_while_idle(true)
            .with_auto_token_refresh(true);
        if let (Some(user), Some(path)) = (&self.user, &self.password_file) {
            let password = read("password_file", path)?;
            let password = std::str::from_utf8(&password)
                .map_err(|_| EtcdError::Config("the password is not text"))?
                .trim_end_matches(['\r', '\n'])
                .to_owned();
            options = options.with_user(user, password);
        }
        if let Some(ca) = &self.ca {
            let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read("ca", ca)?));
            if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
                tls = tls.identity(Identity::from_pem(read("certificate", certificate)?, read("key", key)?));
            }
            options = options.with_tls(tls);
        }
        Ok(options)
    }
}

/// The store in etcd.
pub struct Etcd {
    client: Client,
    prefix: String,
    swaps: AtomicU64,
}

impl Etcd {
    /// Connects as `config` says. Without a user nothing is sent yet.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn connect(config: &EtcdConfig) -> Result<Self, EtcdError> {
        config.check()?;
        let options = config.options()?;
        let client = reaching(|| Client::connect(&config.endpoints, Some(options.clone()))).await;
        let client = client.map_err(|source| EtcdError::Connect {
            endpoints: config.endpoints.join(", "),
            source: Box::new(source),
        })?;
        Ok(Self {
            client,
            prefix: config.prefix.clone(),
            swaps: AtomicU64::new(0),
        })
    }

    fn group_key(&self, group: &str) -> String {
        format!("{}groups/{group}", self.prefix)
    }

    fn history_prefix(&self) -> String {
        format!("{}history/", self.prefix)
    }

    /// A linearizable read (etcd's default), tried again where it fails.
    async fn get(&self, key: String, options: Option<GetOptions>) -> Result<GetResponse, StoreError> {
        let mut attempt = 1;
        loop {
            let got = reaching(|| {
                let (mut client, key, options) = (self.client.kv_client(), key.clone(), options.clone());
                async move { client.get(key, options).await }
            });
            match got.await {
                Ok(response) => return Ok(response),
                Err(error) if attempt < READS => tracing::debug!("reading from etcd failed, trying again: {error}"),
                Err(error) => {
                    return Err(StoreError::Unavailable(format!(
                        "cannot read from etcd: {}",
                        plainly(&error)
                    )));
                }
            }
            attempt += 1;
        }
    }

    /// A transaction, made once at most.
    async fn transact(&self, transaction: Txn) -> Result<TxnResponse, Error> {
        reaching(|| {
            let (mut client, transaction) = (self.client.kv_client(), transaction.clone());
            async move { client.txn(transaction).await }
        })
        .await
    }

    /// Every key that begins with `prefix`, with its value; keys that are not text are left out. For an import from another
    /// server's keys.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn read_under(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let options = GetOptions::new().with_prefix();
        let mut response = self.get(prefix.to_owned(), Some(options)).await?;
        let pairs = response.take_kvs().into_iter();
        Ok(pairs
            .filter_map(|kv| Some((kv.key_str().ok()?.to_owned(), kv.value().to_vec())))
            .collect())
    }

    /// Deletes what the history has too much of. What fails is left for the next time.
    async fn trim(&self) -> Result<(), StoreError> {
        let options = GetOptions::new()
            .with_prefix()
            .with_keys_only()
            .with_sort(SortTarget::Mod, SortOrder::Descend);
        let mut keys = self.get(self.history_prefix(), Some(options)).await?;
        let kvs = keys.take_kvs();
        let old: Vec<_> = kvs.into_iter().skip(HISTORY_KEPT).collect();
        for part in old.chunks(TRIM_AT_ONCE) {
            let deletes: Vec<_> = part.iter().map(|kv| TxnOp::delete(kv.key(), None)).collect();
            let trimmed = self.transact(Txn::new().and_then(deletes)).await;
            trimmed.map_err(|error| {
                StoreError::Unavailable(format!("cannot cut the history in etcd: {}", plainly(&error)))
            })?;
        }
        Ok(())
    }
}

/// Makes `call` until one reaches its endpoint. One that does not was not sent, so that making it again is not making it twice.
async fn reaching<T, F: Future<Output = Result<T, Error>>>(mut call: impl FnMut() -> F) -> Result<T, Error> {
    let mut attempt = 1;
    loop {
        match call().await {
            Err(error) if attempt < UNREACHED && was_not_sent(&error) => {
                tracing::debug!("an endpoint of etcd cannot be reached, trying the others: {error}");
            }
            done => return done,
        }
        attempt += 1;
    }
}

/// What is behind `error`, from the outside in; the client itself does not say.
fn causes(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let outermost: Option<&(dyn std::error::Error + 'static)> = match error {
        Error::GRpcStatus(status) => Some(status),
        Error::TransportError(error) => Some(error),
        _ => None,
    };
    std::iter::successors(outermost, |error| error.source())
}

/// Whether there was no connection to send it on.
fn was_not_sent(error: &Error) -> bool {
    causes(error).any(<dyn std::error::Error>::is::<tonic::ConnectError>)
}

/// `error` for people: what was said, and the innermost cause.
fn plainly(error: &Error) -> String {
    let said = match error {
        Error::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    };
    match causes(error).skip(1).last().map(ToString::to_string) {
        Some(cause) if !said.contains(&cause) => format!("{said}: {cause}"),
        _ => said,
    }
}

impl Store for Etcd {
    fn groups(&self) -> Answer<'_, Result<Vec<GroupName>, StoreError>> {
        Box::pin(async {
            let prefix = self.group_key("");
            let options = GetOptions::new().with_prefix().with_keys_only();
            let response = self.get(prefix.clone(), Some(options)).await?;
            let names = response.kvs().iter().filter_map(|kv| {
                let name = kv.key_str().ok()?.strip_prefix(&prefix)?;
                // A name that this version does not allow cannot be asked for either.
                name.parse().ok()
            });
            Ok(names.collect())
        })
    }

    fn load<'a>(&'a self, group: &'a GroupName) -> Answer<'a, Result<Stored, StoreError>> {
        Box::pin(async move {
            let response = self.get(self.group_key(group.as_str()), None).await?;
            let Some(kv) = response.kvs().first() else {
                return Ok(Stored {
                    revision: Revision(0),
                    semaphore: Semaphore::default(),
                });
            };
            let semaphore = serde_json::from_slice(kv.value()).map_err(|error| {
                StoreError::Unavailable(format!(
                    "the record of group {group} in etcd cannot be understood: {error}"
                ))
            })?;
            Ok(Stored {
                revision: Revision(u64::try_from(kv.mod_revision()).unwrap_or(0)),
                semaphore,
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
        Box::pin(async move {
            let json = |error: serde_json::Error| StoreError::Unavailable(format!("cannot write JSON: {error}"));
            let key = self.group_key(group.as_str());
            let mut writes = vec![TxnOp::put(
                key.clone(),
                serde_json::to_vec(semaphore).map_err(json)?,
                None,
            )];
            if !events.is_empty() {
                let key = format!("{}{group}/{}", self.history_prefix(), expected.0);
                writes.push(TxnOp::put(key, serde_json::to_vec(events).map_err(json)?, None));
            }
            // A key that does not exist has the mod revision 0.
            let revision = i64::try_from(expected.0).unwrap_or(i64::MAX);
            let unchanged = Compare::mod_revision(key, CompareOp::Equal, revision);
            let transaction = Txn::new().when([unchanged]).and_then(writes);
            let response = self.transact(transaction).await;
            let response = response
                .map_err(|error| StoreError::Unavailable(format!("cannot write to etcd: {}", plainly(&error))))?;
            if !response.succeeded() {
                return Err(StoreError::Conflict);
            }
            let swaps = self.swaps.fetch_add(1, Ordering::Relaxed) + 1;
            if swaps.is_multiple_of(TRIM_EVERY)
                && let Err(error) = self.trim().await
            {
                tracing::warn!("{error}");
            }
            let revision = response.header().map_or(0, etcd_client::ResponseHeader::revision);
            Ok(Revision(u64::try_from(revision).unwrap_or(0)))
        })
    }

    fn history(&self, limit: usize) -> Answer<'_, Result<Vec<Event>, StoreError>> {
        Box::pin(async move {
            let options = GetOptions::new()
                .with_prefix()
                .with_sort(SortTarget::Mod, SortOrder::Descend)
                .with_limit(i64::try_from(limit).unwrap_or(i64::MAX));
            let response = self.get(self.history_prefix(), Some(options)).await?;
            let mut latest = Vec::new();
            for kv in response.kvs() {
                let events: Vec<Event> = serde_json::from_slice(kv.value()).map_err(|error| {
                    let key = kv.key_str().unwrap_or("?");
                    StoreError::Unavailable(format!("{key} in etcd cannot be understood: {error}"))
                })?;
                latest.extend(events.into_iter().rev());
            }
            latest.truncate(limit);
            Ok(latest)
        })
    }
}

#[cfg(test)]
mod tests;
