//! Drop-ins in a folder, merged and checked.

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
fn pins_and_patience_are_read_and_bounded() {
    let with = |more: &str| {
        let text = format!("[updates]\nrepository = \"http://a/\"\nstrategy = \"off\"\n{more}\n");
        Host::new()
            .with(ETC, &text)
            .load()
            .map(|config| config.updates.unwrap())
    };
    let plain = with("").unwrap();
    assert_eq!(
        (plain.pin_version, plain.pin_wave, plain.min_age),
        (None, None, Duration::ZERO)
    );
    let pinned = with("pin_version = \"1.2.0\"\npin_wave = 64\nmin_age_seconds = 86400").unwrap();
    assert_eq!(pinned.pin_version.unwrap().to_string(), "1.2.0");
    assert_eq!((pinned.pin_wave, pinned.min_age), (Some(64), Duration::from_hours(24)));
    for bad in [
        "pin_version = \"/\"",
        "pin_wave = 0",
        "pin_wave = 65",
        "min_age_seconds = 31536001",
    ] {
        let (key, _) = bad.split_once(' ').unwrap();
        let error = with(bad).unwrap_err().to_string();
        assert!(error.contains(&format!("updates.{key} = ")), "{error}");
    }
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
fn window_strategy_needs_a_window_and_a_certificate_its_key() {
    let error = Host::new()
        .with(USR, "[updates]\nrepository = \"http://a\"\nstrategy = \"window\"\n")
        .load()
        .unwrap_err();
    assert!(matches!(error, Error::NoWindow));
    let error = Host::new()
        .with(USR, "[http]\nclient_certificate = \"/etc/a.pem\"\n")
        .load()
        .unwrap_err();
    assert!(error.to_string().contains("http.client_key"), "{error}");
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
        (
            "[updates]\nrepository = \"http://a\"\nmax_fetch_mib = 0",
            "updates.max_fetch_mib",
        ),
        (
            "[updates]\nrepository = \"http://a\"\nbeyond_max_fetch = \"ask\"",
            "updates.beyond_max_fetch",
        ),
        ("[lock]\nurl = \"http://l\"\ngroup = \"a b\"", "lock.group"),
        (
            "[updates]\nrepository = \"http://a\"\nstrategy = \"off\"\n[gates]\nwindows = [\"now\"]",
            "gates.windows",
        ),
        ("[gates]\ntime_zone = \"Mars/Olympus\"", "gates.time_zone"),
        ("[gates]\nspread_seconds = 60", "gates.spread_seconds"),
        (
            "[gates]\nwindows = [\"02:00-03:00\"]\nspread_seconds = 1801",
            "gates.spread_seconds",
        ),
        ("[hooks]\non_failure = \"shrug\"", "hooks.on_failure"),
        ("[http]\nproxy = \"p:3128\"", "http.proxy"),
        ("[http]\nca = \"ca.pem\"", "http.ca"),
        ("[metrics]\nlisten = \"9750\"", "metrics.listen"),
        ("[health]\nreach = [\"example.com\"]", "health.reach"),
        ("[health]\ncontainers = [\"-a\"]", "health.containers"),
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
