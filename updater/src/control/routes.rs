//! What the interface answers.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use tokio::sync::{oneshot, watch};

use super::{Asked, Metrics, Reply, Service};
use crate::command::Command;
use crate::machine::Problem;
use crate::status::{Report, Told};

/// Longest command, in bytes.
const MAX_COMMAND: usize = 4096;

/// The interface on the control socket.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/events", get(events))
        .route("/v1/command", post(command).layer(DefaultBodyLimit::max(MAX_COMMAND)))
        .route("/metrics", get(metrics))
        .with_state(service)
}

/// The interface on a TCP address: it tells numbers and changes nothing.
pub fn metrics_only(service: Service) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(service)
}

async fn status(State(service): State<Service>) -> Response {
    let told = service.told.borrow().clone();
    let read = tokio::task::spawn_blocking(move || Report::read(&service.paths, Some(told))).await;
    match read {
        Ok(Ok(report)) => Json(report).into_response(),
        Ok(Err(error)) => fault("state", error),
        Err(error) => fault("state", error),
    }
}

async fn events(State(service): State<Service>) -> Response {
    let mut told = service.told;
    told.mark_changed();
    let lines = stream::unfold(told, next_line);
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response()
}

/// The next line of the stream, which ends with the service.
async fn next_line(mut told: watch::Receiver<Told>) -> Option<(Result<Bytes, Infallible>, watch::Receiver<Told>)> {
    told.changed().await.ok()?;
    let mut line = serde_json::to_vec(&*told.borrow_and_update()).unwrap_or_default();
    line.push(b'\n');
    Some((Ok(line.into()), told))
}

async fn command(State(service): State<Service>, body: Bytes) -> Response {
    let command: Command = match serde_json::from_slice(&body) {
        Ok(command) => command,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "bad-command", &error),
    };
    let (reply, answer) = oneshot::channel();
    if service.commands.try_send(Asked { command, reply }).is_err() {
        return problem(StatusCode::CONFLICT, "busy", "another command is waiting");
    }
    match answer.await {
        Ok(Reply::Outcome(outcome)) => Json(outcome).into_response(),
        Ok(Reply::Busy(what)) => problem(StatusCode::CONFLICT, "busy", &what),
        Ok(Reply::Fault(why)) => fault("state", why),
        Err(_) => fault("state", "the service ended"),
    }
}

async fn metrics(State(service): State<Service>) -> Response {
    let text = service.metrics.borrow().render(&service.told.borrow());
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response()
}

fn fault(code: &str, why: impl std::fmt::Display) -> Response {
    problem(StatusCode::INTERNAL_SERVER_ERROR, code, &why)
}

fn problem(status: StatusCode, code: &str, why: &(impl std::fmt::Display + ?Sized)) -> Response {
    (status, Json(Problem::new(code, why))).into_response()
}
