//! Targets: looked up by name, fetched, compared with what is signed (TUF 1.0.x section 5.7).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::Client;
use crate::metadata::{Hashes, TargetRecord};
use crate::{Clock, Fetcher, Hex32, TrustError, fetch, name};

/// How many documents are kept so that they need not be fetched again.
const KEPT_DOCUMENTS: usize = 16;

/// What is signed about a target file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    name: String,
    length: u64,
    hashes: Hashes,
    custom: Option<Value>,
}

impl Target {
    /// The name it was found by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The exact length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The hashes by algorithm, as hexadecimal text.
    pub fn hashes(&self) -> &BTreeMap<String, String> {
        self.hashes.as_map()
    }

    /// What else the signers say about it.
    pub fn custom(&self) -> Option<&Value> {
        self.custom.as_ref()
    }

    /// Whether `bytes` are this target.
    ///
    /// # Errors
    /// [`TrustError::Mismatch`], saying what differs.
    pub fn check(&self, bytes: &[u8]) -> Result<(), TrustError> {
        let fits = if bytes.len() as u64 == self.length {
            self.hashes.check(bytes)
        } else {
            Err(format!("it has {} bytes where {} are listed", bytes.len(), self.length))
        };
        fits.map_err(|why| TrustError::Mismatch {
            name: self.name.clone(),
            why,
        })
    }
}

impl Client {
    /// Looks up the target `name`. Refreshes first, at the time of `clock`, if that has not been done; after a refresh all
    /// expiry is judged at the time of that refresh.
    ///
    /// # Errors
    /// Those of [`Client::refresh`]; [`TrustError::UnsafeName`]; a delegated role on the way that cannot be verified.
    pub fn find(
        &mut self,
        fetcher: &mut dyn Fetcher,
        clock: &dyn Clock,
        name: &str,
    ) -> Result<Option<Target>, TrustError> {
        name::target_path(name)?;
        if self.current.is_none() {
            self.refresh(fetcher, clock)?;
        }
        let Some(mut current) = self.current.take() else {
            return Ok(None);
        };
        let found = self.search(fetcher, &mut current, name);
        self.current = Some(current);
        Ok(found?.map(|record| {
            let TargetRecord { length, hashes, custom } = record;
            Target {
                name: name.to_owned(),
                length,
                hashes,
                custom,
            }
        }))
    }

    /// Fetches a target of at most `max` bytes and verifies it.
    ///
    /// # Errors
    /// The fetcher's; [`TrustError::TooLong`] if more than `max` bytes are signed or more than the signed length arrives;
    /// [`TrustError::Mismatch`].
    pub fn fetch_bytes(&self, fetcher: &mut dyn Fetcher, target: &Target, max: u64) -> Result<Vec<u8>, TrustError> {
        let path = self.path_of(target)?;
        if target.length > max {
            return Err(TrustError::TooLong { path, max });
        }
        let bytes = fetch::read_bounded(fetcher, &path, target.length)?;
        target.check(&bytes)?;
        Ok(bytes)
    }

    /// Fetches a target of at most `max` bytes, verifies it, and puts it at `destination`: whole, or not at all.
    ///
    /// # Errors
    /// Those of [`Client::fetch_bytes`]; [`TrustError::Store`].
    pub fn download(
        &self,
        fetcher: &mut dyn Fetcher,
        target: &Target,
        max: u64,
        destination: &Path,
    ) -> Result<(), TrustError> {
        let bytes = self.fetch_bytes(fetcher, target, max)?;
        Ok(twinhull_durable::replace(destination, &bytes, 0o644)?)
    }

    /// As [`Client::fetch_bytes`], but a copy kept from before is used if it still fits.
    pub(crate) fn fetch_kept(
        &self,
        fetcher: &mut dyn Fetcher,
        target: &Target,
        max: u64,
    ) -> Result<Vec<u8>, TrustError> {
        let name = Hex32::sha256_of(target.name.as_bytes()).to_string();
        let kept_as = format!("documents/{name}");
        if let Some(bytes) = self
            .store
            .read(&kept_as, max)
            .filter(|bytes| target.check(bytes).is_ok())
        {
            return Ok(bytes);
        }
        let bytes = self.fetch_bytes(fetcher, target, max)?;
        self.store.make_room("documents", KEPT_DOCUMENTS);
        self.store.write(&kept_as, &bytes)?;
        Ok(bytes)
    }

    /// `targets/DIR/HASH.FILE` with consistent snapshots, else `targets/DIR/FILE`.
    fn path_of(&self, target: &Target) -> Result<String, TrustError> {
        let path = name::target_path(&target.name)?;
        if !self.root.consistent_snapshot {
            return Ok(format!("targets/{path}"));
        }
        let hash = target.hashes.for_name().ok_or_else(|| TrustError::Mismatch {
            name: target.name.clone(),
            why: "no usable hash of a known algorithm is listed for it".to_owned(),
        })?;
        Ok(match path.rsplit_once('/') {
            Some((folder, file)) => format!("targets/{folder}/{hash}.{file}"),
            None => format!("targets/{hash}.{path}"),
        })
    }
}
