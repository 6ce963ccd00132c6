//! Configuration: drop-in files, merged by name, then checked.
//!
//! Three forms, each in its file: as written ([`fragments`]), merged ([`inputs`]), checked (here, with [`forms`] for what a
//! single value may be). Only the checked form leaves this module.

mod forms;
mod fragments;
mod inputs;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;
use reqwest::Url;
use serde::Serialize;
use twinhull_layout::{Product, Version};

use crate::drop_ins::{self, ListError};
use crate::gates::{Gates, Window, Windows};
use crate::health::Subject;
use crate::paths::Paths;
pub(crate) use forms::channel;
use forms::{
    address, base_url, beyond_max_fetch, container, file, group, mebibytes, strategy, unit, wave_number, zone,
};
pub use inputs::Origin;
use inputs::{Inputs, Sourced};

/// A day, in seconds: the longest interval that makes sense for anything here but polling.
const DAY: u64 = 86_400;

/// Must be active on a healthy host if nothing else is set: a release whose agent does not start could never be replaced.
const AGENT_UNIT: &str = "twinhull-updater.service";

/// The agent's configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where updates come from; `None` leaves the agent idle.
    pub updates: Option<Updates>,
    /// The reboot lock; always there with [`Strategy::Lock`].
    pub lock: Option<Lock>,
    /// What must agree before a reboot.
    pub gates: Gates,
    /// How long one script among the gates may take.
    pub gate_script: Duration,
    /// What is done around a reboot.
    pub hooks: Hooks,
    /// What a healthy host is.
    pub health: Health,
    /// How servers are reached.
    pub http: Http,
    /// The group whose members may use the control socket; `None` leaves it to root.
    pub control_group: Option<String>,
    /// Where metrics are served besides the control socket.
    pub metrics: Option<SocketAddr>,
    /// Which file said what.
    pub origins: Vec<Origin>,
}

/// `[updates]`
#[derive(Debug, Clone)]
pub struct Updates {
    /// Base of the release repository, ending in `/`.
    pub repository: Url,
    /// What this host runs. If not given, os-release says.
    pub product: Option<Product>,
    /// The channel that is followed.
    pub channel: String,
    /// Time between two looks at the repository, before jitter.
    pub poll: Duration,
    /// What happens once a release is in the other slot.
    pub strategy: Strategy,
    /// The one version this host is to run, whatever the channel offers.
    pub pin_version: Option<Version>,
    /// The wave of a rollout at whose beginning this host takes a release, counted from 1; its place decides if not given.
    pub pin_wave: Option<usize>,
    /// How long a release must have been offered before this host takes it.
    pub min_age: Duration,
    /// Bytes of payloads that one release may cost; no bound if absent.
    pub max_fetch: Option<u64>,
    /// Whether a release that needs more is installed all the same.
    pub beyond_max_fetch: BeyondMaxFetch,
}

/// What happens to a release that needs more from the network than is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BeyondMaxFetch {
    /// It is not installed.
    Fail,
    /// It is, with a warning.
    Continue,
}

/// What happens once a release is in the other slot, and whether one is put there at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Reboot as soon as the lock server agrees.
    Lock,
    /// Reboot as soon as a maintenance window is open.
    Window,
    /// Reboot at once.
    Immediate,
    /// Leave the reboot to somebody else.
    DownloadOnly,
    /// Do nothing by itself; `check` and `update` by hand still work.
    Off,
}

/// `[lock]`
#[derive(Debug, Clone)]
pub struct Lock {
    /// Base of the lock server, ending in `/`.
    pub url: Url,
    /// The group this host belongs to.
    pub group: String,
    /// Where this host is (rack, site), for a lock server that lets one zone reboot at a time.
    pub zone: Option<String>,
    /// Time between two requests for the lock.
    pub retry: Duration,
}

/// `[hooks]`
#[derive(Debug, Clone)]
pub struct Hooks {
    /// How long one may take.
    pub limit: Duration,
    /// Whether one that fails stops the reboot.
    pub must_succeed: bool,
}

/// `[health]`
#[derive(Debug, Clone)]
pub struct Health {
    /// What must be up.
    pub required: Vec<Subject>,
    /// What should be up, and is only reported.
    pub reported: Vec<Subject>,
    /// How long it must stay so.
    pub settle: Duration,
    /// How long it may take to become so.
    pub timeout: Duration,
    /// How long one script may take.
    pub script: Duration,
}

