//! Which container images may start: containers-policy.json(5) and containers-registries.d(5) from the definition.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::files::write;
use crate::definition::Signature;
use crate::error::{Doing, Error, Result};

/// Where podman, and everything else built on containers/image, reads its policy.
const POLICY: &str = "/etc/containers/policy.json";

/// Where it learns that signatures lie beside the images in their registry.
const REGISTRIES: &str = "/etc/containers/registries.d/twinhull-signatures.yaml";

/// Where the keys are in the image.
const KEYS: &str = "/usr/share/twinhull/container-keys";

/// Writes policy and keys into `tree`; nothing when the definition asks for no signatures.
pub(super) fn run(signatures: &[Signature], tree: &Path) -> Result<()> {
    if signatures.is_empty() {
        return Ok(());
    }
    for (number, signature) in signatures.iter().enumerate() {
        let key = std::fs::read(&signature.key).doing("read the key", &signature.key)?;
        write(tree, &key_path(number), key, 0o644)?;
    }
    write(tree, POLICY, policy_text(signatures, &key_path)?, 0o644)?;
    write(tree, REGISTRIES, registries(signatures), 0o644)
}

fn key_path(number: usize) -> String {
    format!("{KEYS}/{number}.pub")
}

/// The policy as a file, with the keys where `key_path` says by their number.
pub(crate) fn policy_text(signatures: &[Signature], key_path: &dyn Fn(usize) -> String) -> Result<String> {
    let text = serde_json::to_string_pretty(&policy(signatures, key_path))
        .map_err(|error| Error::Content(format!("cannot write the signature policy: {error}")))?;
    Ok(text + "\n")
}

/// Everything is refused but what is named, from a registry and with a signature of its owner. Several keys for the same
/// images must all have signed.
fn policy(signatures: &[Signature], key_path: &dyn Fn(usize) -> String) -> Value {
    let mut scopes: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (number, signature) in signatures.iter().enumerate() {
        let requirement = if signature.sigstore {
            // Clients that sign with cosign write the repository without a tag when they sign a digest.
            json!({"type": "sigstoreSigned", "keyPath": key_path(number), "signedIdentity": {"type": "matchRepository"}})
        } else {
            json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": key_path(number), "signedIdentity": {"type": "matchRepository"}})
        };
        scopes.entry(&signature.images).or_default().push(requirement);
    }
    json!({"default": [{"type": "reject"}], "transports": {"docker": scopes}})
}

/// Signatures of sigstore are looked for beside every image: under the name of the registry alone they would not be found where a
/// site reaches it through a mirror.
pub(crate) fn registries(signatures: &[Signature]) -> &'static str {
    if signatures.iter().any(|signature| signature.sigstore) {
        "default-docker:\n  use-sigstore-attachments: true\n"
    } else {
        "docker: {}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(images: &str, sigstore: bool) -> Signature {
        Signature {
            images: images.into(),
            key: "k".into(),
            sigstore,
        }
    }

    #[test]
    fn what_is_not_named_is_refused_from_everywhere() {
        let policy = policy(
            &[signature("r.example/app", true), signature("r.example/old", false)],
            &key_path,
        );
        assert_eq!(policy["default"], json!([{"type": "reject"}]));
        // Another transport, as a local archive, falls to the default.
        assert_eq!(
            policy["transports"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["docker"]
        );
        let docker = &policy["transports"]["docker"];
        assert_eq!(docker["r.example/app"][0]["type"], "sigstoreSigned");
        assert_eq!(
            docker["r.example/old"][0]["keyPath"],
            "/usr/share/twinhull/container-keys/1.pub"
        );
    }

    #[test]
    fn two_owners_must_both_have_signed() {
        let policy = policy(
            &[signature("r.example/app", true), signature("r.example/app", true)],
            &key_path,
        );
        assert_eq!(
            policy["transports"]["docker"]["r.example/app"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }

    #[test]
    fn only_sigstore_looks_for_signatures_in_the_registry() {
        assert!(
            registries(&[signature("r.example/b", true), signature("r.example/a", false)])
                .contains("attachments: true")
        );
        assert!(!registries(&[signature("r.example/a", false)]).contains("attachments"));
    }
}
