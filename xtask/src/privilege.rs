//! Doing as root what only root may do.

use std::process::Command;

/// A command that runs as root: through sudo unless this process is root already.
pub(crate) fn as_root(program: &str) -> Command {
    if nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("--").arg(program);
    command
}

/// The numeric owner that files made as root are given back to, or nothing when this process is root.
pub(crate) fn owner() -> Option<String> {
    let user = nix::unistd::geteuid();
    (!user.is_root()).then(|| format!("{user}:{}", nix::unistd::getegid()))
}
