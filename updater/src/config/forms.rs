//! What a single value may be. Each function gives the checked value, or says what would be right.

use std::path::PathBuf;

use reqwest::Url;

use super::{BeyondMaxFetch, Strategy};
use crate::health::Subject;

/// A URL under which paths are looked up. A base without a final `/` would lose its last part when joined.
pub(super) fn base_url(text: &str) -> Result<Url, String> {
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
}

/// The number of a wave; a rollout has at most 64.
pub(super) fn wave_number(wave: u64) -> Result<usize, String> {
    match usize::try_from(wave) {
        Ok(number @ 1..=64) => Ok(number),
        _ => Err("it must be 1 to 64".to_owned()),
    }
}

pub(super) fn strategy(text: &str) -> Result<Strategy, String> {
    match text {
        "lock" => Ok(Strategy::Lock),
        "window" => Ok(Strategy::Window),
        "immediate" => Ok(Strategy::Immediate),
        "download-only" => Ok(Strategy::DownloadOnly),
        "off" => Ok(Strategy::Off),
        _ => Err("it must be \"lock\", \"window\", \"immediate\", \"download-only\" or \"off\"".to_owned()),
    }
}

pub(super) fn mebibytes(mib: u64) -> Result<u64, String> {
    if (1..=1 << 20).contains(&mib) {
        Ok(mib << 20)
    } else {
        Err("it must be 1 to 1048576 MiB".to_owned())
    }
}

pub(super) fn beyond_max_fetch(text: &str) -> Result<BeyondMaxFetch, String> {
    match text {
        "fail" => Ok(BeyondMaxFetch::Fail),
        "continue" => Ok(BeyondMaxFetch::Continue),
        _ => Err("it must be \"fail\" or \"continue\"".to_owned()),
    }
}

/// The form that `FleetLock` prescribes for a group; a group of users has no wider one.
pub(super) fn group(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("it must be 1 to 64 letters, digits, `.` or `-`".to_owned())
    }
}

/// What the lock server takes as a zone.
pub(super) fn zone(text: &str) -> Result<String, String> {
    if (1..=64).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("it must be 1 to 64 bytes without control characters".to_owned())
    }
}

/// A channel is a part of a path in the repository.
pub(crate) fn channel(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("it must be 1 to 32 lower-case letters, digits or `-`".to_owned())
    }
}

pub(super) fn unit(name: &str) -> Result<Subject, String> {
    let is_unit = name.contains('.')
        && !name.starts_with('-')
        && name.len() <= 255
        && !name.bytes().any(|byte| byte.is_ascii_whitespace() || byte == b'/');
    if is_unit {
        Ok(Subject::Unit(name.to_owned()))
    } else {
        Err(format!(
            "`{name}` is not the full name of a unit, such as `sshd.service`"
        ))
    }
}

pub(super) fn container(name: &str) -> Result<Subject, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.len() <= 255 && name.bytes().all(allowed) {
        Ok(Subject::Container(name.to_owned()))
    } else {
        Err(format!("`{name}` is not the name of a container"))
    }
}

pub(super) fn address(text: &str) -> Result<Subject, String> {
    let has_port = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if has_port {
        Ok(Subject::Address(text.to_owned()))
    } else {
        Err(format!(
            "`{text}` is not a host and a port, as in `registry.example.com:443`"
        ))
    }
}

/// A file that does not depend on where the agent was started.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err("it must be an absolute path".to_owned())
    }
}
