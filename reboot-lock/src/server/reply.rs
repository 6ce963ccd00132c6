//! Answers as HTTP responses, and bodies as bounded bytes.

use axum::Json;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::wire::{Kind, MAX_BODY, Reply};

/// Reads the body of `request`, at most [`MAX_BODY`] bytes and within the time for it.
pub(super) async fn read_body(shared: &Shared, request: Request<Body>) -> Result<Bytes, Reply> {
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

/// `text` if it can go into the history as it is.
pub(super) fn printable(what: &str, text: &str, longest: usize) -> Result<String, Reply> {
    let text = text.trim();
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

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.body())).into_response();
        let status = response.status();
        let headers = response.headers_mut();
        match status {
            // The rest of the body is still to come: nothing that follows on this connection can be understood.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
            }
            _ => {}
        }
        response
    }
}
