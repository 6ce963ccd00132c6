//! The configuration file (`docs/reboot-lock.md` lists its keys).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::groups::Policies;
use crate::names::GroupName;
use crate::policy::Policy;
use crate::server::token::{self, TokenError};
use crate::server::{Access, Admission, Limits, PlainHttp, Rate, TlsFiles, Token, is_pattern};
use crate::store::{EtcdConfig, EtcdError};

/// Where the server listens unless told otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8480);

/// The administration's socket unless told otherwise.
pub const DEFAULT_ADMIN_SOCKET: &str = "/run/twinhull-lock/admin.sock";

/// The store unless told otherwise.
pub const DEFAULT_STORE: &str = "/var/lib/twinhull-lock/lock.redb";

/// How many groups there may be. Bounds memory and the length of a status.
pub const MAX_GROUPS: usize = 1000;

/// The whole file. Every key may be left out, except that a server without groups grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The address for hosts.
    pub listen: SocketAddr,
    /// The path that the server's URLs begin with, for one behind a proxy.
    pub base_path: String,
    /// Whether to listen without encryption where there is no `[tls]`; only on loopback.
    pub plain_http: bool,
    /// Whether the listener for hosts also shows the page, the status, the history and the figures.
    pub public_status: bool,
    /// Certificates; without them nothing is encrypted.
    pub tls: Option<TlsConfig>,
    /// What the groups ask of hosts; without any, every host may ask.
    pub access: BTreeMap<GroupName, AccessConfig>,
    /// Where it is remembered who holds what.
    pub store: StoreConfig,
    /// The administration.
    pub admin: AdminConfig,
    /// Bounds.
    pub limits: LimitsConfig,
    /// The groups by name.
    pub groups: BTreeMap<GroupName, Policy>,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate chain, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// Who signs the certificates of clients, in PEM.
    pub client_ca: Option<PathBuf>,
}

/// `[access.<group>]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    /// Files with bearer tokens; several, so that they can be changed one after the other.
    pub token_files: Vec<PathBuf>,
    /// Names of client certificates (see [`Admission::certificates`]).
    pub certificates: Vec<String>,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The file of the embedded store.
    pub path: PathBuf,
    /// etcd, in place of the embedded store.
    pub etcd: Option<EtcdConfig>,
}

/// `[admin]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// A unix socket, protected by its file permissions.
    pub socket: Option<PathBuf>,
    /// A TCP address, protected by the token.
    pub listen: Option<SocketAddr>,
    /// The file with the token; needed with `listen`.
    pub token_file: Option<PathBuf>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Open connections, 1 to 100,000.
    pub connections: usize,
    /// Seconds for the head of a request, 1 to 3600.
    pub header_seconds: u64,
    /// Seconds for the body of a request, 1 to 3600.
    pub body_seconds: u64,
    /// Requests of one address in a second, 1 to 100,000; loopback is exempt.
    pub requests_per_second: u32,
    /// Requests that one address may make at once, 1 to 100,000.
    pub requests_at_once: u32,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or is not the format.
    #[error(transparent)]
    File(#[from] twinhull_config::ConfigError),
    /// A value out of its bounds.
    #[error("{key} is {value}; it must be {from} to {to}")]
    Range {
        /// The key.
        key: String,
        /// What it is.
        value: u64,
        /// The least.
        from: u64,
        /// The most.
        to: u64,
    },
    /// A group whose rules are not allowed.
    #[error("groups.{group}.{reason}")]
    Policy {
        /// The group.
        group: GroupName,
        /// Which key, and what would be right.
        reason: String,
    },
    /// The settings of etcd.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// A TCP address for the administration without a token.
    #[error("the administration on {0} needs a token: set admin.token_file (--admin-token-file)")]
    NoToken(SocketAddr),
    /// Rules for a group that does not exist: a mistyped name, or one forgotten.
    #[error("[access.{0}] is for a group that is not configured")]
    NoSuchGroup(GroupName),
    /// A rule that admits nobody.
    #[error("[access.{0}] admits nobody: give token_files or certificates")]
    NobodyAdmitted(GroupName),
    /// Certificates nobody can show.
    #[error("[access.{0}] has certificates, but no certificate is ever asked for: set tls.client_ca")]
    NoClientCa(GroupName),
    /// Not a name.
    #[error("access.{group}.certificates: `{pattern}` must be a DNS name, `*.` and a DNS name, or one with {{id}}")]
    Pattern {
        /// The group.
        group: GroupName,
        /// What it is.
        pattern: String,
    },
    /// Nothing to lock.
    #[error("no group is configured; add `[groups.default]` with `slots = 1`, or pass --group default=1")]
    NoGroups,
}

