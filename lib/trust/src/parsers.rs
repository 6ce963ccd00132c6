//! Every parser of bytes from outside, by name: for the fuzz targets in `fuzz/` and for the test that runs their corpora.
//!
//! What is read must mean the same when it is written and read again; a parser that panics or does not end is an error.

use serde::Serialize;
use twinhull_layout::Arch;

use crate::client::Floors;
use crate::metadata::envelope::Signed;
use crate::metadata::{
    ROOT, Role, Root, SNAPSHOT, Snapshot, TARGETS, TIMESTAMP, Targets, TimestampRole, pattern, scheme,
};
use crate::repository::parse_key_file;
use crate::{ChannelDocument, ReleaseDocument, canonical, json, name};

/// The names that [`run`] knows.
pub const NAMES: [&str; 11] = [
    "json",
    "root",
    "timestamp",
    "snapshot",
    "targets",
    "release",
    "channel",
    "key-file",
    "floors",
    "signature",
    "name",
];

/// Gives `bytes` to a parser; whether it takes them.
///
/// # Panics
/// The parser has an error, or there is none of this name.
pub fn run(parser: &str, bytes: &[u8]) -> bool {
    match parser {
        "json" => any_json(bytes),
        "root" => role::<Root>(ROOT, bytes),
        "timestamp" => role::<TimestampRole>(TIMESTAMP, bytes),
        "snapshot" => role::<Snapshot>(SNAPSHOT, bytes),
        "targets" => role::<Targets>(TARGETS, bytes),
        "release" => release(bytes),
        "channel" => channel(bytes),
        "key-file" => parse_key_file(bytes).is_ok(),
        "floors" => Floors::parse(bytes).is_ok(),
        "signature" => signature(bytes),
        "name" => names(bytes),
        _ => panic!("there is no parser `{parser}`"),
    }
}

fn any_json(bytes: &[u8]) -> bool {
    let Ok(value) = json::parse(bytes) else { return false };
    let Ok(once) = canonical::to_vec(&value) else {
        return false;
    };
    // Control characters stand as they are in the canonical form, which is then no JSON.
    if let Ok(again) = json::parse(&once) {
        assert_eq!(again, value);
    }
    true
}

fn role<R: Role + Serialize + PartialEq + std::fmt::Debug>(kind: &str, bytes: &[u8]) -> bool {
    let Ok(read) = Signed::parse(kind, bytes).and_then(|signed| signed.unverified::<R>(kind)) else {
        return false;
    };
    let written = serde_json::to_value(&read).map(R::deserialize);
    assert_eq!(written.ok().and_then(Result::ok).as_ref(), Some(&read));
    true
}

fn release(bytes: &[u8]) -> bool {
    let (Ok(product), Ok(version)) = ("demo".parse(), "1.0.0".parse()) else {
        return false;
    };
    let read = |bytes: &[u8]| ReleaseDocument::from_bytes(bytes, "fuzzed", &product, Arch::X86_64, &version);
    let Ok(document) = read(bytes) else { return false };
    let again = document.to_bytes().and_then(|bytes| read(&bytes));
    assert_eq!(again.ok().as_ref(), Some(&document));
    true
}

fn channel(bytes: &[u8]) -> bool {
    let Ok(product) = "demo".parse() else { return false };
    let read = |bytes: &[u8]| ChannelDocument::from_bytes(bytes, "fuzzed", &product, "stable");
    let Ok(document) = read(bytes) else { return false };
    let again = document.to_bytes().and_then(|bytes| read(&bytes));
    assert_eq!(again.ok().as_ref(), Some(&document));
    true
}

/// A kind of key, the length of the key, the key, and the signature over nothing.
fn signature(bytes: &[u8]) -> bool {
    let Some((&[kind, length], rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let (key, signature) = rest.split_at(rest.len().min(usize::from(length) * 4));
    let (keytype, scheme) = match kind % 3 {
        0 => ("ed25519", "ed25519"),
        1 => ("rsa", "rsassa-pss-sha256"),
        _ => ("ecdsa", "ecdsa-sha2-nistp256"),
    };
    scheme::verified_by(keytype, scheme, &String::from_utf8_lossy(key), b"", signature).is_some()
}

/// A name, and after a zero a pattern.
fn names(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (target, wanted) = text.split_once('\0').unwrap_or((&text, "*"));
    pattern::matches(wanted, target);
    let path = name::target_path(target);
    if let Ok(path) = &path {
        assert!(path.split('/').all(|part| !["", ".", ".."].contains(&part)), "{path}");
    }
    if let Ok(file) = name::role_file(target) {
        assert!(!file.contains('/') && file.len() <= 200, "{file}");
    }
    path.is_ok()
}
