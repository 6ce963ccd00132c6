//! Ports of our loopback that nobody uses, to be handed to programs that take them later.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::error::{Error, Result};

/// Below the ports that the kernel gives to connections (`net.ipv4.ip_local_port_range`): a client that asks without pause
/// would take one of those before the program does.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

/// A port that is free now and that no later call gives before all others were given.
pub fn free() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(FIRST);
    for _ in FIRST..LAST {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if port >= LAST {
            NEXT.store(FIRST, Ordering::Relaxed);
            continue;
        }
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Error::Server {
        server: "port forwarding".to_owned(),
        reason: format!("no port from {FIRST} to {LAST} of 127.0.0.1 is free"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_or_while_it_is_used() {
        let first = free().unwrap();
        let used = TcpListener::bind(("127.0.0.1", first.port() + 1));
        let second = free().unwrap();
        assert_ne!(first, second);
        assert!(used.is_err() || second.port() != first.port() + 1);
    }
}
