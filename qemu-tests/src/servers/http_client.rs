//! One small HTTP request to a server on our loopback.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::error::{Error, Result};

/// How long a server of our own may take, where nobody says anything else.
pub const USUAL: Duration = Duration::from_secs(20);

/// The largest answer taken, in bytes.
const LARGEST: usize = 16 << 20;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Send a body.
    Post,
}

/// Sends one request with an optional JSON body; the status and the whole body of the answer, which must be there within `limit`.
///
/// The header of the FleetLock protocol is always sent; other servers ignore it.
pub async fn request(
    server: SocketAddr,
    method: Method,
    path: &str,
    body: Option<serde_json::Value>,
    limit: Duration,
) -> Result<(u16, Vec<u8>)> {
    let failed = |reason: String| Error::Server {
        server: "HTTP request".to_owned(),
        reason: format!("{server}{path}: {reason}"),
    };
    let exchange = async {
        let stream = TcpStream::connect(server)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.to_string()))?;
        let request = Request::builder()
            .method(if method == Method::Get { "GET" } else { "POST" })
            .uri(path)
            .header(header::HOST, server.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .header("fleet-lock-protocol", "true")
            .body(body.map_or_else(Body::empty, |value| Body::from(value.to_string())))
            .map_err(|error| failed(error.to_string()))?;
        let talk = async {
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| failed(error.to_string()))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), LARGEST)
                .collect()
                .await
                .map_err(|error| failed(error.to_string()))?;
            Ok((status, body.to_bytes().to_vec()))
        };
        tokio::pin!(talk);
        tokio::select! {
            answer = &mut talk => answer,
            // The connection may be done with a moment before its last answer is taken out.
            _ = connection => talk.await,
        }
    };
    tokio::time::timeout(limit, exchange)
        .await
        .map_err(|_| failed(format!("no answer within {} s", limit.as_secs())))?
}
