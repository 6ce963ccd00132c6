//! Sockets that the service manager has bound and passes (`sd_listen_fds(3)`).

use std::sync::Arc;

use listenfd::ListenFd;

use super::CommandError;
use crate::server::{BindError, Listener, PlainHttp, Tls};

/// The name (`FileDescriptorName=`) of sockets for administration.
const ADMIN: &str = "admin";

/// The sockets that were passed, each with its purpose.
#[derive(Default)]
pub(super) struct Passed {
    /// For hosts: the TCP socket that is not named `admin`.
    pub(super) public: Option<Listener>,
    /// For administration: those named `admin`, and unix sockets of any name.
    pub(super) administration: Vec<Listener>,
}

impl Passed {
    /// Takes over what was passed; nothing if nothing was.
    ///
    /// # Errors
    /// When a socket cannot be used, or two are for hosts.
    pub(super) fn take(tls: Option<&Arc<Tls>>, plain: PlainHttp) -> Result<Self, CommandError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<_> = names.split(':').collect();
        let mut sockets = ListenFd::from_env();
        let mut passed = Self::default();
        for index in 0..sockets.len() {
            // A socket of the other family is put back and taken by the next call.
            if let Ok(Some(socket)) = sockets.take_unix_listener(index) {
                passed.administration.push(Listener::passed_unix(socket)?);
                continue;
            }
            let socket = sockets.take_tcp_listener(index).map_err(BindError::Passed)?;
            let Some(socket) = socket else { continue };
            let listener = Listener::passed_tcp(socket, tls.cloned(), plain)?;
            if names.get(index) == Some(&ADMIN) {
                passed.administration.push(listener);
            } else if passed.public.replace(listener).is_some() {
                let problem = "two of them are for hosts; name those for administration with FileDescriptorName=admin";
                return Err(BindError::Passed(std::io::Error::other(problem)).into());
            }
        }
        Ok(passed)
    }
}