/// `[http]`
#[derive(Debug, Clone, Default)]
pub struct Http {
    /// The proxy for everything; without it the environment says.
    pub proxy: Option<Url>,
    /// A file of certificate authorities that are trusted besides those of the host.
    pub ca: Option<PathBuf>,
    /// Files of the certificate and the key that this host shows.
    pub client: Option<(PathBuf, PathBuf)>,
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
         strategy (\"window\", \"immediate\", \"download-only\", \"off\")"
    )]
    NoLockServer,
    /// The strategy waits for a window, and there is none.
    #[error(
        "updates.strategy is \"window\" but gates.windows is not set: say when this host may reboot, as in \
         [\"Sat,Sun 02:00-05:00\"]"
    )]
    NoWindow,
    /// Two keys that only make sense together.
    #[error("{given} is set but {missing} is not: both or none")]
    Half {
        /// The key that is set.
        given: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
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
                url: required("lock.url", given, |text| base_url(text))?,
                group: parsed("lock.group", inputs.group.as_ref(), |text| group(text))?
                    .unwrap_or_else(|| "default".to_owned()),
                zone: parsed("lock.zone", inputs.zone.as_ref(), |text| zone(text))?,
                retry: seconds("lock.retry_seconds", inputs.retry_seconds.as_ref(), 60, 1..=DAY)?,
            }),
        };
        let updates = match &inputs.repository {
            None => None,
            Some(given) => Some(Updates {
                repository: required("updates.repository", given, |text| base_url(text))?,
                product: parsed("updates.product", inputs.product.as_ref(), |text| {
                    Product::from_str(text).map_err(|error| error.to_string())
                })?,
                channel: parsed("updates.channel", inputs.channel.as_ref(), |text| channel(text))?
                    .unwrap_or_else(|| "stable".to_owned()),
                poll: seconds("updates.poll_seconds", inputs.poll_seconds.as_ref(), 3600, 1..=30 * DAY)?,
                strategy: parsed("updates.strategy", inputs.strategy.as_ref(), |text| strategy(text))?
                    .unwrap_or(Strategy::Lock),
                pin_version: parsed("updates.pin_version", inputs.pin_version.as_ref(), |text| {
                    Version::from_str(text).map_err(|error| error.to_string())
                })?,
                pin_wave: parsed("updates.pin_wave", inputs.pin_wave.as_ref(), |wave| wave_number(*wave))?,
                min_age: seconds(
                    "updates.min_age_seconds",
                    inputs.min_age_seconds.as_ref(),
                    0,
                    0..=365 * DAY,
                )?,
                max_fetch: parsed("updates.max_fetch_mib", inputs.max_fetch_mib.as_ref(), |mib| {
                    mebibytes(*mib)
                })?,
                beyond_max_fetch: parsed("updates.beyond_max_fetch", inputs.beyond_max_fetch.as_ref(), |text| {
                    beyond_max_fetch(text)
                })?
                .unwrap_or(BeyondMaxFetch::Fail),
            }),
        };
        if lock.is_none()
            && updates
                .as_ref()
                .is_some_and(|updates| updates.strategy == Strategy::Lock)
        {
            return Err(Error::NoLockServer);
        }
        let gates = gates(inputs)?;
        let waits_for_window = |updates: &Updates| updates.strategy == Strategy::Window;
        if gates.windows.is_always() && updates.as_ref().is_some_and(waits_for_window) {
            return Err(Error::NoWindow);
        }
        Ok(Self {
            updates,
            lock,
            gates,
            gate_script: seconds("gates.script_seconds", inputs.gate_script_seconds.as_ref(), 60, 1..=600)?,
            hooks: Hooks {
                limit: seconds("hooks.timeout_seconds", inputs.hook_seconds.as_ref(), 300, 1..=DAY)?,
                must_succeed: parsed("hooks.on_failure", inputs.hook_failure.as_ref(), |text| {
                    match text.as_str() {
                        "stop" => Ok(true),
                        "continue" => Ok(false),
                        _ => Err("it must be \"stop\" or \"continue\"".to_owned()),
                    }
                })?
                .unwrap_or(true),
            },
            health: health(inputs)?,
            http: http(inputs)?,
            control_group: parsed("control.group", inputs.control_group.as_ref(), |text| group(text))?,
            metrics: parsed("metrics.listen", inputs.metrics_listen.as_ref(), |text| {
                text.parse()
                    .map_err(|_| "it must be an address and a port, as in \"127.0.0.1:9750\"".to_owned())
            })?,
            origins: inputs.origins(),
        })
    }
}

