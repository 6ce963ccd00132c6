//! FleetLock in bytes: what a request must look like, and which status and kind answers what.
//!
//! A client may count answers by their `kind`, so that the kinds are few and fixed ([`Kind`]).

use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use crate::groups::GroupError;
use crate::names::{GroupName, HostId, NameError};
use crate::queue::AskError;
use crate::semaphore::Outcome;

/// The header that every FleetLock request carries, with the value `true`.
pub const PROTOCOL_HEADER: &str = "fleet-lock-protocol";

/// The longest body that is read, in bytes. Real ones have about 150.
pub const MAX_BODY: usize = 16 * 1024;

/// What an answer is about; the `kind` of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 200: the slot is held by the host that asked.
    Granted,
    /// 200: the host that asked holds no slot.
    Released,
    /// 400: the header `fleet-lock-protocol: true` is missing.
    MissingHeader,
    /// 400: the body is not what the protocol says.
    DecodeError,
    /// 400: the id or the group is not allowed.
    InvalidParams,
    /// 400: no such group.
    UnknownGroup,
    /// 401: the credential is missing or wrong.
    Unauthorized,
    /// 404: no such path.
    NotFound,
    /// 404: the host to release by force holds nothing (administration only).
    NotHeld,
    /// 405: wrong method for the path.
    MethodNotAllowed,
    /// 408: the body did not come in time.
    Timeout,
    /// 409: other servers won every race for the record.
    LockConflict,
    /// 413: the body is too long.
    BodyTooLarge,
    /// 423: all slots are held by others.
    LockHeld,
    /// 429: the address asks too often, or has shown too many wrong credentials.
    RateLimited,
    /// 503: the store is down, or the server is going down.
    BackendUnavailable,
}

impl Kind {
    /// The `kind` on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Released => "released",
            Self::MissingHeader => "missing_header",
            Self::DecodeError => "decode_error",
            Self::InvalidParams => "invalid_params",
            Self::UnknownGroup => "unknown_group",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::NotHeld => "not_held",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Timeout => "timeout",
            Self::LockConflict => "lock_conflict",
            Self::BodyTooLarge => "body_too_large",
            Self::LockHeld => "lock_held",
            Self::RateLimited => "rate_limited",
            Self::BackendUnavailable => "backend_unavailable",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Granted | Self::Released => StatusCode::OK,
            Self::MissingHeader | Self::DecodeError | Self::InvalidParams | Self::UnknownGroup => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound | Self::NotHeld => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::LockConflict => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::LockHeld => StatusCode::LOCKED,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::BackendUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An answer: a kind for machines and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// For machines.
    pub kind: Kind,
    /// For people; never empty.
    pub value: String,
}

/// The body of every answer, also as a client reads it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplyBody {
    /// [`Kind::as_str`].
    pub kind: String,
    /// [`Reply::value`].
    pub value: String,
}

impl Reply {
    /// An answer of `kind` saying `value`.
    pub fn new(kind: Kind, value: impl Into<String>) -> Self {
        Self {
            kind,
            value: value.into(),
        }
    }

    /// What it is as a body.
    pub fn body(&self) -> ReplyBody {
        ReplyBody {
            kind: self.kind.as_str().to_owned(),
            value: self.value.clone(),
        }
    }
}

/// Who asks for which group, out of a request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientParams {
    /// The host.
    pub id: HostId,
    /// Its group.
    pub group: GroupName,
}

// Unknown fields are ignored in both: clients of other servers send their own.
#[derive(Deserialize)]
struct RawBody {
    client_params: RawParams,
}

#[derive(Deserialize)]
struct RawParams {
    id: String,
    group: String,
}

/// Whether a request carries the protocol's header.
///
/// # Errors
/// The answer to give when it does not.
pub fn check_header(headers: &HeaderMap) -> Result<(), Reply> {
    match headers.get(PROTOCOL_HEADER) {
        Some(value) if value == "true" => Ok(()),
        Some(_) => Err(Reply::new(
            Kind::MissingHeader,
            format!("the header {PROTOCOL_HEADER} must be `true`"),
        )),
        None => Err(Reply::new(
            Kind::MissingHeader,
            format!("the header `{PROTOCOL_HEADER}: true` is missing; is this a FleetLock client?"),
        )),
    }
}

/// Reads the body of a FleetLock request. Any JSON layout will do, and the Content-Type does not matter.
///
/// # Errors
/// The answer to give when the body is not one.
pub fn parse_body(body: &[u8]) -> Result<ClientParams, Reply> {
    let raw: RawBody = serde_json::from_slice(body).map_err(|error| {
        Reply::new(
            Kind::DecodeError,
            format!("the body is not {{\"client_params\":{{\"id\":\"…\",\"group\":\"…\"}}}}: {error}"),
        )
    })?;
    let invalid = |error: NameError| Reply::new(Kind::InvalidParams, format!("client_params: {error}"));
    Ok(ClientParams {
        id: HostId::try_from(raw.client_params.id).map_err(invalid)?,
        group: GroupName::try_from(raw.client_params.group).map_err(invalid)?,
    })
}

