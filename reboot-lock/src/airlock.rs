//! What airlock, another `FleetLock` server, keeps: its configuration file, and its groups in etcd.
//!
//! airlock keeps no times and no reasons: a holder is an id in a list, and a slot that was taken before the import counts as
//! taken at the import.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use crate::history::Change;
use crate::names::{GroupName, HostId, NameError};
use crate::policy::MAX_SLOTS;
use crate::semaphore::{Hold, Semaphore};

/// What the keys of the groups begin with.
pub const GROUPS: &str = "com.coreos.airlock/groups/";

/// What follows the name of the group.
pub const SEMAPHORE: &str = "/v1/semaphore";

/// airlock's own default for the base group.
const BASE_GROUP: &str = "default";
const BASE_SLOTS: u32 = 1;

/// Why what airlock keeps cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AirlockError {
    /// The configuration file.
    #[error("{0}")]
    Config(#[from] twinhull_config::ConfigError),
    /// A group that this server does not allow.
    #[error("airlock's configuration has the group `{group}`: {reason}")]
    Group {
        /// Its name.
        group: String,
        /// Why not.
        reason: String,
    },
    /// A record that is not what airlock writes.
    #[error("airlock's record {key} in etcd cannot be understood: {reason}")]
    Record {
        /// Its key.
        key: String,
        /// Why.
        reason: String,
    },
}

/// airlock's configuration, as far as it says what this server needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AirlockConfig {
    /// Where hosts ask.
    pub listen: Option<(String, u16)>,
    /// The members of its etcd. It uses only the first.
    pub endpoints: Vec<String>,
    /// The slots of each group.
    pub groups: BTreeMap<GroupName, u32>,
}

