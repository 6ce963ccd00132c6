//! FleetLock in bytes: what a request must look like, and which status and kind answers what.
//!
//! A client may count answers by their `kind`, so that the kinds are few and fixed ([`Kind`]).

use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use crate::groups::GroupError;
use crate::names::{GroupName, HostId, NameError};
use crate::policy::is_label;
use crate::queue::AskError;
use crate::semaphore::{Ending, Outcome, Refusal, Report};

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
    /// 200: a change that a person asked for is made (administration only).
    Done,
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
    /// 423: a person stopped the group.
    Paused,
    /// 423: too many hosts of the group failed.
    Halted,
    /// 423: another host went or came back a short time ago.
    Settling,
    /// 423: another zone has its turn.
    OtherZone,
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
            Self::Done => "done",
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
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Settling => "settling",
            Self::OtherZone => "other_zone",
            Self::RateLimited => "rate_limited",
            Self::BackendUnavailable => "backend_unavailable",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Granted | Self::Released | Self::Done => StatusCode::OK,
            Self::MissingHeader | Self::DecodeError | Self::InvalidParams | Self::UnknownGroup => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound | Self::NotHeld => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::LockConflict => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::LockHeld | Self::Paused | Self::Halted | Self::Settling | Self::OtherZone => StatusCode::LOCKED,
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
    /// What it tells of itself beyond the protocol.
    pub report: Report,
}

// Unknown fields are ignored in both: clients of other servers send their own.
#[derive(Deserialize)]
struct RawBody {
    client_params: RawParams,
    // Ours; read apart, so that whatever another client means by the same name does no harm.
    #[serde(default)]
    twinhull: serde_json::Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawReport {
    version: Option<String>,
    target: Option<String>,
    zone: Option<String>,
    outcome: Option<Ending>,
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
        report: report(raw.twinhull),
    })
}

/// What cannot be understood is left out: a host must get its slot, and above all release it, whatever it says of itself.
fn report(raw: serde_json::Value) -> Report {
    let raw = RawReport::deserialize(raw).unwrap_or_default();
    let label = |text: Option<String>| text.filter(|text| is_label(text));
    Report {
        version: label(raw.version),
        target: label(raw.target),
        zone: label(raw.zone),
        ending: raw.outcome,
    }
}

/// The answer to a take or release of `params` that ended with `outcome`.
pub fn answer(params: &ClientParams, outcome: &Outcome) -> Reply {
    let ClientParams { id, group, .. } = params;
    match outcome {
        Outcome::Granted { since } => {
            Reply::new(Kind::Granted, format!("group {group}: slot held by {id} since {since}"))
        }
        Outcome::AlreadyHeld { since } => Reply::new(
            Kind::Granted,
            format!("group {group}: slot already held by {id} since {since}"),
        ),
        Outcome::Refused(refusal) => Reply::new(kind_of(refusal), format!("group {group}: {refusal}")),
        Outcome::Released { since } => Reply::new(
            Kind::Released,
            format!("group {group}: slot of {id} released, held since {since}"),
        ),
        Outcome::NotHeld => Reply::new(Kind::Released, format!("group {group}: {id} holds no slot")),
        Outcome::Done { changed: true } => Reply::new(Kind::Done, format!("group {group}: done")),
        Outcome::Done { changed: false } => Reply::new(Kind::Done, format!("group {group}: was so already")),
    }
}

fn kind_of(refusal: &Refusal) -> Kind {
    match refusal {
        Refusal::Full { .. } => Kind::LockHeld,
        Refusal::Paused(_) => Kind::Paused,
        Refusal::Halted(_) => Kind::Halted,
        Refusal::Settling { .. } => Kind::Settling,
        Refusal::OtherZone { .. } | Refusal::ZoneOrder { .. } => Kind::OtherZone,
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
            report: Report::default(),
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
    fn a_report_is_read_where_it_can_be_and_never_in_the_way() {
        let report = |twinhull: &str| {
            let body = format!(r#"{{"client_params":{{"id":"a","group":"b"}},"twinhull":{twinhull}}}"#);
            parse_body(body.as_bytes()).unwrap().report
        };
        let full = report(r#"{"version":"1.0.0","target":"1.1.0","zone":"r1","outcome":"rolled-back","later":1}"#);
        assert_eq!(
            full,
            Report {
                version: Some("1.0.0".to_owned()),
                target: Some("1.1.0".to_owned()),
                zone: Some("r1".to_owned()),
                ending: Some(Ending::RolledBack),
            }
        );
        for nothing in [
            "null",
            "1",
            "[]",
            r#"{"version":1}"#,
            r#"{"outcome":"maybe"}"#,
            r#"{"zone":""}"#,
            r#"{"zone":"a\n"}"#,
        ] {
            assert_eq!(report(nothing), Report::default(), "{nothing}");
        }
    }

    #[test]
    fn a_refusal_says_who_holds_what_since_when() {
        let params = ClientParams {
            id: "me".parse().unwrap(),
            group: "default".parse().unwrap(),
            report: Report::default(),
        };
        let since = "2026-01-01T00:00:00Z".parse().unwrap();
        let full = Outcome::Refused(Refusal::Full {
            slots: 1,
            held: 1,
            oldest: vec![("X".parse().unwrap(), since)],
        });
        assert_eq!(
            answer(&params, &full),
            Reply::new(
                Kind::LockHeld,
                "group default: 1 of 1 slots held by X since 2026-01-01T00:00:00Z"
            )
        );
    }
}
