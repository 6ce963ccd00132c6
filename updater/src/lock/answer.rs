//! What a server says when it does not do as asked.

use serde::Deserialize;

use crate::http::one_line;

/// A refusal: `{"kind":"…","value":"…"}`, both non-empty.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    /// One of a small set of words.
    pub(super) kind: String,
    /// For people.
    pub(super) value: String,
}

impl Answer {
    /// Reads a body; `None` if it is anything else.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let Self { kind, value } = serde_json::from_slice(body).ok()?;
        let (kind, value) = (one_line(&kind), one_line(&value));
        (!kind.is_empty() && !value.is_empty()).then_some(Self { kind, value })
    }
}
