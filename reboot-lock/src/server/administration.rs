//! What administrators ask: programs with a token (or over the unix socket) in JSON, people with a browser in forms.

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::connections::Origin;
use super::gate::bearer;
use super::reply::{printable, read_body};
use super::{Shared, browser, readers};
use crate::names::{GroupName, HostId};
use crate::policy::Policy;
use crate::semaphore::{Outcome, Request as Ask};
use crate::wire::{Kind, Reply};

/// The longest reason that a person gives, in bytes.
pub const MAX_REASON: usize = 500;

/// The longest name that a person gives for themselves, in bytes.
pub(super) const MAX_OPERATOR: usize = 64;

/// All that administrators may ask.
pub(super) fn router(shared: &Shared) -> Router<Shared> {
    let programs = Router::new()
        .route("/v1/admin/release", post(release))
        .route("/v1/admin/pause", post(pause))
        .route("/v1/admin/resume", post(resume))
        .route("/v1/admin/policy", post(policy))
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

/// The body of a pause and of its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervention {
    /// The group.
    pub group: GroupName,
    /// Why; 1 to [`MAX_REASON`] bytes. Goes into the history.
    pub reason: String,
    /// Who asks, as they call themselves.
    #[serde(default)]
    pub operator: Option<String>,
}

/// The body of a change of policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyChange {
    /// The group.
    pub group: GroupName,
    /// The whole new policy.
    pub policy: Policy,
    /// Why; 1 to [`MAX_REASON`] bytes. Goes into the history.
    pub reason: String,
    /// Who asks, as they call themselves.
    #[serde(default)]
    pub operator: Option<String>,
}

async fn release(State(shared): State<Shared>, origin: Extension<Origin>, request: Request) -> Result<Reply, Reply> {
    let ForcedRelease {
        group,
        id,
        reason,
        operator,
    } = decode(&shared, request).await?;
    let by = signature(&shared, &origin, operator.as_deref())?;
    let reason = printable("reason", &reason, MAX_REASON)?;
    change(&shared, &origin, &group, by, Ask::ForceRelease { id, reason }).await
}

async fn pause(State(shared): State<Shared>, origin: Extension<Origin>, request: Request) -> Result<Reply, Reply> {
    let Intervention {
        group,
        reason,
        operator,
    } = decode(&shared, request).await?;
    let by = signature(&shared, &origin, operator.as_deref())?;
    let reason = printable("reason", &reason, MAX_REASON)?;
    change(&shared, &origin, &group, by, Ask::Pause { reason }).await
}

async fn resume(State(shared): State<Shared>, origin: Extension<Origin>, request: Request) -> Result<Reply, Reply> {
    let Intervention {
        group,
        reason,
        operator,
    } = decode(&shared, request).await?;
    let by = signature(&shared, &origin, operator.as_deref())?;
    let reason = printable("reason", &reason, MAX_REASON)?;
    change(&shared, &origin, &group, by, Ask::Resume { reason }).await
}

async fn policy(State(shared): State<Shared>, origin: Extension<Origin>, request: Request) -> Result<Reply, Reply> {
    let PolicyChange {
        group,
        policy,
        reason,
        operator,
    } = decode(&shared, request).await?;
    policy
        .check()
        .map_err(|problem| Reply::new(Kind::InvalidParams, format!("the policy of {group}: {problem}")))?;
    let by = signature(&shared, &origin, operator.as_deref())?;
    let reason = printable("reason", &reason, MAX_REASON)?;
    change(&shared, &origin, &group, by, Ask::SetPolicy { policy, reason }).await
}

async fn decode<T: DeserializeOwned>(shared: &Shared, request: Request) -> Result<T, Reply> {
    let body = read_body(shared, request).await?;
    serde_json::from_slice(&body).map_err(|error| {
        Reply::new(
            Kind::DecodeError,
            format!("the body is not what this endpoint takes: {error}"),
        )
    })
}

/// Makes a change of `group` in the name of `by`.
pub(super) async fn change(
    shared: &Shared,
    origin: &Origin,
    group: &GroupName,
    by: String,
    ask: Ask,
) -> Result<Reply, Reply> {
    let host = match &ask {
        Ask::ForceRelease { id, .. } => id.to_string(),
        _ => String::new(),
    };
    let _working = origin.place.work();
    let outcome = shared.groups.change(group, ask, by).await?;
    shared.live.forget().await;
    let (kind, text) = match outcome {
        Outcome::Released { since } => (Kind::Released, format!("slot of {host} released, held since {since}")),
        Outcome::NotHeld => (Kind::NotHeld, format!("{host} holds no slot, nothing to release")),
        Outcome::Done { changed: true } => (Kind::Done, "done".to_owned()),
        // Nothing but the three above and this one comes of what is asked here.
        _ => (Kind::Done, "it was so already, nothing changed".to_owned()),
    };
    Ok(Reply::new(kind, format!("group {group}: {text}")))
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
