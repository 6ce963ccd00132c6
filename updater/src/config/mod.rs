//! Configuration: drop-in files, merged by name, then checked.
//!
//! Three forms, each in its file: as written ([`fragments`]), merged ([`inputs`]), checked (here). Only the checked form
//! leaves this module.

mod fragments;
mod inputs;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use serde::Serialize;
use twinhull_layout::Product;

use crate::drop_ins::{self, ListError};
use crate::paths::Paths;
pub use inputs::Origin;
use inputs::{Inputs, Sourced};

/// A day, in seconds: the longest interval that makes sense for anything here but polling.
const DAY: u64 = 86_400;

/// Must be active on a healthy host if nothing else is set: a release whose agent does not start could never be replaced.
const AGENT_UNIT: &str = "twinhull-updater.service";

/// The agent's configuration, checked.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// Where updates come from; `None` leaves the agent idle.
    pub updates: Option<Updates>,
    /// The reboot lock; always there with [`Strategy::Lock`].
    pub lock: Option<Lock>,
    /// What a healthy host is.
    pub health: Health,
    /// Which file said what.
    #[serde(skip)]
    pub origins: Vec<Origin>,
}

/// `[updates]`
#[derive(Debug, Clone, Serialize)]
pub struct Updates {
    /// Base of the release repository, ending in `/`.
    #[serde(serialize_with = "as_text")]
    pub repository: Url,
    /// What this host runs. If not given, os-release says.
    pub product: Option<Product>,
    /// The channel that is followed.
    pub channel: String,
    /// Time between two looks at the repository, before jitter.
    pub poll: Duration,
    /// What happens once a release is in the other slot.
    pub strategy: Strategy,
}

/// What happens once a release is in the other slot, and whether one is put there at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Reboot as soon as the lock server agrees.
    Lock,
    /// Reboot at once.
    Immediate,
    /// Leave the reboot to somebody else.
    DownloadOnly,
    /// Do nothing by itself; `check` and `update` by hand still work.
    Off,
}

/// `[lock]`
#[derive(Debug, Clone, Serialize)]
pub struct Lock {
    /// Base of the lock server, ending in `/`.
    #[serde(serialize_with = "as_text")]
    pub url: Url,
    /// The group this host belongs to.
    pub group: String,
    /// Time between two requests for the lock.
    pub retry: Duration,
}

/// `[health]`
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// Units that must be active.
    pub units: Vec<String>,
    /// How long they must stay so.
    pub settle: Duration,
    /// How long they may take to become so.
    pub timeout: Duration,
    /// How long one script may take.
    pub script: Duration,
}

/// Configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is not what it should be.
    #[error(transparent)]
    File(#[from] twinhull_config::ConfigError),
    /// A folder cannot be listed.
    #[error(transparent)]
    List(#[from] ListError),
    /// A value is not allowed.
    #[error("{}: {key} = {value}: {problem}", file.display())]
    Value {
        /// The file that set it.
        file: PathBuf,
        /// The key with its table.
        key: &'static str,
        /// The value as text.
        value: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The strategy asks a lock server, and there is none.
    #[error(
        "updates.strategy is \"lock\" but lock.url is not set: set it to the address of the lock server, or choose another \
         strategy (\"immediate\", \"download-only\", \"off\")"
    )]
    NoLockServer,
}

impl Config {
    /// Reads, merges and checks all drop-ins.
    ///
    /// # Errors
    /// See [`Error`]; each names the file and the key.
    pub fn load(paths: &Paths) -> Result<Self, Error> {
        let mut inputs = Inputs::default();
        let is_toml = |path: &std::path::Path| path.extension().is_some_and(|extension| extension == "toml");
        for path in drop_ins::effective(&paths.config_folders(), is_toml)? {
            inputs.merge(fragments::read(&path)?, &path);
        }
        Self::check(&inputs)
    }

