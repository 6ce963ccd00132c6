//! The server: FleetLock and the status on one listener, administration on others.

mod connections;
mod endpoints;
mod limits;
mod listener;
mod occupancy;
mod path;
pub mod token;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

pub use endpoints::{ForcedRelease, MAX_REASON};
pub use limits::Limits;
pub use listener::{BindError, Listener, Peer};
pub use path::BasePath;
pub use token::Token;

use crate::groups::Groups;
use endpoints::Shared;

/// Everything that a server listens on.
pub struct Listeners {
    /// For hosts and readers.
    pub public: Listener,
    /// The path that the public endpoints are below.
    pub base: BasePath,
    /// For administrators: each with the token that it asks for, or none where file permissions protect it.
    pub administration: Vec<(Listener, Option<Token>)>,
}

/// Serves `groups` until `stop` becomes true (or its sender is gone), then finishes what was begun.
pub async fn serve(listeners: Listeners, groups: Arc<Groups>, limits: Limits, stop: watch::Receiver<bool>) {
    let mut serving = JoinSet::new();
    let shared = |token: Option<Token>| Shared {
        groups: Arc::clone(&groups),
        body_time: limits.body_time,
        token: token.map(Arc::new),
    };
    let public = endpoints::public(shared(None));
    serving.spawn(connections::serve(
        listeners.public,
        public,
        listeners.base,
        limits,
        stop.clone(),
    ));
    for (listener, token) in listeners.administration {
        let router = endpoints::administration(shared(token));
        serving.spawn(connections::serve(
            listener,
            router,
            BasePath::default(),
            limits,
            stop.clone(),
        ));
    }
    serving.join_all().await;
}
