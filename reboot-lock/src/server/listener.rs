//! The sockets that are listened on, and who is at the other end of a connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::server::TlsStream;

use super::tls::{self, Tls};

/// A bound socket.
pub enum Listener {
    /// HTTP over TCP, encrypted if there is a [`Tls`].
    Tcp(TcpListener, Option<Arc<Tls>>),
    /// HTTP over a unix socket. One that was bound here is removed from the file system when dropped; one that the
    /// service manager passed is its own.
    Unix(UnixListener, Option<SocketFile>),
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
         set [tls], listen on a loopback address, or pass --insecure-plain-http if the network is trusted"
    )]
    NotLoopback(SocketAddr),
    /// Nobody asked for plain HTTP.
    #[error(
        "nothing says how to encrypt what is listened for on {0}: set [tls] with a certificate and a key, \
         or ask for plain HTTP with plain_http = true (--plain-http)"
    )]
    NotEncrypted(SocketAddr),
    /// A socket that the service manager passed.
    #[error("cannot use the socket that the service manager passed: {0}")]
    Passed(io::Error),
    /// A unix socket.
    #[error("cannot listen on {}: {source}", path.display())]
    Unix {
        /// The path.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Whether and how far plain HTTP was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainHttp {
    /// On loopback addresses.
    pub asked: bool,
    /// On any address, when asked for too.
    pub anywhere: bool,
}

impl Listener {
    /// Listens on `address` (port 0: any free one), encrypted with `tls`; without it only as far as `plain` goes.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn tcp(address: SocketAddr, tls: Option<Arc<Tls>>, plain: PlainHttp) -> Result<Self, BindError> {
        permit(address, tls.is_some(), plain)?;
        let bound = TcpListener::bind(address).await;
        Ok(Self::Tcp(
            bound.map_err(|source| BindError::Tcp { address, source })?,
            tls,
        ))
    }

    /// A TCP socket that the service manager has bound.
    ///
    /// # Errors
    /// [`BindError`]; the rules for plain HTTP hold here too.
    pub fn passed_tcp(
        socket: std::net::TcpListener,
        tls: Option<Arc<Tls>>,
        plain: PlainHttp,
    ) -> Result<Self, BindError> {
        let address = socket.local_addr().map_err(BindError::Passed)?;
        permit(address, tls.is_some(), plain)?;
        socket.set_nonblocking(true).map_err(BindError::Passed)?;
        Ok(Self::Tcp(
            TcpListener::from_std(socket).map_err(BindError::Passed)?,
            tls,
        ))
    }

    /// A unix socket that the service manager has bound.
    ///
    /// # Errors
    /// [`BindError::Passed`].
    pub fn passed_unix(socket: std::os::unix::net::UnixListener) -> Result<Self, BindError> {
        socket.set_nonblocking(true).map_err(BindError::Passed)?;
        Ok(Self::Unix(
            UnixListener::from_std(socket).map_err(BindError::Passed)?,
            None,
        ))
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

    /// The address as a URL: `https://127.0.0.1:8480` or `unix:/run/…`.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn url(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener, tls) => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                Ok(format!("{scheme}://{}", listener.local_addr()?))
            }
            Self::Unix(_, Some(SocketFile(path))) => Ok(format!("unix:{}", path.display())),
            Self::Unix(listener, None) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().unwrap_or(Path::new("(unnamed)"));
                Ok(format!("unix:{}", path.display()))
            }
        }
    }

    /// Whether what is said here cannot be read on the way.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tcp(_, Some(_)))
    }

    pub(super) async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener, tls) => {
                let (stream, address) = listener.accept().await?;
                // Answers are small and one write; waiting for more to send only delays them.
                stream.set_nodelay(true)?;
                let accepted = match tls {
                    Some(tls) => Accepted::Encrypted(stream, Arc::clone(tls)),
                    None => Accepted::Open(Connection::Tcp(stream)),
                };
                Ok((accepted, Peer::Tcp(address)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().ok().map(|credentials| credentials.uid());
                Ok((Accepted::Open(Connection::Unix(stream)), Peer::Unix(user)))
            }
        }
    }
}

fn permit(address: SocketAddr, encrypted: bool, plain: PlainHttp) -> Result<(), BindError> {
    match (encrypted, plain.asked, address.ip().is_loopback() || plain.anywhere) {
        (true, ..) | (_, true, true) => Ok(()),
        (_, true, false) => Err(BindError::NotLoopback(address)),
        (_, false, _) => Err(BindError::NotEncrypted(address)),
    }
}

/// A connection before its handshake.
pub(super) enum Accepted {
    Open(Connection),
    Encrypted(TcpStream, Arc<Tls>),
}

impl Accepted {
    /// Makes it ready for HTTP; returns the names in the client's certificate too.
    pub(super) async fn shake_hands(self) -> io::Result<(Connection, Vec<String>)> {
        match self {
            Self::Open(connection) => Ok((connection, Vec::new())),
            Self::Encrypted(stream, tls) => {
                let stream = tls.accept(stream).await?;
                let names = tls::names(&stream);
                Ok((Connection::Tls(Box::new(stream)), names))
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
    Ok(Listener::Unix(listener, Some(SocketFile(path.to_owned()))))
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

/// An accepted connection of any kind.
pub(super) enum Connection {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