impl Config {
    /// Reads the file at `path`. Call [`check`](Self::check) once it is complete.
    ///
    /// # Errors
    /// [`ConfigError::File`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Ok(twinhull_config::read(path)?)
    }

    /// Checks what the format alone does not.
    ///
    /// # Errors
    /// Any other of [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |key: &str, value: u64, from: u64, to: u64| {
            if (from..=to).contains(&value) {
                return Ok(());
            }
            let key = key.to_owned();
            Err(ConfigError::Range { key, value, from, to })
        };
        if let (Some(listen), None) = (self.admin.listen, &self.admin.token_file) {
            return Err(ConfigError::NoToken(listen));
        }
        if let Some(etcd) = &self.store.etcd {
            etcd.check()?;
        }
        if self.groups.is_empty() {
            return Err(ConfigError::NoGroups);
        }
        range("the number of groups", self.groups.len() as u64, 1, MAX_GROUPS as u64)?;
        for (name, group) in &self.groups {
            group.check().map_err(|reason| ConfigError::Policy {
                group: name.clone(),
                reason,
            })?;
        }
        for (name, access) in &self.access {
            self.check_access(name, access)?;
        }
        range("limits.connections", self.limits.connections as u64, 1, 100_000)?;
        range("limits.header_seconds", self.limits.header_seconds, 1, 3600)?;
        range("limits.body_seconds", self.limits.body_seconds, 1, 3600)?;
        let LimitsConfig {
            requests_per_second,
            requests_at_once,
            ..
        } = self.limits;
        range("limits.requests_per_second", requests_per_second.into(), 1, 100_000)?;
        range("limits.requests_at_once", requests_at_once.into(), 1, 100_000)
    }

    fn check_access(&self, name: &GroupName, access: &AccessConfig) -> Result<(), ConfigError> {
        if !self.groups.contains_key(name) {
            return Err(ConfigError::NoSuchGroup(name.clone()));
        }
        if access.token_files.is_empty() && access.certificates.is_empty() {
            return Err(ConfigError::NobodyAdmitted(name.clone()));
        }
        let asks = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if !access.certificates.is_empty() && !asks {
            return Err(ConfigError::NoClientCa(name.clone()));
        }
        match access.certificates.iter().find(|pattern| !is_pattern(pattern)) {
            Some(pattern) => Err(ConfigError::Pattern {
                group: name.clone(),
                pattern: pattern.clone(),
            }),
            None => Ok(()),
        }
    }

    /// What the groups ask of hosts, with the tokens read from their files.
    ///
    /// # Errors
    /// When a file cannot be read or holds no token.
    pub fn access(&self) -> Result<Access, TokenError> {
        let mut admissions = BTreeMap::new();
        for (name, access) in &self.access {
            let tokens: Result<Vec<_>, _> = access
                .token_files
                .iter()
                .map(|file| token::read(file).map(|token| Token::new(&token)))
                .collect();
            let admission = Admission {
                tokens: tokens?,
                certificates: access.certificates.clone(),
            };
            admissions.insert(name.clone(), admission);
        }
        Ok(Access::new(admissions))
    }

    /// The rate of one address.
    pub fn rate(&self) -> Rate {
        Rate {
            per_second: self.limits.requests_per_second.into(),
            burst: self.limits.requests_at_once.into(),
        }
    }

    /// The files for TLS, if there is to be any.
    pub fn tls_files(&self) -> Option<TlsFiles> {
        self.tls.clone().map(|tls| TlsFiles {
            certificate: tls.certificate,
            key: tls.key,
            client_ca: tls.client_ca,
        })
    }

    /// How far plain HTTP goes; `anywhere` is what a person said a second time.
    pub fn plain_http(&self, anywhere: bool) -> PlainHttp {
        PlainHttp {
            asked: self.plain_http,
            anywhere,
        }
    }

    /// The rules of each group.
    pub fn policies(&self) -> Policies {
        self.groups.clone()
    }

    /// The bounds of a listener.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.limits.connections,
            header_time: Duration::from_secs(self.limits.header_seconds),
            body_time: Duration::from_secs(self.limits.body_seconds),
            ..Limits::default()
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            base_path: "/".to_owned(),
            plain_http: false,
            public_status: true,
            tls: None,
            access: BTreeMap::new(),
            store: StoreConfig::default(),
            admin: AdminConfig::default(),
            limits: LimitsConfig::default(),
            groups: BTreeMap::new(),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: DEFAULT_STORE.into(),
            etcd: None,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            connections: limits.connections,
            header_seconds: limits.header_time.as_secs(),
            body_seconds: limits.body_time.as_secs(),
            requests_per_second: 50,
            requests_at_once: 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let config: Config = twinhull_config::parse(text, Path::new("lock.toml"))?;
        config.check()?;
        Ok(config)
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_example_is_valid_and_shows_the_defaults() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/lock/lock.toml");
        let config = Config::read(Path::new(example)).unwrap();
        config.check().unwrap();
        let expected = Config {
            plain_http: true,
            admin: AdminConfig {
                socket: Some(DEFAULT_ADMIN_SOCKET.into()),
                ..AdminConfig::default()
            },
            groups: [("default".parse().unwrap(), Policy::with_slots(1))].into(),
            ..Config::default()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn rules_that_would_admit_the_wrong_ones_are_refused() {
        let group = "[groups.web]\nslots = 1\n";
        let tls = "[tls]\ncertificate = \"c\"\nkey = \"k\"\n";
        for (text, problem) in [
            (
                "[access.wbe]\ntoken_files = [\"t\"]\n".to_owned(),
                "[access.wbe] is for a group that is not configured",
            ),
            ("[access.web]\n".to_owned(), "[access.web] admits nobody"),
            (
                "[access.web]\ncertificates = [\"a.org\"]\n".to_owned(),
                "set tls.client_ca",
            ),
            (
                format!("{tls}[access.web]\ncertificates = [\"a.org\"]\n"),
                "set tls.client_ca",
            ),
            (
                format!("{tls}client_ca = \"ca\"\n[access.web]\ncertificates = [\"*\"]\n"),
                "`*` must be",
            ),
        ] {
            let error = error(&format!("{text}{group}"));
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn errors_name_the_key_and_what_would_be_right() {
        assert_eq!(
            error("[groups.default]\nslot = 1\n"),
            "lock.toml:2: unknown key `slot`; did you mean `slots`?"
        );
        assert!(error("[groups.\"a b\"]\nslots = 1\n").contains("the group has the character ' '"));
        assert_eq!(
            error("[groups.default]\nslots = 1001\n"),
            "lock.toml:2: slots is 1001; it must be 0 to 1000"
        );
        assert_eq!(
            error("[limits]\nconnections = 0\n[groups.default]\nslots = 1\n"),
            "limits.connections is 0; it must be 1 to 100000"
        );
        assert!(error("").starts_with("no group is configured"));
        assert!(error("[admin]\nlisten = \"127.0.0.1:1\"\n[groups.a]\nslots = 1\n").contains("needs a token"));
    }
}
