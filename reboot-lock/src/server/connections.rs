//! The accept loop of one listener: places, time-outs, and the end of it all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::limits::{Limits, MAX_HEAD, MAX_HEADERS};
use super::listener::{Accepted, Connection, Listener, Peer};
use super::metrics::Metrics;
use super::occupancy::{Occupancy, Place};
use super::path::BasePath;

/// How long to wait when the system has no file descriptor or memory for one more connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long and how far a client that was refused is listened to, so that it can read why.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 * 1024;

/// A path that no endpoint has.
const NOWHERE: &str = "/-";

/// What a request carries from its connection to its endpoint.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) peer: Peer,
    /// The names in the client's certificate.
    pub(super) names: Arc<[String]>,
    pub(super) place: Arc<Place>,
}

/// Serves `router` on `listener` until `stop` becomes true, then lets open requests finish for `limits.shutdown_time`.
pub(super) async fn serve(
    listener: Listener,
    router: Router,
    base: BasePath,
    limits: Limits,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    let occupancy = Occupancy::new(limits.connections);
    let base = Arc::new(base);
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            // Ended connections are collected as they end, or the set would grow for ever.
            Some(_) = open.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (accepted, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}; pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            place = occupancy.enter() => place,
        };
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        let (router, base, metrics) = (router.clone(), Arc::clone(&base), Arc::clone(&metrics));
        let stop = stop.clone();
        open.spawn(async move {
            match greet(accepted, &place, limits.header_time, stop.clone()).await {
                Some(Ok((connection, names))) => {
                    let names = names.into();
                    let origin = Origin { peer, names, place };
                    converse(connection, origin, router, base, limits, stop).await;
                }
                Some(Err(error)) => {
                    metrics.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%peer, "TLS handshake failed: {error}");
                }
                None => {}
            }
        });
    }
    drop(listener);
    let finished = tokio::time::timeout(limits.shutdown_time, async {
        while open.join_next().await.is_some() {}
    });
    if finished.await.is_err() {
        tracing::warn!(
            connections = open.len(),
            "closing connections that did not finish in time"
        );
    }
}

fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected
    )
}

/// The handshake, within `patience`. `None` when the connection has to go before that is done.
async fn greet(
    accepted: Accepted,
    place: &Place,
    patience: Duration,
    mut stop: watch::Receiver<bool>,
) -> Option<io::Result<(Connection, Vec<String>)>> {
    tokio::select! {
        biased;
        () = place.asked_to_leave() => None,
        _ = stop.wait_for(|stop| *stop) => None,
        shaken = tokio::time::timeout(patience, accepted.shake_hands()) => {
            Some(shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
        }
    }
}

async fn converse(
    mut connection: Connection,
    origin: Origin,
    router: Router,
    base: Arc<BasePath>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let endpoints = TowerToHyperService::new(router);
    let place = Arc::clone(&origin.place);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        *request.uri_mut() = below_base(request.uri(), &base);
        request.extensions_mut().insert(origin.clone());
        endpoints.call(request)
    });
    let conversation = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        // A client that closes its sending side after the request (`nc -N`) still gets its answer.
        .half_close(true)
        .serve_connection(TokioIo::new(&mut connection), service);
    let mut conversation = Box::pin(conversation);
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            () = place.asked_to_leave() => return,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                conversation.as_mut().graceful_shutdown();
            }
            result = &mut conversation => {
                if let Err(error) = result {
                    tracing::debug!("connection ended: {error}");
                }
                break;
            }
        }
    }
    drop(conversation);
    if !stopping {
        tokio::select! {
            () = place.asked_to_leave() => {}
            () = linger(&mut connection) => {}
        }
    }
}

/// Reads on for a moment after the last answer. Closing a connection with unread bytes in it makes the system discard
/// what was sent last, and a client whose request was refused half-way would never learn why.
async fn linger(connection: &mut Connection) {
    let mut rest = connection.take(LINGER_BYTES);
    let mut nowhere = tokio::io::sink();
    // Whatever ends it, the connection is over.
    let _ = tokio::time::timeout(LINGER_TIME, tokio::io::copy(&mut rest, &mut nowhere)).await;
}

/// `uri` with its path as seen from the base; a path outside it becomes one that no endpoint has.
fn below_base(uri: &Uri, base: &BasePath) -> Uri {
    let mut path = base.strip(uri.path()).unwrap_or_else(|| NOWHERE.to_owned());
    if let Some(query) = uri.query() {
        path = format!("{path}?{query}");
    }
    PathAndQuery::try_from(path).map_or_else(|_| Uri::from_static(NOWHERE), Uri::from)
}
