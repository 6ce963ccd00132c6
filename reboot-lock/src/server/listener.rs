//! The sockets that are listened on, and who is at the other end of a connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// Plain HTTP over TCP.
    Tcp(TcpListener),
    /// HTTP over a unix socket; removed from the file system when dropped.
    Unix(UnixListener, SocketFile),
}

/// The name of a unix socket; removes it when dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A local process of this user; `None` if the kernel did not say.
    Unix(Option<u32>),
}

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A TCP address.
    #[error("cannot listen on {address}: {source}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Plain HTTP would leave this machine.
    #[error(
        "refusing to listen on {0} without encryption: ids and locks could be read and forged on the way; \
         listen on a loopback address, or pass --insecure-plain-http if the network is trusted"
    )]
    NotLoopback(SocketAddr),
    /// A unix socket.
    #[error("cannot listen on {}: {source}", path.display())]
    Unix {
        /// The path.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl Listener {
    /// Listens on `address` (port 0: any free one). Other addresses than loopback only with `insecure`.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn tcp(address: SocketAddr, insecure: bool) -> Result<Self, BindError> {
        if !address.ip().is_loopback() && !insecure {
            return Err(BindError::NotLoopback(address));
        }
        let bound = TcpListener::bind(address).await;
        Ok(Self::Tcp(bound.map_err(|source| BindError::Tcp { address, source })?))
    }

    /// Listens on a unix socket at `path` that its owner and group may use (mode 0660). Replaces a socket that nobody
    /// listens on any more.
    ///
    /// # Errors
    /// [`BindError`]; among others when another process listens there, or `path` is something else than a socket.
    pub fn unix(path: &Path) -> Result<Self, BindError> {
        bind_unix(path).map_err(|source| BindError::Unix {
            path: path.to_owned(),
            source,
        })
    }

    /// The address as a URL: `http://127.0.0.1:8480` or `unix:/run/…`.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn url(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(format!("http://{}", listener.local_addr()?)),
            Self::Unix(_, SocketFile(path)) => Ok(format!("unix:{}", path.display())),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Connection, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are small and one write; waiting for more to send only delays them.
                stream.set_nodelay(true)?;
                Ok((Connection::Tcp(stream), Peer::Tcp(address)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().ok().map(|credentials| credentials.uid());
                Ok((Connection::Unix(stream), Peer::Unix(user)))
            }
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other("something else than a socket is there"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::other("another process listens there"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Bound under another name and renamed once its mode is right, so that nobody can connect in between, and a socket
    // left over by a killed server is replaced.
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(name);
    let listener = UnixListener::bind(&temporary)?;
    let placed = std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o660))
        .and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = placed {
        drop(SocketFile(temporary));
        return Err(error);
    }
    Ok(Listener::Unix(listener, SocketFile(path.to_owned())))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Left over, it would be replaced at the next start.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{}", address.ip().to_canonical()),
            Self::Unix(Some(user)) => write!(f, "uid {user}"),
            Self::Unix(None) => f.write_str("unknown local user"),
        }
    }
}

/// An accepted connection of either kind.
#[derive(Debug)]
pub(super) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
