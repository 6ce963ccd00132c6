//! One agent at a time: the service, or somebody at the keyboard. And one service, whether it acts or waits.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::paths::Paths;

/// Held while this process may act, or is the service; ends with it.
#[derive(Debug)]
pub struct OnlyOne {
    _file: File,
}

/// Somebody else acts, or it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Busy {
    /// Another process acts.
    #[error("{0} is at work; try again when it has finished")]
    Other(String),
    /// The lock file cannot be used.
    #[error("cannot use the lock file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

impl OnlyOne {
    /// Becomes the one that acts, or says who is. `purpose` is what the others will be told.
    ///
    /// # Errors
    /// [`Busy::Other`] if another process acts; [`Busy::File`].
    pub fn try_take(paths: &Paths, purpose: &str) -> Result<Self, Busy> {
        Self::hold(&paths.agent_lock(), purpose)
    }

    /// Becomes the one service of this host. It lets others act while it waits, but its socket is its own.
    ///
    /// # Errors
    /// As [`OnlyOne::try_take`].
    pub fn service(paths: &Paths, purpose: &str) -> Result<Self, Busy> {
        Self::hold(&paths.service_lock(), purpose)
    }

    fn hold(path: &Path, purpose: &str) -> Result<Self, Busy> {
        let failed = |source| Busy::File {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message.
                let _ = (&mut file).take(200).read_to_string(&mut holder);
                let holder = crate::http::one_line(&holder);
                return Err(Busy::Other(if holder.is_empty() {
                    "another agent".to_owned()
                } else {
                    holder
                }));
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let write = || {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{purpose} (process {})", std::process::id())
        };
        let mut write = write;
        write().map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_agent_is_told_who_is_at_work() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let first = OnlyOne::try_take(&paths, "the service").unwrap();
        let error = OnlyOne::try_take(&paths, "update").unwrap_err().to_string();
        assert!(error.starts_with("the service (process "), "{error}");
        drop(first);
        OnlyOne::try_take(&paths, "update").unwrap();
    }
}
