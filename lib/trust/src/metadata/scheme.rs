//! Kinds of public keys and how each verifies (TUF 1.0.x section 4.2, `KEYTYPE` and `SCHEME`).
//!
//! Our own repositories use ed25519 alone. The others are for repositories that somebody else made.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use ring::signature::{ECDSA_P256_SHA256_ASN1, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};

/// The longest key in PEM, in bytes: RSA of 8192 bits has less than 1,600.
const MAX_PEM: usize = 4096;

/// `rsaEncryption`, RFC 8017 appendix C, in DER.
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// `id-ecPublicKey` and `secp256r1`, RFC 5480 section 2.1.1, in DER.
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// If the key `public` made `signature` over `message`: the bytes of the key, the same however it is written, so that one key
/// under two ids counts once.
pub(crate) fn verified_by(
    keytype: &str,
    scheme: &str,
    public: &str,
    message: &[u8],
    signature: &[u8],
) -> Option<Vec<u8>> {
    match (keytype, scheme) {
        ("ed25519", "ed25519") => ed25519(public, message, signature),
        ("rsa", "rsassa-pss-sha256") => {
            let (oid, _, key) = subject_public_key(&pem(public)?)?;
            (oid == OID_RSA).then(|| with(&RSA_PSS_2048_8192_SHA256, key, message, signature))?
        }
        ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
            let key = point(public).or_else(|| {
                let (oid, curve, key) = subject_public_key(&pem(public)?)?;
                (oid == OID_EC && curve == OID_P256).then_some(key)
            })?;
            with(&ECDSA_P256_SHA256_ASN1, key, message, signature)
        }
        _ => None,
    }
}

fn ed25519(public: &str, message: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let mut key = [0; 32];
    hex::decode_to_slice(public, &mut key).ok()?;
    let signature = Signature::from_slice(signature).ok()?;
    // Strict: a key of small order would accept one signature for every message.
    VerifyingKey::from_bytes(&key)
        .ok()?
        .verify_strict(message, &signature)
        .ok()?;
    Some(key.to_vec())
}

fn with(
    algorithm: &'static dyn VerificationAlgorithm,
    key: Vec<u8>,
    message: &[u8],
    signature: &[u8],
) -> Option<Vec<u8>> {
    UnparsedPublicKey::new(algorithm, &key)
        .verify(message, signature)
        .ok()?;
    Some(key)
}

/// A point of P-256, not compressed, in hexadecimal text: how ECDSA keys were written before the specification said PEM.
fn point(text: &str) -> Option<Vec<u8>> {
    let mut point = [0; 65];
    hex::decode_to_slice(text, &mut point).ok()?;
    (point[0] == 4).then(|| point.to_vec())
}

/// The DER inside of `-----BEGIN PUBLIC KEY-----` (RFC 7468 section 13).
fn pem(text: &str) -> Option<Vec<u8>> {
    let body = (text.len() <= MAX_PEM).then_some(text)?;
    let body = body.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    let body = body.strip_suffix("-----END PUBLIC KEY-----")?;
    let digits: String = body
        .chars()
        .filter(|character| !character.is_ascii_whitespace())
        .collect();
    STANDARD.decode(digits).ok()
}

/// The algorithm, its parameter if that is an identifier (else empty), and the key of a `SubjectPublicKeyInfo` (RFC 5280
/// section 4.1.2.7).
fn subject_public_key(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    const SEQUENCE: u8 = 0x30;
    const IDENTIFIER: u8 = 0x06;
    const BITS: u8 = 0x03;
    let (outer, rest) = element(der, SEQUENCE)?;
    rest.is_empty().then_some(())?;
    let (algorithm, outer) = element(outer, SEQUENCE)?;
    let (oid, parameters) = element(algorithm, IDENTIFIER)?;
    let parameter = element(parameters, IDENTIFIER).map_or(&[][..], |(parameter, _)| parameter);
    let (bits, rest) = element(outer, BITS)?;
    let (unused, key) = bits.split_first()?;
    (rest.is_empty() && *unused == 0).then(|| (oid.to_vec(), parameter.to_vec(), key.to_vec()))
}

