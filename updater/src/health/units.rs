//! Units that must be active.

use std::process::{Command, Stdio};

use crate::http::one_line;

/// What systemd says of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitState {
    /// It is up.
    Active,
    /// It has failed and will not come up by itself.
    Failed,
    /// Anything else, in systemd's word: on its way up, not started, not there.
    Other(String),
}

/// Who knows the state of units.
pub trait Units {
    /// The state of the unit `name`.
    fn state(&self, name: &str) -> UnitState;
}

/// Asks `systemctl`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Systemctl;

impl Units for Systemctl {
    fn state(&self, name: &str) -> UnitState {
        let asked = Command::new("systemctl")
            .args(["is-active", "--", name])
            .stdin(Stdio::null())
            .output();
        match asked {
            Ok(output) => match one_line(&String::from_utf8_lossy(&output.stdout)).as_str() {
                "active" => UnitState::Active,
                "failed" => UnitState::Failed,
                "" => UnitState::Other(one_line(&String::from_utf8_lossy(&output.stderr))),
                other => UnitState::Other(other.to_owned()),
            },
            Err(error) => UnitState::Other(format!("of unknown state (cannot run systemctl: {error})")),
        }
    }
}
