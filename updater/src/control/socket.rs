//! The socket as a file.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Group, chown};
use tokio::net::UnixListener;

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The operating system says no.
    #[error("cannot listen on {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// There is no such group.
    #[error("control.group = {0:?}: there is no such group on this host")]
    NoGroup(String),
}

/// Listens at `path`, for root and the members of `group`. Only the one agent that acts may call this: a socket that is there
/// already is a left-over.
///
/// # Errors
/// See [`SocketError`].
pub fn bind(path: &Path, group: Option<&str>) -> Result<UnixListener, SocketError> {
    let failed = |source| SocketError::Io {
        path: path.to_owned(),
        source,
    };
    let group = match group {
        None => None,
        Some(name) => {
            let found = Group::from_name(name).map_err(|error| failed(error.into()))?;
            Some(found.ok_or_else(|| SocketError::NoGroup(name.to_owned()))?.gid)
        }
    };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Until here only root could write to it, which is what connecting takes.
    if let Some(group) = group {
        chown(path, None, Some(group)).map_err(|error| failed(error.into()))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}
