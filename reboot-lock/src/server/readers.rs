//! What readers ask: the page, the status, the history, figures, and whether the server is well.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Extension, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::Shared;
use super::connections::Origin;
use super::metrics;
use crate::history::Event;
use crate::names::GroupName;
use crate::page::{self, View};
use crate::status::Status;
use crate::wire::{Kind, Reply};

/// How many events an answer carries unless asked otherwise, and at most.
const EVENTS: usize = 100;
const MAX_EVENTS: usize = 10_000;

/// Whether the server runs and whether its store answers: told to everybody, for load balancers and service managers.
pub(super) fn health() -> Router<Shared> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
}

/// What the page consists of besides itself; nothing in it is secret.
pub(super) fn assets() -> Router<Shared> {
    let asset = |kind: &'static str, text: &'static str| {
        get(move || async move {
            let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
            (headers, text)
        })
    };
    Router::new()
        .route("/page/style.css", asset("text/css; charset=utf-8", page::STYLE))
        .route("/page/live.js", asset("text/javascript; charset=utf-8", page::SCRIPT))
        .route("/page/icon.svg", asset("image/svg+xml", page::ICON))
}

/// What there is to read, for programs.
pub(super) fn data() -> Router<Shared> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/history", get(history))
        .route("/metrics", get(figures))
}

/// The page for those who only look.
pub(super) fn page() -> Router<Shared> {
    Router::new().route("/", get(show)).route("/page/events", get(follow))
}

/// The status, or the answer to give without one.
pub(super) async fn current(shared: &Shared) -> Result<Arc<Status>, Reply> {
    let status = shared.live.status().await;
    status.map_err(|error| Reply::new(Kind::BackendUnavailable, error.to_string()))
}

async fn ready(State(shared): State<Shared>) -> Result<&'static str, Reply> {
    current(&shared).await.map(|_| "ready\n")
}

async fn status(State(shared): State<Shared>, origin: Extension<Origin>) -> Result<Response, Reply> {
    let _working = origin.place.work();
    // Not the cached one: programs ask after they have changed something.
    match shared.groups.status().await {
        Ok(status) => Ok(Json(status).into_response()),
        Err(error) => Err(Reply::new(Kind::BackendUnavailable, error.to_string())),
    }
}

async fn history(
    State(shared): State<Shared>,
    origin: Extension<Origin>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Event>>, Reply> {
    let (mut limit, mut group) = (EVENTS, None::<GroupName>);
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let problem = |problem: String| Reply::new(Kind::InvalidParams, format!("{key}: {problem}"));
        match &*key {
            "limit" => {
                limit = value
                    .parse()
                    .map_err(|_| problem(format!("`{value}` is not a number")))?;
                if !(1..=MAX_EVENTS).contains(&limit) {
                    return Err(problem(format!("it must be 1 to {MAX_EVENTS}")));
                }
            }
            "group" => group = Some(value.parse().map_err(|error| problem(format!("{error}")))?),
            _ => return Err(problem("unknown; known are limit and group".to_owned())),
        }
    }
    let _working = origin.place.work();
    let asked = if group.is_some() { MAX_EVENTS } else { limit };
    let found = shared.groups.history(asked).await;
    let mut events = found.map_err(|error| Reply::new(Kind::BackendUnavailable, error.to_string()))?;
    if let Some(group) = group {
        events.retain(|event| event.group == group);
        events.truncate(limit);
    }
    Ok(Json(events))
}

async fn figures(State(shared): State<Shared>) -> impl IntoResponse {
    let status = shared.live.status().await.ok();
    let text = shared.metrics.render(status.as_deref());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

async fn show(State(shared): State<Shared>) -> Response {
    let view = View {
        link: &shared.link,
        admin: None,
    };
    document(&shared, &view, None).await
}

/// The whole page, with `notice` on top of it.
pub(super) async fn document(shared: &Shared, view: &View<'_>, notice: Option<&str>) -> Response {
    match current(shared).await {
        Ok(status) => Html(page::document(&status, view, notice)).into_response(),
        Err(reply) => {
            let page = Html(page::message(view, "The lock's store does not answer", &reply.value));
            (StatusCode::SERVICE_UNAVAILABLE, page).into_response()
        }
    }
}

async fn follow(State(shared): State<Shared>) -> Response {
    let link = shared.link.clone();
    let render = move |status: &Status| {
        page::content(
            status,
            &View {
                link: &link,
                admin: None,
            },
        )
    };
    stream(&shared, render)
}

/// The stream of what `render` makes of the status.
pub(super) fn stream(shared: &Shared, render: impl Fn(&Status) -> String + Send + Sync + 'static) -> Response {
    shared.live.follow(render).map_or_else(
        || {
            shared.metrics.rate_limited.fetch_add(1, Ordering::Relaxed);
            Reply::new(
                Kind::RateLimited,
                "too many pages follow at the same time; reload by hand",
            )
            .into_response()
        },
        IntoResponse::into_response,
    )
}