/// The answer to a take or release of `params` that ended with `outcome`.
pub fn answer(params: &ClientParams, outcome: &Outcome) -> Reply {
    let ClientParams { id, group } = params;
    match outcome {
        Outcome::Granted { since } => {
            Reply::new(Kind::Granted, format!("group {group}: slot held by {id} since {since}"))
        }
        Outcome::AlreadyHeld { since } => Reply::new(
            Kind::Granted,
            format!("group {group}: slot already held by {id} since {since}"),
        ),
        Outcome::Full { slots: 0, held, .. } => Reply::new(
            Kind::LockHeld,
            format!("group {group}: closed, it has 0 slots ({held} still held)"),
        ),
        Outcome::Full { slots, held, oldest } => {
            let mut holders: Vec<_> = oldest.iter().map(|(id, since)| format!("{id} since {since}")).collect();
            if *held > holders.len() {
                holders.push(format!("{} more", held - holders.len()));
            }
            Reply::new(
                Kind::LockHeld,
                format!("group {group}: {held} of {slots} slots held by {}", holders.join(", ")),
            )
        }
        Outcome::Released { since } => Reply::new(
            Kind::Released,
            format!("group {group}: slot of {id} released, held since {since}"),
        ),
        Outcome::NotHeld => Reply::new(Kind::Released, format!("group {group}: {id} holds no slot")),
        Outcome::SlotsSet { from, to } => Reply::new(Kind::Granted, format!("group {group}: {from} slots, now {to}")),
    }
}

impl From<GroupError> for Reply {
    fn from(error: GroupError) -> Self {
        let kind = match &error {
            GroupError::Unknown { .. } => Kind::UnknownGroup,
            GroupError::Ask { error, .. } => match error {
                AskError::Conflict => Kind::LockConflict,
                AskError::Unavailable(_) | AskError::Unknown(_) | AskError::ShuttingDown => Kind::BackendUnavailable,
            },
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(body: &str) -> Kind {
        parse_body(body.as_bytes()).unwrap_err().kind
    }

    #[test]
    fn layout_and_unknown_fields_do_not_matter() {
        let expected = ClientParams {
            id: "a".parse().unwrap(),
            group: "b".parse().unwrap(),
        };
        for body in [
            r#"{"client_params":{"id":"a","group":"b"}}"#,
            "{\n  \"client_params\": {\n    \"id\": \"a\",\n    \"group\": \"b\"\n  }\n}\n",
            r#"{"x":[1,{"y":null}],"client_params":{"group":"b","version":"1.1.0","id":"\u0061"}}"#,
        ] {
            assert_eq!(parse_body(body.as_bytes()), Ok(expected.clone()), "{body}");
        }
    }

    #[test]
    fn body_that_is_not_the_protocols_is_refused_by_kind() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"client_params":null}"#,
            r#"{"client_params":{"id":"a"}}"#,
            r#"{"client_params":{"id":1,"group":"b"}}"#,
            r#"{"client_params":{"id":"a","id":"b","group":"b"}}"#,
            r#"{"client_params":{"id":"a","group":"b"}} trailing"#,
            &"[".repeat(10_000),
        ] {
            assert_eq!(kind(body), Kind::DecodeError, "{body}");
        }
        assert_eq!(parse_body(b"\xff\xfe{}").unwrap_err().kind, Kind::DecodeError);
        for body in [
            r#"{"client_params":{"id":"","group":"b"}}"#,
            r#"{"client_params":{"id":"a","group":""}}"#,
            r#"{"client_params":{"id":"a","group":"b/c"}}"#,
            r#"{"client_params":{"id":"a\n","group":"b"}}"#,
        ] {
            assert_eq!(kind(body), Kind::InvalidParams, "{body}");
        }
    }

    #[test]
    fn a_refusal_says_who_holds_what_since_when() {
        let params = ClientParams {
            id: "me".parse().unwrap(),
            group: "default".parse().unwrap(),
        };
        let since = "2026-01-01T00:00:00Z".parse().unwrap();
        let oldest = vec![("X".parse().unwrap(), since)];
        let one = Outcome::Full {
            slots: 1,
            held: 1,
            oldest: oldest.clone(),
        };
        assert_eq!(
            answer(&params, &one).value,
            "group default: 1 of 1 slots held by X since 2026-01-01T00:00:00Z"
        );
        let many = Outcome::Full {
            slots: 5,
            held: 5,
            oldest,
        };
        assert_eq!(
            answer(&params, &many).value,
            "group default: 5 of 5 slots held by X since 2026-01-01T00:00:00Z, 4 more"
        );
    }
}
