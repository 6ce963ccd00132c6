//! The administration's page: who logs in with the token gets a session, and forms that only this page can send.
//!
//! Three things must hold for a form to be obeyed: the cookie of a session (`SameSite=Strict`, out of reach of scripts),
//! the form key of that session in the form itself, and no word from the browser that another site sent it. The token
//! itself is never stored by the browser.

use std::collections::HashMap;
use std::time::Instant;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};

use super::administration::{MAX_OPERATOR, MAX_REASON, authorise, change, signature};
use super::connections::Origin;
use super::readers::{document, stream};
use super::reply::{printable, read_body};
use super::session::Session;
use super::{Shared, listener::Peer};
use crate::names::{GroupName, HostId};
use crate::page::{self, Admin, View};
use crate::semaphore::Request as Ask;
use crate::status::Status;
use crate::wire::{Kind, Reply};

const COOKIE: &str = "twinhull-lock";

/// The page, the log-in and the forms.
pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/", get(show))
        .route("/page/events", get(follow))
        .route("/page/login", post(log_in))
        .route("/page/logout", post(log_out))
        .route("/page/release", post(release))
        .route("/page/pause", post(pause))
        .route("/page/resume", post(resume))
}

async fn show(State(shared): State<Shared>, origin: Extension<Origin>, headers: HeaderMap) -> Response {
    match session(&shared, &origin, &headers) {
        Some(session) => document(&shared, &view(&shared, &session), None).await,
        None => Html(page::login(&bare(&shared), None)).into_response(),
    }
}

async fn follow(State(shared): State<Shared>, origin: Extension<Origin>, headers: HeaderMap) -> Response {
    let Some(session) = session(&shared, &origin, &headers) else {
        return Reply::new(Kind::Unauthorized, "log in first").into_response();
    };
    let link = shared.link.clone();
    let render = move |status: &Status| {
        let admin = Some(admin(&session));
        page::content(status, &View { link: &link, admin })
    };
    stream(&shared, render)
}

async fn log_in(State(shared): State<Shared>, origin: Extension<Origin>, request: Request) -> Response {
    let begun = async {
        same_site(request.headers())?;
        let form = read_form(&shared, request).await?;
        let operator = printable("name", field(&form, "operator")?, MAX_OPERATOR)?;
        authorise(&shared, &origin, Some(field(&form, "token")?.trim().as_bytes()))?;
        let cookie = shared.sessions.begin(operator, Instant::now());
        cookie.ok_or_else(|| Reply::new(Kind::BackendUnavailable, "the system has no random numbers"))
    };
    match begun.await {
        Ok(cookie) => back(&shared, Some(&set_cookie(&shared, &cookie, ""))),
        Err(reply) => {
            let page = Html(page::login(&bare(&shared), Some(&reply.value)));
            (reply.kind.status(), page).into_response()
        }
    }
}

async fn log_out(State(shared): State<Shared>, origin: Extension<Origin>, request: Request) -> Response {
    let headers = request.headers().clone();
    match checked(&shared, &origin, request).await {
        Ok(_) => {
            if let Some(cookie) = cookie(&headers) {
                shared.sessions.end(cookie);
            }
            back(&shared, Some(&set_cookie(&shared, "", "; Max-Age=0")))
        }
        Err(reply) => failed(&shared, &reply),
    }
}

async fn release(State(shared): State<Shared>, origin: Extension<Origin>, request: Request) -> Response {
    obey(&shared, &origin, request, |form, reason| {
        let id = HostId::try_from(field(form, "id")?.to_owned());
        let id = id.map_err(|error| Reply::new(Kind::InvalidParams, error.to_string()))?;
        Ok(Ask::ForceRelease { id, reason })
    })
    .await
}

async fn pause(State(shared): State<Shared>, origin: Extension<Origin>, request: Request) -> Response {
    obey(&shared, &origin, request, |_, reason| Ok(Ask::Pause { reason })).await
}

async fn resume(State(shared): State<Shared>, origin: Extension<Origin>, request: Request) -> Response {
    obey(&shared, &origin, request, |_, reason| Ok(Ask::Resume { reason })).await
}

