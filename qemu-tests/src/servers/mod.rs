//! What guests talk to: servers of this process (or children of it) on its loopback, which guests see as 10.0.2.2.

pub mod client;
mod corruption;
pub mod http_client;
pub mod lock;
pub mod program;
pub mod release;

use std::net::SocketAddr;

/// Where a guest reaches what listens on `address` of our loopback.
pub fn seen_by_guest(address: SocketAddr) -> String {
    format!("http://10.0.2.2:{}/", address.port())
}
