//! The two documents that hosts act on: what a release is ([`ReleaseDocument`], signed offline) and which release a channel
//! offers ([`ChannelDocument`], signed online).
//!
//! A document says by itself what it is, and that must be what its target name says: a correctly signed release under
//! another architecture's name is refused. Fields that this version does not know are ignored; one that must be understood
//! comes with a higher `format`.

mod channel;
mod lookup;
mod names;
mod release;

pub use channel::{ChannelDocument, channel_name_is_valid};
pub use names::{CHANNEL_PATTERN, RELEASE_PATTERN, channel_target, release_target};
pub use release::{MAX_SIGNATURE_BYTES, Package, PayloadRef, ReleaseDocument, RootImage, UkiImage};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{TrustError, json};

/// The longest document, in bytes: a release lists some hundreds of packages in tens of KiB.
pub const MAX_DOCUMENT_BYTES: u64 = 4 * 1024 * 1024;

/// The format that this version reads and writes.
const FORMAT: u32 = 1;

/// How a document is written: the format beside its fields.
#[derive(Serialize, Deserialize)]
struct Wire<T> {
    format: u32,
    #[serde(flatten)]
    document: T,
}

/// The bytes of `document`: JSON with sorted keys, the same for the same content.
fn to_bytes<T: Serialize>(document: &T) -> Result<Vec<u8>, String> {
    let value = serde_json::to_value(Wire {
        format: FORMAT,
        document,
    })
    .map_err(|error| error.to_string())?;
    crate::canonical::to_vec(&value).map_err(|error| error.to_string())
}

/// Reads the document in target `name`; what it says about itself is for the caller to compare.
fn from_bytes<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, TrustError> {
    let refused = |why: String| TrustError::Document {
        name: name.to_owned(),
        why,
    };
    let value = json::parse(bytes).map_err(|error| refused(error.to_string()))?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    if format != Some(u64::from(FORMAT)) {
        let found = format.map_or_else(|| "none".to_owned(), |number| number.to_string());
        return Err(refused(format!(
            "its format is {found}, and this version reads format {FORMAT}; update to a release in between first"
        )));
    }
    let wire: Wire<T> = serde_json::from_value(value).map_err(|error| refused(error.to_string()))?;
    Ok(wire.document)
}
