//! Shell scripts that a test can run at once, whatever its other threads do.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes an executable shell script with `text` as its body to `path`.
///
/// Another process writes it: had this one the file open for writing, a child that another thread forks just then would
/// hold it open, too, until its own `exec`, and running the script would fail with ETXTBSY.
pub(crate) fn write(path: &Path, text: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(writer.stdin.take().unwrap(), "#!/bin/sh\n{text}").unwrap();
    assert!(writer.wait().unwrap().success(), "writing {}", path.display());
}
