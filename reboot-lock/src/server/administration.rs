//! What administrators ask: programs with a token (or over the unix socket) in JSON, people with a browser in forms.

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::{Deserialize, Serialize};

use super::connections::Origin;
use super::gate::bearer;
use super::reply::{printable, read_body};
use super::{Shared, browser, readers};
use crate::names::{GroupName, HostId};
use crate::semaphore::{Outcome, Report, Request as Ask};
use crate::wire::{self, Kind, Reply};

/// The longest reason that a person gives, in bytes.
pub const MAX_REASON: usize = 500;

/// The longest name that a person gives for themselves, in bytes.
pub(super) const MAX_OPERATOR: usize = 64;

/// All that administrators may ask.
pub(super) fn router(shared: &Shared) -> Router<Shared> {
    let programs = Router::new()
        .route("/v1/admin/release", post(release))
        .merge(readers::data())
        .layer(middleware::from_fn_with_state(shared.clone(), with_token));
    Router::new()
        .merge(programs)
        .merge(browser::router())
        .merge(readers::health())
        .merge(readers::assets())
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

async fn release(State(shared): State<Shared>, origin: Extension<Origin>, request: Request) -> Result<Reply, Reply> {
    let body = read_body(&shared, request).await?;
    let asked: ForcedRelease = serde_json::from_slice(&body)
        .map_err(|error| Reply::new(Kind::DecodeError, format!("the body is not a forced release: {error}")))?;
    let by = signature(&shared, &origin, asked.operator.as_deref())?;
    forced_release(&shared, &origin, asked, by).await
}

/// Frees a slot by force, in the name of `by`.
pub(super) async fn forced_release(
    shared: &Shared,
    origin: &Origin,
    asked: ForcedRelease,
    by: String,
) -> Result<Reply, Reply> {
    let ForcedRelease { group, id, reason, .. } = asked;
    let reason = printable("reason", &reason, MAX_REASON)?;
    let _working = origin.place.work();
    let request = Ask::ForceRelease { id: id.clone(), reason };
    let released = shared.groups.change(&group, request, by).await?;
    shared.live.forget().await;
    Ok(match released {
        Outcome::NotHeld => Reply::new(
            Kind::NotHeld,
            format!("group {group}: {id} holds no slot, nothing to release"),
        ),
        outcome => {
            let report = Report::default();
            wire::answer(&wire::ClientParams { id, group, report }, &outcome)
        }
    })
}

/// Who asks, for the history: the credential, with the name that a person gave before it.
pub(super) fn signature(shared: &Shared, origin: &Origin, operator: Option<&str>) -> Result<String, Reply> {
    let credential = match shared.token {
        Some(_) => format!("admin token from {}", origin.peer),
        None => origin.peer.to_string(),
    };
    Ok(match operator {
        Some(name) => format!("{} ({credential})", printable("operator", name, MAX_OPERATOR)?),
        None => credential,
    })
}

async fn with_token(
    State(shared): State<Shared>,
    origin: Extension<Origin>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    match authorise(&shared, &origin, bearer(&headers)) {
        Ok(()) => next.run(request).await,
        Err(reply) => reply.into_response(),
    }
}

/// Whether `shown` is the token of the administration, or none is needed.
pub(super) fn authorise(shared: &Shared, origin: &Origin, shown: Option<&[u8]>) -> Result<(), Reply> {
    let Some(token) = &shared.token else { return Ok(()) };
    shared.gate.guess(&origin.peer)?;
    match shown {
        Some(shown) if token.matches(shown) => Ok(()),
        Some(_) => {
            shared.gate.failed(&origin.peer);
            Err(Reply::new(Kind::Unauthorized, "the token is wrong"))
        }
        None => Err(Reply::new(
            Kind::Unauthorized,
            "the header `authorization: Bearer <token>` is missing",
        )),
    }
}
