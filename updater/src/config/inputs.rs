//! All files merged, key by key: the last file that sets a key wins, and it is remembered which one that was.

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

/// Declares the merged form: one line for each key, its name here, its type, and where it is in a file.
macro_rules! keys {
    ($($name:ident: $type:ty = $table:ident.$key:ident;)*) => {
        /// The merged files.
        #[derive(Debug, Default)]
        pub(super) struct Inputs {
            $(pub(super) $name: Key<$type>,)*
        }

        impl Inputs {
            /// Lays one more file over what is there.
            pub(super) fn merge(&mut self, fragment: Fragment, file: &Path) {
                $(over(&mut self.$name, fragment.$table.$key, file);)*
            }

            /// Every key that a file set: its name, its value as text, and that file.
            pub(super) fn origins(&self) -> Vec<Origin> {
                let keys = [
                    $(origin(concat!(stringify!($table), ".", stringify!($key)), self.$name.as_ref()),)*
                ];
                keys.into_iter().flatten().collect()
            }
        }
    };
}

keys! {
    repository: String = updates.repository;
    product: String = updates.product;
    channel: String = updates.channel;
    poll_seconds: u64 = updates.poll_seconds;
    strategy: String = updates.strategy;
    pin_version: String = updates.pin_version;
    pin_wave: u64 = updates.pin_wave;
    min_age_seconds: u64 = updates.min_age_seconds;
    max_fetch_mib: u64 = updates.max_fetch_mib;
    beyond_max_fetch: String = updates.beyond_max_fetch;
    lock_url: String = lock.url;
    group: String = lock.group;
    zone: String = lock.zone;
    retry_seconds: u64 = lock.retry_seconds;
    windows: Vec<String> = gates.windows;
    time_zone: String = gates.time_zone;
    spread_seconds: u64 = gates.spread_seconds;
    min_uptime_seconds: u64 = gates.min_uptime_seconds;
    gate_users: bool = gates.users;
    gate_inhibitors: bool = gates.inhibitors;
    gate_healthy: bool = gates.healthy;
    gate_script_seconds: u64 = gates.script_seconds;
    hook_seconds: u64 = hooks.timeout_seconds;
    hook_failure: String = hooks.on_failure;
    units: Vec<String> = health.units;
    containers: Vec<String> = health.containers;
    reach: Vec<String> = health.reach;
    reported_units: Vec<String> = health.reported_units;
    reported_containers: Vec<String> = health.reported_containers;
    reported_reach: Vec<String> = health.reported_reach;
    settle_seconds: u64 = health.settle_seconds;
    timeout_seconds: u64 = health.timeout_seconds;
    script_seconds: u64 = health.script_seconds;
    proxy: String = http.proxy;
    ca: String = http.ca;
    client_certificate: String = http.client_certificate;
    client_key: String = http.client_key;
    control_group: String = control.group;
    metrics_listen: String = metrics.listen;
}

/// Where a value came from.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Origin {
    /// The key with its table, as in `lock.url`.
    pub key: &'static str,
    /// The value as it would be written.
    pub value: serde_json::Value,
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

fn origin<T: Clone + Into<serde_json::Value>>(name: &'static str, key: Option<&Sourced<T>>) -> Option<Origin> {
    key.map(|Sourced { value, file }| Origin {
        key: name,
        value: value.clone().into(),
        file: file.clone(),
    })
}