// Unknown keys are airlock's own business, such as its figures.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    service: RawService,
    etcd3: RawEtcd,
    lock: RawLock,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawService {
    address: Option<String>,
    port: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEtcd {
    endpoints: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawLock {
    default_group_name: Option<String>,
    default_slots: Option<u32>,
    groups: Vec<RawGroup>,
}

#[derive(Deserialize)]
struct RawGroup {
    name: String,
    slots: Option<u32>,
}

impl AirlockConfig {
    /// Reads airlock's file at `path`.
    ///
    /// # Errors
    /// See [`AirlockError`].
    pub fn read(path: &Path) -> Result<Self, AirlockError> {
        Self::from_raw(twinhull_config::read(path)?)
    }

    // The base group is there whether it is listed or not, and its slots are those of groups that name none.
    fn from_raw(Raw { service, etcd3, lock }: Raw) -> Result<Self, AirlockError> {
        let base_slots = lock.default_slots.unwrap_or(BASE_SLOTS);
        let base = (
            lock.default_group_name.unwrap_or_else(|| BASE_GROUP.to_owned()),
            base_slots,
        );
        let listed = lock.groups.into_iter();
        let listed = listed.map(|group| (group.name, group.slots.unwrap_or(base_slots)));
        let mut groups = BTreeMap::new();
        for (group, slots) in listed.chain([base]) {
            let refused = |reason: String| AirlockError::Group {
                group: group.clone(),
                reason,
            };
            if slots > MAX_SLOTS {
                return Err(refused(format!(
                    "it has {slots} slots; at most {MAX_SLOTS} are allowed"
                )));
            }
            let name = group.parse().map_err(|error: NameError| refused(error.to_string()))?;
            groups.insert(name, slots);
        }
        Ok(Self {
            listen: service.address.zip(service.port),
            endpoints: etcd3.endpoints,
            groups,
        })
    }
}

/// One group in airlock's etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AirlockGroup {
    /// Its name.
    pub name: GroupName,
    /// The slots that were configured when airlock first saw the group; it does not follow its configuration.
    pub slots: u64,
    /// Who holds one.
    pub holders: Vec<HostId>,
}

#[derive(Deserialize)]
struct RawSemaphore {
    total_slots: u64,
    // Go writes an empty list as `null`.
    holders: Option<Vec<HostId>>,
}

impl AirlockGroup {
    /// Reads the record `value` under `key`; `None` when the key is not a group's semaphore.
    ///
    /// # Errors
    /// [`AirlockError::Record`].
    pub fn parse(key: &str, value: &[u8]) -> Result<Option<Self>, AirlockError> {
        let name = key.strip_prefix(GROUPS).and_then(|rest| rest.strip_suffix(SEMAPHORE));
        let Some(name) = name else { return Ok(None) };
        let refused = |reason: String| AirlockError::Record {
            key: key.to_owned(),
            reason,
        };
        let name = name.parse().map_err(|error: NameError| refused(error.to_string()))?;
        let raw: RawSemaphore = serde_json::from_slice(value).map_err(|error| refused(error.to_string()))?;
        Ok(Some(Self {
            name,
            slots: raw.total_slots,
            holders: raw.holders.unwrap_or_default(),
        }))
    }
}

/// Adds `holders` to `state`, whatever its rules: they hold their slots already. Who is a holder there stays as it is.
pub fn add_holders(mut state: Semaphore, holders: &[HostId], now: Timestamp) -> (Semaphore, Vec<Change>) {
    let mut changes = Vec::new();
    for id in holders {
        if state.holders.contains_key(id) {
            continue;
        }
        let hold = Hold {
            since: now,
            zone: None,
            version: None,
            overdue: false,
        };
        state.holders.insert(id.clone(), hold);
        changes.push(Change::Granted {
            id: id.clone(),
            zone: None,
            version: None,
        });
    }
    (state, changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<AirlockConfig, AirlockError> {
        AirlockConfig::from_raw(twinhull_config::parse(text, Path::new("airlock.toml"))?)
    }

    fn groups(text: &str) -> Vec<(String, u32)> {
        let groups = config(text).unwrap().groups.into_iter();
        groups.map(|(name, slots)| (name.into(), slots)).collect()
    }

    #[test]
    fn groups_have_the_slots_that_airlock_gives_them() {
        assert_eq!(groups(""), [("default".to_owned(), 1)]);
        let text = "[status]\nenabled = true\n[service]\naddress = \"0.0.0.0\"\nport = 3333\ntls = false\n\
                    [etcd3]\nendpoints = [\"http://a:2379\"]\ntransaction_timeout_ms = 9\n\
                    [lock]\ndefault_group_name = \"base\"\ndefault_slots = 2\n\
                    [[lock.groups]]\nname = \"workers\"\n[[lock.groups]]\nname = \"controllers\"\nslots = 1\n";
        let expected = [("base", 2), ("controllers", 1), ("workers", 2)];
        assert_eq!(groups(text), expected.map(|(name, slots)| (name.to_owned(), slots)));
        let config = config(text).unwrap();
        assert_eq!(config.listen, Some(("0.0.0.0".to_owned(), 3333)));
        assert_eq!(config.endpoints, ["http://a:2379"]);
    }

    #[test]
    fn groups_that_this_server_does_not_allow_are_named() {
        for (text, problem) in [
            ("[[lock.groups]]\nname = \"a b\"", "group `a b`"),
            ("[lock]\ndefault_slots = 1001", "1001 slots"),
            ("[lock]\ndefault_slots = \"two\"", "airlock.toml:2"),
        ] {
            let error = config(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn records_are_read_as_airlock_writes_them() {
        let key = format!("{GROUPS}workers{SEMAPHORE}");
        let parse = |value: &str| AirlockGroup::parse(&key, value.as_bytes());
        let group = parse(r#"{"total_slots":2,"holders":["a","b"]}"#).unwrap().unwrap();
        assert_eq!(
            (group.name.as_str(), group.slots, group.holders.len()),
            ("workers", 2, 2)
        );
        assert!(
            parse(r#"{"total_slots":1,"holders":null}"#)
                .unwrap()
                .unwrap()
                .holders
                .is_empty()
        );
        assert!(AirlockGroup::parse("com.coreos.airlock/other", b"?").unwrap().is_none());
        for bad in ["", "{}", r#"{"total_slots":1,"holders":[""]}"#, r#"{"total_slots":-1}"#] {
            assert!(parse(bad).unwrap_err().to_string().contains(&key), "{bad}");
        }
    }

    #[test]
    fn holders_are_added_once_beyond_any_rule() {
        let ids = ["a", "b"].map(|id| id.parse().unwrap());
        let (state, changes) = add_holders(Semaphore::default(), &ids, Timestamp::UNIX_EPOCH);
        assert_eq!((state.holders.len(), changes.len()), (2, 2));
        let later = Timestamp::from_second(9).unwrap();
        assert_eq!(add_holders(state.clone(), &ids, later), (state, Vec::new()));
    }
}
