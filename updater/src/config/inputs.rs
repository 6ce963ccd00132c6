//! All files merged, key by key: the last file that sets a key wins, and it is remembered which one that was.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::fragments::Fragment;

/// A value and the file it came from.
#[derive(Debug, Clone)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) file: PathBuf,
}

/// A key after merging; `None` if no file set it.
pub(super) type Key<T> = Option<Sourced<T>>;

/// The merged files.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) repository: Key<String>,
    pub(super) product: Key<String>,
    pub(super) channel: Key<String>,
    pub(super) poll_seconds: Key<u64>,
    pub(super) strategy: Key<String>,
    pub(super) lock_url: Key<String>,
    pub(super) group: Key<String>,
    pub(super) retry_seconds: Key<u64>,
    pub(super) units: Key<Vec<String>>,
    pub(super) settle_seconds: Key<u64>,
    pub(super) timeout_seconds: Key<u64>,
    pub(super) script_seconds: Key<u64>,
}

impl Inputs {
    /// Lays one more file over what is there.
    pub(super) fn merge(&mut self, fragment: Fragment, file: &Path) {
        let Fragment { updates, lock, health } = fragment;
        over(&mut self.repository, updates.repository, file);
        over(&mut self.product, updates.product, file);
        over(&mut self.channel, updates.channel, file);
        over(&mut self.poll_seconds, updates.poll_seconds, file);
        over(&mut self.strategy, updates.strategy, file);
        over(&mut self.lock_url, lock.url, file);
        over(&mut self.group, lock.group, file);
        over(&mut self.retry_seconds, lock.retry_seconds, file);
        over(&mut self.units, health.units, file);
        over(&mut self.settle_seconds, health.settle_seconds, file);
        over(&mut self.timeout_seconds, health.timeout_seconds, file);
        over(&mut self.script_seconds, health.script_seconds, file);
    }

    /// Every key that a file set: its name, its value as text, and that file.
    pub(super) fn origins(&self) -> Vec<Origin> {
        let units = self.units.as_ref().map(|key| Sourced {
            value: format!("{:?}", key.value),
            file: key.file.clone(),
        });
        [
            origin("updates.repository", self.repository.as_ref()),
            origin("updates.product", self.product.as_ref()),
            origin("updates.channel", self.channel.as_ref()),
            origin("updates.poll_seconds", self.poll_seconds.as_ref()),
            origin("updates.strategy", self.strategy.as_ref()),
            origin("lock.url", self.lock_url.as_ref()),
            origin("lock.group", self.group.as_ref()),
            origin("lock.retry_seconds", self.retry_seconds.as_ref()),
            origin("health.units", units.as_ref()),
            origin("health.settle_seconds", self.settle_seconds.as_ref()),
            origin("health.timeout_seconds", self.timeout_seconds.as_ref()),
            origin("health.script_seconds", self.script_seconds.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Where a value came from.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Origin {
    /// The key with its table, as in `lock.url`.
    pub key: &'static str,
    /// The value as text.
    pub value: String,
    /// The file that set it.
    pub file: PathBuf,
}

fn over<T>(key: &mut Key<T>, value: Option<T>, file: &Path) {
    if let Some(value) = value {
        *key = Some(Sourced {
            value,
            file: file.to_owned(),
        });
    }
}

fn origin<T: Display>(name: &'static str, key: Option<&Sourced<T>>) -> Option<Origin> {
    key.map(|Sourced { value, file }| Origin {
        key: name,
        value: value.to_string(),
        file: file.clone(),
    })
}
