//! Looks at the host for the gates.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Inhibitor, Observed, read_marker};
use crate::config::Config;
use crate::drop_ins;
use crate::health::{self, Latest, Scripts};
use crate::hooks;
use crate::http::one_line;
use crate::paths::Paths;

/// The bus on which logind is. Where there is none, nobody can have logged in or inhibited anything through it.
const BUS: &str = "/run/dbus/system_bus_socket";

/// The unit that checks whether this host is healthy.
const HEALTH_UNIT: &str = "twinhull-health.service";

/// logind on the bus: service, object, interface.
const LOGIND: [&str; 3] = [
    "org.freedesktop.login1",
    "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager",
];

/// Looks at everything that the gates of `config` ask for.
pub fn observe(paths: &Paths, config: &Config) -> Observed {
    let gates = &config.gates;
    let logind = paths.at(BUS).exists();
    Observed {
        uptime: uptime(paths),
        users: if gates.users && logind { users() } else { Ok(Vec::new()) },
        inhibitors: if gates.inhibitors && logind {
            inhibitors()
        } else {
            Ok(Vec::new())
        },
        markers: paths.markers().iter().filter_map(|path| read_marker(path)).collect(),
        scripts: paths.gate_folders().run_all(config.gate_script),
        unhealthy: if gates.healthy { unhealthy(paths) } else { Vec::new() },
        hooks: drop_ins::effective(&paths.hook_folders(), hooks::is_hook).is_ok_and(|hooks| !hooks.is_empty()),
    }
}

/// What the health check finds now. It runs in its own unit: from within the limits of this one, containers cannot be asked.
fn unhealthy(paths: &Paths) -> Vec<String> {
    let started = Command::new("systemctl")
        .args(["start", HEALTH_UNIT])
        .stdin(Stdio::null())
        .output();
    match started {
        Ok(output) if output.status.success() => Vec::new(),
        Ok(_) => match health::read_report::<Latest>(&paths.health_status()) {
            Some(latest) if !latest.wrong.is_empty() => latest.wrong,
            _ => vec![format!("{HEALTH_UNIT} failed")],
        },
        Err(error) => vec![format!("cannot run systemctl: {error}")],
    }
}

/// Zero if it cannot be told: then a minimum is not reached.
fn uptime(paths: &Paths) -> Duration {
    let text = fs::read_to_string(paths.at("/proc/uptime")).unwrap_or_default();
    let seconds = text.split('.').next().and_then(|whole| whole.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

fn inhibitors() -> Result<Vec<Inhibitor>, String> {
    // a(ssssuu): what, who, why, mode, uid, pid
    let list = manager("ListInhibitors")?;
    Ok(blocking(&list))
}

/// Those of `ListInhibitors` that block a shutdown.
fn blocking(list: &Value) -> Vec<Inhibitor> {
    let text = |value: &Value| one_line(value.as_str().unwrap_or_default());
    list.as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry[3] == "block" && text(&entry[0]).split(':').any(|what| what == "shutdown"))
        .map(|entry| Inhibitor {
            who: text(&entry[1]),
            why: text(&entry[2]),
        })
        .collect()
}

fn users() -> Result<Vec<String>, String> {
    // a(susso): id, uid, user, seat, object
    let sessions = manager("ListSessions")?;
    let mut users = Vec::new();
    for session in sessions.as_array().into_iter().flatten() {
        let (Some(user), Some(object)) = (session[2].as_str(), session[4].as_str()) else {
            return Err("logind answers in another form".to_owned());
        };
        // Since systemd 256 the manager of a user has a session, too. A session that ended between the two questions is none.
        let class = busctl(&[
            "get-property",
            LOGIND[0],
            object,
            "org.freedesktop.login1.Session",
            "Class",
        ]);
        if class.is_ok_and(|class| class == "user" || class == "user-early") && !users.contains(&user.to_owned()) {
            users.push(one_line(user));
        }
    }
    Ok(users)
}

fn manager(method: &str) -> Result<Value, String> {
    let answer = busctl(&[&["call"], LOGIND.as_slice(), &[method]].concat())?;
    Ok(answer[0].clone())
}

/// The `data` of what `busctl` gives.
fn busctl(arguments: &[&str]) -> Result<Value, String> {
    let output = Command::new("busctl")
        .args(["--system", "--timeout=10", "--json=short"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run busctl: {error}"))?;
    if !output.status.success() {
        return Err(one_line(&String::from_utf8_lossy(&output.stderr)));
    }
    let answer: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("busctl: {error}"))?;
    Ok(answer["data"].clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_locks_that_block_a_shutdown_count() {
        let list = serde_json::json!([
            ["shutdown:sleep", "backup", "nightly backup", "block", 0, 12],
            ["sleep", "music", "playing", "block", 0, 13],
            ["shutdown", "NetworkManager", "goes offline", "delay", 0, 14],
        ]);
        let found = blocking(&list);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].who.as_str(), found[0].why.as_str()),
            ("backup", "nightly backup")
        );
    }
}
