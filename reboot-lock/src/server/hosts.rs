//! FleetLock's two endpoints.

use std::time::Instant;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::routing::post;

use super::Shared;
use super::connections::Origin;
use super::metrics::Question;
use super::reply::read_body;
use crate::wire::{self, Reply};

/// What hosts ask.
pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/v1/pre-reboot", post(pre_reboot))
        .route("/v1/steady-state", post(steady_state))
}

async fn pre_reboot(shared: State<Shared>, origin: Extension<Origin>, request: Request) -> Reply {
    counted(Question::PreReboot, shared, origin, request).await
}

async fn steady_state(shared: State<Shared>, origin: Extension<Origin>, request: Request) -> Reply {
    counted(Question::SteadyState, shared, origin, request).await
}

async fn counted(
    question: Question,
    State(shared): State<Shared>,
    Extension(origin): Extension<Origin>,
    request: Request,
) -> Reply {
    let begun = Instant::now();
    let reply = answer(question, &shared, &origin, request)
        .await
        .unwrap_or_else(|reply| reply);
    shared.metrics.answered(question, reply.kind, begun.elapsed());
    reply
}

async fn answer(question: Question, shared: &Shared, origin: &Origin, request: Request) -> Result<Reply, Reply> {
    wire::check_header(request.headers())?;
    let headers = request.headers().clone();
    let body = read_body(shared, request).await?;
    let params = wire::parse_body(&body)?;
    let by = shared.gate.admit(&params, &headers, origin)?;
    let _working = origin.place.work();
    let (group, id, report) = (&params.group, params.id.clone(), params.report.clone());
    let outcome = match question {
        Question::PreReboot => shared.groups.take(group, id, report, by).await?,
        Question::SteadyState => shared.groups.release(group, id, report, by).await?,
    };
    Ok(wire::answer(&params, &outcome))
}