/// Does what a form asks, and shows the page with what came of it.
async fn obey(
    shared: &Shared,
    origin: &Origin,
    request: Request,
    ask: impl FnOnce(&Form, String) -> Result<Ask, Reply>,
) -> Response {
    let done = async {
        let (session, form) = checked(shared, origin, request).await?;
        let group = GroupName::try_from(field(&form, "group")?.to_owned());
        let group = group.map_err(|error| Reply::new(Kind::InvalidParams, error.to_string()))?;
        let reason = printable("reason", field(&form, "reason")?, MAX_REASON)?;
        let asked = ask(&form, reason)?;
        let by = signature(shared, origin, Some(&session.operator))?;
        let reply = change(shared, origin, &group, by, asked).await?;
        Ok((session, reply))
    };
    match done.await {
        // Not a redirect with the answer in its address: that could be forged.
        Ok((session, reply)) => {
            let mut response = document(shared, &view(shared, &session), Some(&reply.value)).await;
            if response.status() == StatusCode::OK {
                *response.status_mut() = reply.kind.status();
            }
            response
        }
        Err(reply) => failed(shared, &reply),
    }
}

/// The fields of a form.
type Form = HashMap<String, String>;

/// The session and the fields of a form that may be obeyed.
async fn checked(shared: &Shared, origin: &Origin, request: Request) -> Result<(Session, Form), Reply> {
    same_site(request.headers())?;
    let session = session(shared, origin, request.headers())
        .ok_or_else(|| Reply::new(Kind::Unauthorized, "the session has ended; log in again"))?;
    let form = read_form(shared, request).await?;
    if !session.owns(field(&form, "key")?) {
        return Err(Reply::new(
            Kind::Unauthorized,
            "this form is not of your session; load the page again",
        ));
    }
    Ok((session, form))
}

/// Refuses what the browser itself says another site sent. Old browsers say nothing; the form key stops those.
fn same_site(headers: &HeaderMap) -> Result<(), Reply> {
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Reply::new(Kind::Unauthorized, "forms of other sites are not obeyed")),
    }
}

fn session(shared: &Shared, origin: &Origin, headers: &HeaderMap) -> Option<Session> {
    // A unix socket is not for browsers: without a token there is nothing to log in with.
    if shared.token.is_none() || matches!(origin.peer, Peer::Unix(_)) {
        return None;
    }
    shared.sessions.find(cookie(headers)?, Instant::now())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|one| one.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn set_cookie(shared: &Shared, value: &str, more: &str) -> String {
    let secure = if shared.encrypted { "; Secure" } else { "" };
    format!(
        "{COOKIE}={value}; Path={}; HttpOnly; SameSite=Strict{secure}{more}",
        shared.link
    )
}

async fn read_form(shared: &Shared, request: Request) -> Result<Form, Reply> {
    let body = read_body(shared, request).await?;
    let fields = form_urlencoded::parse(&body);
    Ok(fields
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect())
}

fn field<'a>(form: &'a Form, name: &str) -> Result<&'a str, Reply> {
    form.get(name)
        .map(String::as_str)
        .ok_or_else(|| Reply::new(Kind::DecodeError, format!("the form has no field `{name}`")))
}

/// Sends the browser to the page, so that loading it again does not send the form again.
fn back(shared: &Shared, cookie: Option<&str>) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, shared.link.clone())]).into_response();
    if let Some(value) = cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

fn failed(shared: &Shared, reply: &Reply) -> Response {
    let page = Html(page::message(&bare(shared), "Not done", &reply.value));
    (reply.kind.status(), page).into_response()
}

fn bare(shared: &Shared) -> View<'_> {
    View {
        link: &shared.link,
        admin: None,
    }
}

fn view<'a>(shared: &'a Shared, session: &'a Session) -> View<'a> {
    View {
        link: &shared.link,
        admin: Some(admin(session)),
    }
}

fn admin(session: &Session) -> Admin<'_> {
    Admin {
        operator: &session.operator,
        form_key: &session.form_key,
    }
}
