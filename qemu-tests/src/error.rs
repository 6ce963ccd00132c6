//! What can go wrong, in the words a person needs.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a machine, a server or a scenario did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program that this tool starts is not installed.
    #[error("{tool} is missing: install the package {package}{hint}")]
    MissingTool {
        /// The program, as it is looked for.
        tool: String,
        /// The Debian package that brings it.
        package: &'static str,
        /// What else to know, beginning with a space or empty.
        hint: &'static str,
    },

    /// QEMU is older than what boots our kernels under software emulation.
    #[error(
        "QEMU {found} is too old: version {wanted} or newer is needed (older ones crash current kernels under software \
         emulation); on Debian 12 install qemu-system-x86 from the suite bookworm-backports, on Debian 13 from trixie"
    )]
    OldQemu {
        /// What `--version` says.
        found: String,
        /// The lowest major version that works.
        wanted: u32,
    },

    /// The network could not be separated.
    #[error(
        "cannot {doing}: {source}; run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone and \
         kernel.apparmor_restrict_unprivileged_userns)"
    )]
    Isolation {
        /// The step that failed.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },

    /// A file or folder of the host could not be used.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// The step that failed.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// The folder of artefacts lacks something or holds something unusable.
    #[error("artefact {}: {reason}; see docs/qemu-tests.md for what the folder must hold", path.display())]
    Artefact {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),

    /// The machines of a scenario need more memory than there is.
    #[error("{scenario} needs {needed} MiB for its machines, and this host has {there} MiB to give")]
    Memory {
        /// Its name.
        scenario: String,
        /// What they need.
        needed: u32,
        /// What there is.
        there: u32,
    },

    /// A program of the host failed.
    #[error("{program} failed ({status}): {output}")]
    Program {
        /// Its name.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote.
        output: String,
    },

    /// No accelerator could boot even the firmware.
    #[error("accelerator {accelerator} is not usable: {reason}")]
    Accelerator {
        /// The one that was asked for or left.
        accelerator: String,
        /// What happened.
        reason: String,
    },

    /// A machine's process ended by itself.
    #[error("machine {machine} stopped ({status}) while waiting for {awaited}{tail}")]
    Stopped {
        /// Its name.
        machine: String,
        /// How QEMU ended.
        status: String,
        /// What was awaited.
        awaited: String,
        /// The end of its console.
        tail: Box<ConsoleTail>,
    },

    /// The console shows that the guest cannot go on.
    #[error("machine {machine} broke down while waiting for {awaited}: {line}{tail}")]
    BrokeDown {
        /// Its name.
        machine: String,
        /// What was awaited.
        awaited: String,
        /// The line that says so.
        line: String,
        /// The end of its console.
        tail: Box<ConsoleTail>,
    },

    /// Something did not happen in time.
    #[error("machine {machine}: no {awaited} within {} s; last seen: {seen}{tail}", limit.as_secs())]
    TimedOut {
        /// Its name.
        machine: String,
        /// What was awaited.
        awaited: String,
        /// What the last look gave.
        seen: String,
        /// How long was waited, scaled to this machine's speed.
        limit: Duration,
        /// The end of its console.
        tail: Box<ConsoleTail>,
    },

    /// A command in the guest failed.
    #[error("in the guest, `{command}` ended with {status}: {output}")]
    Guest {
        /// The shell command.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote.
        output: String,
    },

    /// The guest could not be reached by ssh just now.
    #[error("the guest is not reachable by ssh: {0}")]
    Unreachable(String),

    /// QEMU's monitor did not do what was asked.
    #[error("QEMU monitor command {command}: {reason}")]
    Monitor {
        /// The QMP command.
        command: String,
        /// What it answered.
        reason: String,
    },

    /// A server on the host's side failed.
    #[error("{server}: {reason}")]
    Server {
        /// Which one.
        server: String,
        /// What happened.
        reason: String,
    },

    /// A scenario found something other than what must be.
    #[error("{0}")]
    Expectation(String),
}

impl Error {
    /// A file error.
    pub fn file(doing: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::File {
            doing,
            path: path.as_ref().to_owned(),
            source,
        }
    }

    /// Something wrong with a file of the artefact folder.
    pub fn artefact(path: impl AsRef<Path>, reason: impl fmt::Display) -> Self {
        Self::Artefact {
            path: path.as_ref().to_owned(),
            reason: reason.to_string(),
        }
    }

    /// Whether this says that the surroundings are unfit (missing tools, no artefacts), not that a test failed.
    pub fn is_environment(&self) -> bool {
        matches!(
            self,
            Self::MissingTool { .. }
                | Self::OldQemu { .. }
                | Self::Isolation { .. }
                | Self::Artefact { .. }
                | Self::Accelerator { .. }
                | Self::Memory { .. }
        )
    }
}

/// Fails a scenario with what was found when `condition` does not hold.
pub fn expect(condition: bool, found: impl FnOnce() -> String) -> Result<()> {
    if condition {
        Ok(())
    } else {
        Err(Error::Expectation(found()))
    }
}

/// The last lines of a machine's console, as an error shows them; boxed there, since errors travel through every call.
#[derive(Debug, Clone, Default)]
pub struct ConsoleTail {
    /// The lines, oldest first.
    pub lines: Vec<String>,
    /// Where the whole console is.
    pub log: PathBuf,
}

impl fmt::Display for ConsoleTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  end of the console ({}):", self.log.display())?;
        if self.lines.is_empty() {
            write!(f, " nothing was written")?;
        }
        self.lines.iter().try_for_each(|line| write!(f, "\n  | {line}"))
    }
}