/// The content of the DER element at the beginning of `der`, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // No key here has 64 KiB: one or two bytes of length.
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Made by tests/foreign-keys/make.sh.
    const MESSAGE: &[u8] = include_bytes!("../../tests/foreign-keys/message");
    const RSA: &str = include_str!("../../tests/foreign-keys/rsa.pub");
    const RSA_PSS: &[u8] = include_bytes!("../../tests/foreign-keys/rsa.sig");
    const RSA_PKCS1: &[u8] = include_bytes!("../../tests/foreign-keys/rsa15.sig");
    const EC: &str = include_str!("../../tests/foreign-keys/ec.pub");
    const EC_SIGNATURE: &[u8] = include_bytes!("../../tests/foreign-keys/ec.sig");
    const P384: &str = include_str!("../../tests/foreign-keys/p384.pub");
    const P384_SIGNATURE: &[u8] = include_bytes!("../../tests/foreign-keys/p384.sig");

    fn rsa(public: &str, message: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
        verified_by("rsa", "rsassa-pss-sha256", public, message, signature)
    }

    fn ec(public: &str, message: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
        verified_by("ecdsa", "ecdsa-sha2-nistp256", public, message, signature)
    }

    #[test]
    fn signatures_of_openssl_verify() {
        assert!(rsa(RSA, MESSAGE, RSA_PSS).is_some());
        assert!(ec(EC, MESSAGE, EC_SIGNATURE).is_some());
        assert!(verified_by("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", EC, MESSAGE, EC_SIGNATURE).is_some());
    }

    #[test]
    fn one_key_written_twice_is_one_key() {
        let other = RSA.replace('\n', "\r\n");
        assert_eq!(rsa(RSA, MESSAGE, RSA_PSS), rsa(&other, MESSAGE, RSA_PSS));
        let point = hex::encode(subject_public_key(&pem(EC).unwrap()).unwrap().2);
        assert!(ec(&point, MESSAGE, EC_SIGNATURE).is_some());
        assert_eq!(ec(EC, MESSAGE, EC_SIGNATURE), ec(&point, MESSAGE, EC_SIGNATURE));
    }

    #[test]
    fn other_padding_curve_kind_or_message_is_refused() {
        assert!(rsa(RSA, MESSAGE, RSA_PKCS1).is_none());
        assert!(rsa(RSA, b"another", RSA_PSS).is_none());
        assert!(rsa(EC, MESSAGE, EC_SIGNATURE).is_none());
        assert!(ec(RSA, MESSAGE, RSA_PSS).is_none());
        assert!(ec(P384, MESSAGE, P384_SIGNATURE).is_none());
        assert!(ec(EC, MESSAGE, &[0x30, 6, 2, 1, 0, 2, 1, 0]).is_none());
        assert!(ec(EC, MESSAGE, &[]).is_none());
        assert!(verified_by("rsa", "rsassa-pkcs1v15-sha256", RSA, MESSAGE, RSA_PKCS1).is_none());
    }

    #[derive(serde::Deserialize)]
    struct Vectors {
        keytype: String,
        scheme: String,
        cases: Vec<Vector>,
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        comment: String,
        key: String,
        message: String,
        signature: String,
        valid: bool,
    }

    /// The files are made by tests/vectors/make.py, with arithmetic of its own.
    fn judge(text: &str) {
        let vectors: Vectors = serde_json::from_str(text).unwrap();
        assert!(vectors.cases.iter().any(|case| case.valid) && vectors.cases.len() > 25);
        for case in &vectors.cases {
            let (message, signature) = (
                hex::decode(&case.message).unwrap(),
                hex::decode(&case.signature).unwrap(),
            );
            let by = verified_by(&vectors.keytype, &vectors.scheme, &case.key, &message, &signature);
            assert_eq!(by.is_some(), case.valid, "{}: {}", vectors.scheme, case.comment);
        }
    }

    #[test]
    fn zero_malleable_and_small_order_signatures_of_ed25519_are_refused() {
        judge(include_str!("../../tests/vectors/ed25519.json"));
    }

    #[test]
    fn out_of_range_and_badly_written_signatures_of_ecdsa_are_refused() {
        judge(include_str!("../../tests/vectors/ecdsa-p256.json"));
    }

    #[test]
    fn other_paddings_salts_and_weak_keys_of_rsa_are_refused() {
        judge(include_str!("../../tests/vectors/rsa-pss.json"));
    }

    proptest! {
        #[test]
        fn damaged_keys_and_signatures_verify_nothing(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut signature = RSA_PSS.to_vec();
            let position = at.index(signature.len());
            signature[position] ^= 1 << bit;
            prop_assert!(rsa(RSA, MESSAGE, &signature).is_none());
            let mut der = pem(EC).unwrap();
            let position = at.index(der.len());
            der[position] ^= 1 << bit;
            let damaged = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(der));
            prop_assert!(ec(&damaged, MESSAGE, EC_SIGNATURE).is_none());
        }

        #[test]
        fn any_text_is_a_key_or_none(text in any::<String>(), der in any::<Vec<u8>>()) {
            let _ = pem(&text);
            let _ = subject_public_key(&der);
        }
    }
}
