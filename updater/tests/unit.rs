//! The unit of the service, as systemd itself judges it.

use std::process::Command;

/// Exposure in tenths, as `--threshold` takes it: the goal is a score under 3.0.
const EXPOSURE: &str = "--threshold=29";

#[test]
fn service_is_hardened_and_has_no_setting_that_systemd_does_not_know() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/twinhull-updater.service");
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", EXPOSURE, "--no-pager", unit]);
    let output = match command.output() {
        Ok(output) => output,
        // Without systemd there is nobody to ask.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => panic!("{error}"),
    };
    let (out, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{complaints}");
    for complaint in ["Unknown", "ignoring"] {
        assert!(!complaints.contains(complaint), "{complaints}");
    }
}
