//! The server: hosts and readers on one listener, administration on others.

mod access;
mod administration;
mod browser;
mod connections;
mod gate;
mod hosts;
mod limits;
mod listener;
mod live;
mod metrics;
mod occupancy;
mod path;
mod rate;
mod readers;
mod reply;
mod session;
mod tls;
pub mod token;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use access::is_pattern;
pub use access::{Access, Admission};
pub use administration::{ForcedRelease, Intervention, MAX_REASON, PolicyChange};
pub use gate::Gate;
pub use limits::Limits;
pub use listener::{BindError, Listener, Peer, PlainHttp};
pub use path::BasePath;
pub use rate::Rate;
pub use tls::{Tls, TlsError, TlsFiles};
pub use token::Token;

use crate::groups::Groups;
use crate::wire::{Kind, Reply};
use connections::Origin;
use live::Live;
use metrics::Metrics;
use session::Sessions;

/// Everything that a server listens on.
pub struct Listeners {
    /// For hosts and readers.
    pub public: Listener,
    /// The path that the public endpoints are below.
    pub base: BasePath,
    /// Whether the public listener also shows the page, the status, the history and the figures.
    pub public_status: bool,
    /// For administrators: each with the token that it asks for, or none where file permissions protect it.
    pub administration: Vec<(Listener, Option<Token>)>,
}

/// What every endpoint of a listener knows.
#[derive(Clone)]
struct Shared {
    groups: Arc<Groups>,
    gate: Arc<Gate>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    sessions: Arc<Sessions>,
    body_time: Duration,
    /// What a caller of the administration must show; `None` where the socket's file permissions decide.
    token: Option<Arc<Token>>,
    /// The path that links begin with.
    link: String,
    /// Whether the listener does TLS.
    encrypted: bool,
}

/// Serves `groups` behind `gate` until `stop` becomes true (or its sender is gone), then finishes what was begun.
pub async fn serve(
    listeners: Listeners,
    groups: Arc<Groups>,
    gate: Arc<Gate>,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    let mut serving = JoinSet::new();
    let metrics = Arc::new(Metrics::default());
    let live = Arc::new(Live::new(Arc::clone(&groups), stop.clone()));
    let shared = |token: Option<Token>, base: &BasePath, listener: &Listener| Shared {
        groups: Arc::clone(&groups),
        gate: Arc::clone(&gate),
        live: Arc::clone(&live),
        metrics: Arc::clone(&metrics),
        sessions: Arc::default(),
        body_time: limits.body_time,
        token: token.map(Arc::new),
        link: base.link(),
        encrypted: listener.is_encrypted(),
    };
    let public = shared(None, &listeners.base, &listeners.public);
    let mut routes = hosts::router().merge(readers::health());
    if listeners.public_status {
        routes = routes
            .merge(readers::data())
            .merge(readers::assets())
            .merge(readers::page());
    }
    let mut serving_on = |listener, routes, shared, base| {
        let (metrics, stop) = (Arc::clone(&metrics), stop.clone());
        serving.spawn(connections::serve(
            listener,
            finished(routes, shared),
            base,
            limits,
            metrics,
            stop,
        ));
    };
    serving_on(listeners.public, routes, public, listeners.base);
    for (listener, token) in listeners.administration {
        let base = BasePath::default();
        let shared = shared(token, &base, &listener);
        serving_on(listener, administration::router(&shared), shared, base);
    }
    serving.join_all().await;
}

/// `routes` with what all listeners have: answers for wrong paths, the rate limit, and headers for browsers.
fn finished(routes: Router<Shared>, shared: Shared) -> Router {
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(shared.clone(), pass))
        .with_state(shared)
}

/// Everything the page needs comes from this server, and nothing may frame it.
const CONTENT_SECURITY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

async fn pass(State(shared): State<Shared>, origin: Extension<Origin>, request: Request, next: Next) -> Response {
    let mut response = match shared.gate.pass(&origin.peer) {
        Ok(()) => next.run(request).await,
        Err(reply) => {
            shared.metrics.rate_limited.fetch_add(1, Ordering::Relaxed);
            reply.into_response()
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn not_found() -> Reply {
    Reply::new(
        Kind::NotFound,
        "no such path here; hosts use v1/pre-reboot and v1/steady-state, readers v1/status; \
         administration has a listener of its own",
    )
}

async fn wrong_method() -> Reply {
    Reply::new(Kind::MethodNotAllowed, "wrong method; see the header `allow`")
}