fn gates(inputs: &Inputs) -> Result<Gates, Error> {
    let zone = parsed("gates.time_zone", inputs.time_zone.as_ref(), |name| {
        TimeZone::get(name).map_err(|_| "there is no such time zone: write it as in \"Europe/Berlin\"".to_owned())
    })?;
    let list: Vec<Window> = parsed("gates.windows", inputs.windows.as_ref(), |texts| {
        texts
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|error: crate::gates::WindowError| error.to_string())
            })
            .collect()
    })?
    .unwrap_or_default();
    let shortest = list.iter().map(Window::length).min();
    let spread = parsed("gates.spread_seconds", inputs.spread_seconds.as_ref(), |value| {
        let spread = Duration::from_secs(*value);
        match shortest {
            // Else hosts with a late place would hardly ever get their turn.
            Some(shortest) if spread > shortest / 2 => Err(format!(
                "it must be at most half of the shortest window, {} seconds",
                shortest.as_secs() / 2
            )),
            None if *value > 0 => Err("there is no window to spread over: set gates.windows".to_owned()),
            _ => Ok(spread),
        }
    })?;
    let flag = |key: Option<&Sourced<bool>>, default| key.map_or(default, |key| key.value);
    Ok(Gates {
        windows: Windows::new(list, zone.unwrap_or(TimeZone::UTC)),
        spread: spread.unwrap_or_default(),
        min_uptime: seconds(
            "gates.min_uptime_seconds",
            inputs.min_uptime_seconds.as_ref(),
            0,
            0..=30 * DAY,
        )?,
        users: flag(inputs.gate_users.as_ref(), false),
        inhibitors: flag(inputs.gate_inhibitors.as_ref(), true),
        healthy: flag(inputs.gate_healthy.as_ref(), false),
    })
}

fn health(inputs: &Inputs) -> Result<Health, Error> {
    let list = |key, given: Option<&Sourced<Vec<String>>>, one: fn(&str) -> Result<Subject, String>| {
        let parse = |texts: &Vec<String>| texts.iter().map(|text| one(text)).collect::<Result<Vec<_>, _>>();
        parsed(key, given, parse)
    };
    let agent = || vec![Subject::Unit(AGENT_UNIT.to_owned())];
    let mut required = list("health.units", inputs.units.as_ref(), unit)?.unwrap_or_else(agent);
    required.extend(list("health.containers", inputs.containers.as_ref(), container)?.unwrap_or_default());
    required.extend(list("health.reach", inputs.reach.as_ref(), address)?.unwrap_or_default());
    let reported = [
        list("health.reported_units", inputs.reported_units.as_ref(), unit)?,
        list(
            "health.reported_containers",
            inputs.reported_containers.as_ref(),
            container,
        )?,
        list("health.reported_reach", inputs.reported_reach.as_ref(), address)?,
    ];
    Ok(Health {
        required,
        reported: reported.into_iter().flatten().flatten().collect(),
        settle: seconds("health.settle_seconds", inputs.settle_seconds.as_ref(), 5, 0..=600)?,
        // The image gives a release on trial ten minutes to be blessed, whatever is set here.
        timeout: seconds("health.timeout_seconds", inputs.timeout_seconds.as_ref(), 300, 1..=480)?,
        script: seconds("health.script_seconds", inputs.script_seconds.as_ref(), 60, 1..=600)?,
    })
}

fn http(inputs: &Inputs) -> Result<Http, Error> {
    let certificate = parsed("http.client_certificate", inputs.client_certificate.as_ref(), |text| {
        file(text)
    })?;
    let key = parsed("http.client_key", inputs.client_key.as_ref(), |text| file(text))?;
    let half = |given, missing| Err(Error::Half { given, missing });
    Ok(Http {
        proxy: parsed("http.proxy", inputs.proxy.as_ref(), |text| base_url(text))?,
        ca: parsed("http.ca", inputs.ca.as_ref(), |text| file(text))?,
        client: match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return half("http.client_certificate", "http.client_key"),
            (None, Some(_)) => return half("http.client_key", "http.client_certificate"),
        },
    })
}

fn parsed<T: std::fmt::Debug, R>(
    key: &'static str,
    given: Option<&Sourced<T>>,
    parse: impl FnOnce(&T) -> Result<R, String>,
) -> Result<Option<R>, Error> {
    given.map(|given| required(key, given, parse)).transpose()
}

fn required<T: std::fmt::Debug, R>(
    key: &'static str,
    given: &Sourced<T>,
    parse: impl FnOnce(&T) -> Result<R, String>,
) -> Result<R, Error> {
    parse(&given.value).map_err(|problem| Error::Value {
        file: given.file.clone(),
        key,
        value: format!("{:?}", given.value),
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

#[cfg(test)]
mod tests;
