//! Who is let in: the rate of each address, and what it must show.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use axum::http::{HeaderMap, header};

use super::access::{Access, Denied, Shown};
use super::connections::Origin;
use super::listener::Peer;
use super::rate::{Rate, RateLimit};
use crate::wire::{ClientParams, Kind, Reply};

/// Wrong credentials of the administration that an address may show: guessing has to be slow, a mistyped file must not lock out for long.
const FAILURES: Rate = Rate {
    per_second: 0.2,
    burst: 20.0,
};

/// The gate of a server.
pub struct Gate {
    access: RwLock<Arc<Access>>,
    requests: RateLimit,
    failures: RateLimit,
}

impl Gate {
    /// A gate that admits as `access` says, at most at `rate` for each address.
    pub fn new(access: Access, rate: Rate) -> Self {
        Self {
            access: RwLock::new(Arc::new(access)),
            requests: RateLimit::new(rate),
            failures: RateLimit::new(FAILURES),
        }
    }

    /// Makes `access` the one in force.
    pub fn replace(&self, access: Access) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    /// Counts a request of `peer`.
    ///
    /// # Errors
    /// The answer to give when there were too many.
    pub(super) fn pass(&self, peer: &Peer) -> Result<(), Reply> {
        let Some(address) = limited(peer) else { return Ok(()) };
        self.requests.take(address, Instant::now()).map_err(|wait| {
            let seconds = wait.as_secs() + 1;
            Reply::new(
                Kind::RateLimited,
                format!("too many requests from {peer}; wait {seconds} s"),
            )
        })
    }

    /// Whether the host of `origin` may ask what `params` say. Returns who it is, for the history.
    ///
    /// # Errors
    /// The answer to give when it may not.
    pub(super) fn admit(&self, params: &ClientParams, headers: &HeaderMap, origin: &Origin) -> Result<String, Reply> {
        let shown = Shown {
            bearer: bearer(headers),
            names: &origin.names,
        };
        let access = Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner));
        match access.admit(&params.group, &params.id, shown) {
            Ok(None) => Ok(origin.peer.to_string()),
            Ok(Some(right)) => Ok(format!("{} ({right})", origin.peer)),
            // Not held against the address: behind it may be a thousand hosts with the right token.
            Err(Denied(reason)) => Err(Reply::new(Kind::Unauthorized, reason)),
        }
    }

    /// Whether `peer` may try a credential of the administration at all.
    ///
    /// # Errors
    /// The answer to give after too many wrong ones.
    pub(super) fn guess(&self, peer: &Peer) -> Result<(), Reply> {
        match peer {
            Peer::Tcp(address) if self.failures.is_empty(address.ip(), Instant::now()) => Err(Reply::new(
                Kind::RateLimited,
                format!("too many wrong credentials from {peer}; wait a minute"),
            )),
            _ => Ok(()),
        }
    }

    /// Counts a wrong credential of the administration.
    pub(super) fn failed(&self, peer: &Peer) {
        tracing::warn!(%peer, "wrong credential");
        if let Peer::Tcp(address) = peer {
            // Only remembered; it is asked for by `guess`.
            let _ = self.failures.take(address.ip(), Instant::now());
        }
    }
}

/// Loopback is a proxy, which limits by itself, or this machine.
fn limited(peer: &Peer) -> Option<IpAddr> {
    match peer {
        Peer::Tcp(address) if !address.ip().to_canonical().is_loopback() => Some(address.ip()),
        _ => None,
    }
}

/// The bearer token in `headers`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}
