//! Why the way up ended. Each message is one line: what was being done, the cause, what to do.

use std::io;

use crate::cmdline::CmdlineError;
use crate::disk::ChoiceError;
use crate::root::TableError;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    /// The kernel refused something.
    #[error("{doing}: {source}; {remedy}")]
    System {
        doing: String,
        source: io::Error,
        remedy: &'static str,
    },
    /// The command line is not one that a Twinhull image has.
    #[error("reading the kernel command line: {0}")]
    Cmdline(#[from] CmdlineError),
    /// The partitions are not there, or not to be told apart.
    #[error("looking for the root partition: {0}")]
    Choice(#[from] ChoiceError),
    /// Hash tree and root do not go together.
    #[error("opening the verified root: {0}")]
    Table(#[from] TableError),
    /// This release does not get up.
    #[error("the last {0} boots of this release did not get as far as the agent")]
    Unfinished(u32),
    /// A line in the initramfs's own module lists.
    #[error("reading {file}, line {line}: `{text}` is not understood; rebuild the image")]
    ModuleList {
        file: &'static str,
        line: usize,
        text: String,
    },
}

impl InitError {
    /// Turns the error of one call into a message: `doing` says what was tried on what, `remedy` what a person
    /// can do about it.
    pub(crate) fn system<E: Into<io::Error>>(doing: impl Into<String>, remedy: &'static str) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self::System {
            doing,
            source: source.into(),
            remedy,
        }
    }
}