    fn check(inputs: &Inputs) -> Result<Self, Error> {
        let lock = match &inputs.lock_url {
            None => None,
            Some(given) => Some(Lock {
                url: base_url("lock.url", given)?,
                group: parsed("lock.group", inputs.group.as_ref(), |text| group(text))?
                    .unwrap_or_else(|| "default".to_owned()),
                retry: seconds("lock.retry_seconds", inputs.retry_seconds.as_ref(), 60, 1..=DAY)?,
            }),
        };
        let updates = match &inputs.repository {
            None => None,
            Some(given) => Some(Updates {
                repository: base_url("updates.repository", given)?,
                product: parsed("updates.product", inputs.product.as_ref(), |text| {
                    Product::from_str(text).map_err(|error| error.to_string())
                })?,
                channel: parsed("updates.channel", inputs.channel.as_ref(), |text| channel(text))?
                    .unwrap_or_else(|| "stable".to_owned()),
                poll: seconds("updates.poll_seconds", inputs.poll_seconds.as_ref(), 3600, 1..=30 * DAY)?,
                strategy: parsed("updates.strategy", inputs.strategy.as_ref(), |text| strategy(text))?
                    .unwrap_or(Strategy::Lock),
            }),
        };
        if lock.is_none()
            && updates
                .as_ref()
                .is_some_and(|updates| updates.strategy == Strategy::Lock)
        {
            return Err(Error::NoLockServer);
        }
        Ok(Self {
            updates,
            lock,
            health: Health {
                units: parsed("health.units", inputs.units.as_ref(), |units| unit_names(units))?
                    .unwrap_or_else(|| vec![AGENT_UNIT.to_owned()]),
                settle: seconds("health.settle_seconds", inputs.settle_seconds.as_ref(), 5, 0..=600)?,
                // The image gives a release on trial ten minutes to be blessed, whatever is set here.
                timeout: seconds("health.timeout_seconds", inputs.timeout_seconds.as_ref(), 300, 1..=480)?,
                script: seconds("health.script_seconds", inputs.script_seconds.as_ref(), 60, 1..=600)?,
            },
            origins: inputs.origins(),
        })
    }
}

fn parsed<T: std::fmt::Debug, R>(
    key: &'static str,
    given: Option<&Sourced<T>>,
    parse: impl FnOnce(&T) -> Result<R, String>,
) -> Result<Option<R>, Error> {
    let Some(Sourced { value, file }) = given else {
        return Ok(None);
    };
    parse(value).map(Some).map_err(|problem| Error::Value {
        file: file.clone(),
        key,
        value: format!("{value:?}"),
        problem,
    })
}

fn seconds(
    key: &'static str,
    given: Option<&Sourced<u64>>,
    default: u64,
    allowed: std::ops::RangeInclusive<u64>,
) -> Result<Duration, Error> {
    let checked = parsed(key, given, |value| {
        if allowed.contains(value) {
            Ok(*value)
        } else {
            Err(format!("it must be {} to {} seconds", allowed.start(), allowed.end()))
        }
    })?;
    Ok(Duration::from_secs(checked.unwrap_or(default)))
}

/// A URL under which paths are looked up. A base without a final `/` would lose its last part when joined.
fn base_url(key: &'static str, given: &Sourced<String>) -> Result<Url, Error> {
    let parse = |text: &String| {
        let mut url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("it must begin with http:// or https:// and name a host".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it must have neither `?` nor `#`".to_owned());
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(url)
    };
    parse(&given.value).map_err(|problem| Error::Value {
        file: given.file.clone(),
        key,
        value: format!("{:?}", given.value),
        problem,
    })
}

fn strategy(text: &str) -> Result<Strategy, String> {
    match text {
        "lock" => Ok(Strategy::Lock),
        "immediate" => Ok(Strategy::Immediate),
        "download-only" => Ok(Strategy::DownloadOnly),
        "off" => Ok(Strategy::Off),
        _ => Err("it must be \"lock\", \"immediate\", \"download-only\" or \"off\"".to_owned()),
    }
}

/// The form that `FleetLock` prescribes for a group.
fn group(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("it must be 1 to 64 letters, digits, `.` or `-`".to_owned())
    }
}

/// A channel is a part of a path in the repository.
fn channel(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("it must be 1 to 32 lower-case letters, digits or `-`".to_owned())
    }
}

