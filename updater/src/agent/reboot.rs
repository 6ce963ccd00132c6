//! Ordering a reboot.

use std::process::{Command, Stdio};

use crate::http::one_line;
use crate::machine::Problem;

/// Orders the reboot from systemd, which stops everything in its order. Returns once it is ordered.
///
/// # Errors
/// systemd refuses, for example because somebody holds an inhibitor.
pub fn reboot() -> Result<(), Problem> {
    let ordered = Command::new("systemctl").arg("reboot").stdin(Stdio::null()).output();
    match ordered {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = one_line(&String::from_utf8_lossy(&output.stderr));
            Err(Problem::new(
                "reboot-failed",
                format!("`systemctl reboot` failed ({}): {said}", output.status),
            ))
        }
        Err(error) => Err(Problem::new("reboot-failed", format!("cannot run systemctl: {error}"))),
    }
}
