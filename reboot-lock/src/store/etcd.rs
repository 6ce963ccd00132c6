//! The store for any number of servers: etcd v3.
//!
//! `<prefix>groups/<group>` holds the JSON of a group's record, whose revision is the key's mod revision.
//! `<prefix>history/<group>/<revision>` holds the events of the swap that replaced that revision, written in the same
//! transaction. Neither has a lease: a lease frees a slot exactly when a host, or the network, is in trouble.
//!
//! Every read is linearizable. A read that fails is tried again on another endpoint. A write is tried again only where it
//! certainly was never sent, because its endpoint could not be reached; any other write that failed may have been applied.

mod members;
mod trimmer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, GetOptions, Identity, SortOrder, SortTarget, TlsOptions,
    Txn, TxnOp,
};
use serde::Deserialize;

use super::{Answer, Revision, Store, StoreError, Stored};
use crate::history::Event;
use crate::names::GroupName;
use crate::semaphore::Semaphore;
use members::{Members, plainly, reaching};
use trimmer::Trimmer;

/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// How long a read or write may take. A cluster without a majority answers after 7 seconds; nobody waits for that.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// How often a connection at rest is tested, so that a cut one is noticed before it is needed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// After how many swaps of this server the history is cut.
const TRIM_EVERY: u64 = 256;

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
    members: Members,
    prefix: String,
    swaps: AtomicU64,
    trimmer: Trimmer,
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
        let members = Members::new(client);
        Ok(Self {
            trimmer: Trimmer::start(members.clone(), history_prefix(&config.prefix)),
            members,
            prefix: config.prefix.clone(),
            swaps: AtomicU64::new(0),
        })
    }

    fn group_key(&self, group: &str) -> String {
        format!("{}groups/{group}", self.prefix)
    }

    /// Every key that begins with `prefix`, with its value; keys that are not text are left out. For an import from another
    /// server's keys.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn read_under(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let options = GetOptions::new().with_prefix();
        let mut response = self.members.get(prefix.to_owned(), Some(options)).await?;
        let pairs = response.take_kvs().into_iter();
        Ok(pairs
            .filter_map(|kv| Some((kv.key_str().ok()?.to_owned(), kv.value().to_vec())))
            .collect())
    }
}

fn history_prefix(prefix: &str) -> String {
    format!("{prefix}history/")
}

impl Store for Etcd {
    fn groups(&self) -> Answer<'_, Result<Vec<GroupName>, StoreError>> {
        Box::pin(async {
            let prefix = self.group_key("");
            let options = GetOptions::new().with_prefix().with_keys_only();
            let response = self.members.get(prefix.clone(), Some(options)).await?;
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
            let response = self.members.get(self.group_key(group.as_str()), None).await?;
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
                let key = format!("{}{group}/{}", history_prefix(&self.prefix), expected.0);
                writes.push(TxnOp::put(key, serde_json::to_vec(events).map_err(json)?, None));
            }
            // A key that does not exist has the mod revision 0.
            let revision = i64::try_from(expected.0).unwrap_or(i64::MAX);
            let unchanged = Compare::mod_revision(key, CompareOp::Equal, revision);
            let transaction = Txn::new().when([unchanged]).and_then(writes);
            let response = self.members.transact(transaction).await;
            let response = response
                .map_err(|error| StoreError::Unavailable(format!("cannot write to etcd: {}", plainly(&error))))?;
            if !response.succeeded() {
                return Err(StoreError::Conflict);
            }
            let swaps = self.swaps.fetch_add(1, Ordering::Relaxed) + 1;
            if swaps.is_multiple_of(TRIM_EVERY) {
                self.trimmer.trim();
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
            let response = self.members.get(history_prefix(&self.prefix), Some(options)).await?;
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
