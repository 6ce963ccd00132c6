//! What one connection, and all of them together, may take from the server.

use std::time::Duration;

/// The bounds of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many connections are open at the same time. When one more comes, the one that has waited longest without a
    /// complete request is closed for it.
    pub connections: usize,
    /// How long a client may take to send the head of a request, and how long a connection may be idle before it.
    pub header_time: Duration,
    /// How long a client may take to send the body of a request.
    pub body_time: Duration,
    /// How long open requests get to finish when the server goes down.
    pub shutdown_time: Duration,
}

/// The longest head of a request, in bytes; also the size of a connection's buffer.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// How many headers a request may have.
pub(super) const MAX_HEADERS: usize = 64;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            header_time: Duration::from_secs(15),
            body_time: Duration::from_secs(10),
            shutdown_time: Duration::from_secs(10),
        }
    }
}
