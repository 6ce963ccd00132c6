//! What can go wrong while building and publishing, in words a user can act on.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::definition::size::Size;

/// The result of every step.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a step failed. Each message names what was being done, to what, why it failed and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A definition file cannot be read or has a key nobody knows.
    #[error(transparent)]
    Config(#[from] twinhull_config::ConfigError),

    /// A definition is readable but says something that cannot be built.
    #[error("{}: {problem}", path.display())]
    Definition {
        /// The definition file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        problem: String,
    },

    /// The command line asks for something impossible.
    #[error("{0}")]
    Usage(String),

    /// Programs this build needs are not installed.
    #[error(
        "not installed: {}\ninstall them with: apt-get install {}",
        names(missing),
        packages(missing)
    )]
    MissingTools {
        /// Each program with the Debian package that brings it.
        missing: Vec<(&'static str, &'static str)>,
    },

    /// Not run as root.
    #[error("{0} needs root: files of the image belong to root and other system users; run it with sudo")]
    NotRoot(&'static str),

    /// A disk is too full to begin.
    #[error("{} has {free} free, and about {needed} are needed there for {purpose}", path.display())]
    NoSpace {
        /// Where the room is needed.
        path: PathBuf,
        /// What is free.
        free: Size,
        /// What is needed.
        needed: Size,
        /// What it is needed for.
        purpose: &'static str,
    },

    /// A program ended with a failure.
    #[error("{doing} failed: {program} {ending}{tail}\nits whole output is in {}", log.display())]
    Tool {
        /// What was being done.
        doing: String,
        /// The program.
        program: String,
        /// How it ended, as "exit status: 1".
        ending: String,
        /// The last lines of its output, each on a line of its own, or nothing.
        tail: String,
        /// The log file with everything it printed.
        log: PathBuf,
    },

    /// Packages of a lock could not be had.
    #[error(
        "no archive gave these packages of the lock: {packages}\nan archive drops what it has newer versions of: `twinhull lock` takes what there is now, and --mirror names an archive that keeps all{}; the whole output is in {}", because(reason), log.display()
    )]
    Gone {
        /// Name and version of each.
        packages: String,
        /// What the tool said that was to fetch them; may be empty.
        reason: String,
        /// The log file with everything it printed.
        log: PathBuf,
    },

    /// An archive is not signed by the key that was given for it.
    #[error(
        "an archive of packages is not signed by its key: {said}\nfor one of [[repository]], `key` must be the file of the key that signs it; the whole output is in {}", log.display()
    )]
    Untrusted {
        /// What apt said.
        said: String,
        /// The log file with everything it printed.
        log: PathBuf,
    },

    /// Keys that are elsewhere have yet to sign.
    #[error("not signed yet:{}", unsigned(missing))]
    Unsigned {
        /// Each file that is to be signed, with the key that is to do it.
        missing: Vec<(PathBuf, String)>,
    },

    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was being done, as "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },

    /// A durable write failed.
    #[error(transparent)]
    Durable(#[from] twinhull_durable::Error),

    /// Something does not fit the place it was given in the layout of the disk.
    #[error("{what} is {size}, and its place in the layout is {budget}: {} too much\n{hint}", Size(size.0.saturating_sub(budget.0)))]
    Budget {
        /// What does not fit.
        what: String,
        /// Its size.
        size: Size,
        /// The room there is.
        budget: Size,
        /// What the user can change.
        hint: &'static str,
    },

    /// What a tool or a package gave is not what it must be.
    #[error("{0}")]
    Content(String),

    /// The metadata of the release repository cannot be read or changed.
    #[error("{doing}: {source}")]
    Trust {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn names(missing: &[(&str, &str)]) -> String {
    let names: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    names.join(", ")
}

fn packages(missing: &[(&str, &str)]) -> String {
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages.join(" ")
}

fn because(reason: &str) -> String {
    match reason.split_once("\n    ") {
        Some((_, first)) => format!("\n    {}", first.lines().next().unwrap_or_default()),
        None => String::new(),
    }
}

fn unsigned(missing: &[(PathBuf, String)]) -> String {
    let mut text = String::new();
    for (path, role) in missing {
        let _ = write!(
            text,
            "\n  openssl dgst -sha256 -sign {role}.key -out {} {}",
            path.with_extension("sig").display(),
            path.display()
        );
    }
    text + "\nsign these with their keys, then build again with the same options"
}

/// Says what a file operation was for, when it fails.
pub trait Doing<T> {
    /// Turns an I/O error into [`Error::File`]: "cannot `action` `path`: …".
    fn doing(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::File {
            action,
            path: path.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_tools_name_each_package_once() {
        let error = Error::MissingTools {
            missing: vec![("depmod", "kmod"), ("mkfs.ext4", "e2fsprogs"), ("kmod", "kmod")],
        };
        assert_eq!(
            error.to_string(),
            "not installed: depmod, mkfs.ext4, kmod\ninstall them with: apt-get install e2fsprogs kmod"
        );
    }

    #[test]
    fn budget_says_by_how_much() {
        let error = Error::Budget {
            what: "the root image".into(),
            size: Size(3 << 20),
            budget: Size(1 << 20),
            hint: "drop packages",
        };
        assert!(error.to_string().contains("2.0 MiB too much"), "{error}");
    }
}