fn unit_names(units: &[String]) -> Result<Vec<String>, String> {
    let is_unit = |name: &String| {
        name.contains('.')
            && !name.starts_with('-')
            && name.len() <= 255
            && !name.bytes().any(|byte| byte.is_ascii_whitespace() || byte == b'/')
    };
    match units.iter().find(|name| !is_unit(name)) {
        Some(bad) => Err(format!(
            "`{bad}` is not the full name of a unit, such as `sshd.service`"
        )),
        None => Ok(units.to_vec()),
    }
}

fn as_text<S: serde::Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Host {
        folder: tempfile::TempDir,
    }

    impl Host {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().unwrap(),
            }
        }

        fn with(self, path: &str, text: &str) -> Self {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn load(&self) -> Result<Config, Error> {
            Config::load(&Paths::below(self.folder.path()))
        }
    }

    const USR: &str = "usr/lib/twinhull-updater/config.d/10-image.toml";
    const ETC: &str = "etc/twinhull-updater/config.d/50-site.toml";

    #[test]
    fn no_configuration_is_an_idle_agent_and_no_error() {
        let config = Host::new().load().unwrap();
        assert!(config.updates.is_none());
        assert_eq!(config.health.timeout, Duration::from_mins(5));
    }

    #[test]
    fn later_file_wins_key_by_key_and_is_named_as_origin() {
        let config = Host::new()
            .with(
                USR,
                "[updates]\nrepository = \"http://a/r\"\nchannel = \"stable\"\nstrategy = \"off\"\n",
            )
            .with(ETC, "[updates]\nchannel = \"beta\"\n[lock]\nurl = \"http://l/base\"\n")
            .load()
            .unwrap();
        let updates = config.updates.unwrap();
        assert_eq!(updates.repository.as_str(), "http://a/r/");
        assert_eq!(updates.channel, "beta");
        assert_eq!(updates.strategy, Strategy::Off);
        assert_eq!(config.lock.unwrap().url.as_str(), "http://l/base/");
        let channel = config
            .origins
            .iter()
            .find(|origin| origin.key == "updates.channel")
            .unwrap();
        assert!(channel.file.ends_with("50-site.toml"));
    }

    #[test]
    fn unknown_key_names_file_and_nearest() {
        let error = Host::new()
            .with(USR, "[updates]\nchanel = \"x\"\n")
            .load()
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("10-image.toml:2: unknown key `chanel`; did you mean `channel`?"),
            "{error}"
        );
    }

    #[test]
    fn lock_strategy_needs_a_lock_server() {
        let error = Host::new()
            .with(USR, "[updates]\nrepository = \"http://a\"\n")
            .load()
            .unwrap_err();
        assert!(matches!(error, Error::NoLockServer));
    }

    #[test]
    fn values_out_of_their_range_are_refused_with_key_and_file() {
        for (text, key) in [
            ("[updates]\nrepository = \"ftp://a\"", "updates.repository"),
            ("[updates]\nrepository = \"http://a?x\"", "updates.repository"),
            (
                "[updates]\nrepository = \"http://a\"\nstrategy = \"now\"",
                "updates.strategy",
            ),
            (
                "[updates]\nrepository = \"http://a\"\nchannel = \"../x\"",
                "updates.channel",
            ),
            (
                "[updates]\nrepository = \"http://a\"\npoll_seconds = 0",
                "updates.poll_seconds",
            ),
            ("[lock]\nurl = \"http://l\"\ngroup = \"a b\"", "lock.group"),
            ("[health]\nunits = [\"-h\"]", "health.units"),
            ("[health]\nunits = [\"sshd\"]", "health.units"),
            ("[health]\ntimeout_seconds = 3600", "health.timeout_seconds"),
        ] {
            let error = Host::new().with(ETC, text).load().unwrap_err();
            match &error {
                Error::Value { key: found, file, .. } => {
                    assert_eq!(*found, key);
                    assert!(file.ends_with("50-site.toml"));
                }
                other => panic!("{text}: {other}"),
            }
        }
    }
}
