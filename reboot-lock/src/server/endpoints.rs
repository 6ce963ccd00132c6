//! The endpoints: FleetLock's two, the status, and administration.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::connections::Origin;
use super::listener::Peer;
use super::token::Token;
use crate::groups::Groups;
use crate::names::{GroupName, HostId};
use crate::semaphore::Outcome;
use crate::wire::{self, Kind, MAX_BODY, Reply};

/// The longest reason for a forced release, in bytes.
pub const MAX_REASON: usize = 500;

/// The longest name that a person gives for themselves, in bytes.
const MAX_OPERATOR: usize = 64;

/// What every endpoint knows.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) groups: Arc<Groups>,
    pub(super) body_time: Duration,
    /// What a caller of the administration must show; `None` where the socket's file permissions decide.
    pub(super) token: Option<Arc<Token>>,
}

/// What hosts and readers may ask.
pub(super) fn public(shared: Shared) -> Router {
    Router::new()
        .route("/v1/pre-reboot", post(pre_reboot))
        .route("/v1/steady-state", post(steady_state))
        .route("/v1/status", get(status))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared)
}

/// What administrators may ask.
pub(super) fn administration(shared: Shared) -> Router {
    Router::new()
        .route("/v1/admin/release", post(forced_release))
        .route("/v1/status", get(admin_status))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared)
}

async fn pre_reboot(State(shared): State<Shared>, origin: Extension<Origin>, request: Request) -> Result<Reply, Reply> {
    wire::check_header(request.headers())?;
    let body = read_body(&shared, request).await?;
    let params = wire::parse_body(&body)?;
    let _working = origin.place.work();
    let taken = shared
        .groups
        .take(&params.group, params.id.clone(), origin.peer.to_string());
    Ok(wire::answer(&params, &taken.await?))
}

async fn steady_state(
    State(shared): State<Shared>,
    origin: Extension<Origin>,
    request: Request,
) -> Result<Reply, Reply> {
    wire::check_header(request.headers())?;
    let body = read_body(&shared, request).await?;
    let params = wire::parse_body(&body)?;
    let _working = origin.place.work();
    let released = shared
        .groups
        .release(&params.group, params.id.clone(), origin.peer.to_string(), None);
    Ok(wire::answer(&params, &released.await?))
}

async fn status(State(shared): State<Shared>, origin: Extension<Origin>) -> Response {
    let _working = origin.place.work();
    match shared.groups.status().await {
        Ok(status) => ([(header::CACHE_CONTROL, "no-store")], Json(status)).into_response(),
        Err(error) => Reply::new(Kind::BackendUnavailable, error.to_string()).into_response(),
    }
}

async fn admin_status(shared: State<Shared>, origin: Extension<Origin>, headers: HeaderMap) -> Response {
    match authorise(&shared, &headers, &origin.peer) {
        Ok(_) => status(shared, origin).await,
        Err(reply) => reply.into_response(),
    }
}

/// The body of a forced release.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForcedRelease {
    /// The group.
    pub group: GroupName,
    /// The host whose slot is to be freed.
    pub id: HostId,
    /// Why; 1 to [`MAX_REASON`] bytes. Goes into the history.
    pub reason: String,
    /// Who asks, as they call themselves; the server notes it beside what it knows from the credential.
    #[serde(default)]
    pub operator: Option<String>,
}

async fn forced_release(
    State(shared): State<Shared>,
    origin: Extension<Origin>,
    request: Request,
) -> Result<Reply, Reply> {
    let credential = authorise(&shared, request.headers(), &origin.peer)?;
    let body = read_body(&shared, request).await?;
    let asked: ForcedRelease = serde_json::from_slice(&body)
        .map_err(|error| Reply::new(Kind::DecodeError, format!("the body is not a forced release: {error}")))?;
    let reason = printable("reason", asked.reason.trim(), MAX_REASON)?;
    let by = match asked.operator {
        Some(name) => format!("{} ({credential})", printable("operator", name.trim(), MAX_OPERATOR)?),
        None => credential,
    };
    let _working = origin.place.work();
    let released = shared
        .groups
        .release(&asked.group, asked.id.clone(), by, Some(reason))
        .await?;
    let ForcedRelease { group, id, .. } = asked;
    Ok(match released {
        Outcome::NotHeld => Reply::new(
            Kind::NotHeld,
            format!("group {group}: {id} holds no slot, nothing to release"),
        ),
        outcome => wire::answer(&wire::ClientParams { id, group }, &outcome),
    })
}

/// The credential that a caller showed, in words for the history.
fn authorise(shared: &Shared, headers: &HeaderMap, peer: &Peer) -> Result<String, Reply> {
    let Some(token) = &shared.token else {
        return Ok(peer.to_string());
    };
    let shown = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    match shown {
        Some(shown) if token.matches(shown) => Ok(format!("admin token from {peer}")),
        Some(_) => Err(Reply::new(Kind::Unauthorized, "the token is wrong")),
        None => Err(Reply::new(
            Kind::Unauthorized,
            "the header `authorization: Bearer <token>` is missing",
        )),
    }
}

fn printable(what: &str, text: &str, longest: usize) -> Result<String, Reply> {
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > longest {
        format!("has {} bytes; at most {longest} are allowed", text.len())
    } else if text.chars().any(char::is_control) {
        "has control characters".to_owned()
    } else {
        return Ok(text.to_owned());
    };
    Err(Reply::new(Kind::InvalidParams, format!("the {what} {problem}")))
}

async fn read_body(shared: &Shared, request: Request<Body>) -> Result<Bytes, Reply> {
    let too_large = || Reply::new(Kind::BodyTooLarge, format!("the body is longer than {MAX_BODY} bytes"));
    let body = request.into_body();
    // By its declared length, before a byte of it is read.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(shared.body_time, to_bytes(body, MAX_BODY)).await {
        Err(_) => Err(Reply::new(Kind::Timeout, "the body did not come in time")),
        Ok(Ok(body)) => Ok(body),
        // The other cause is a broken connection, and then nobody reads this.
        Ok(Err(_)) => Err(too_large()),
    }
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

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.body())).into_response();
        if matches!(
            response.status(),
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT
        ) {
            // The rest of the body is still to come: nothing that follows on this connection can be understood.
            response
                .headers_mut()
                .insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
