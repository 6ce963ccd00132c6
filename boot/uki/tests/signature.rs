//! What a signature covers and where it is kept.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "the other tests use the rest of it")]
mod pe;

use pe::{AMD64, image};
use twinhull_uki::{attach_signature, authenticode_digest, signatures, without_signatures};

fn program() -> Vec<u8> {
    image(AMD64, &[(".text", b"code"), (".data", &[7; 700])], 0)
}

#[test]
fn hash_does_not_change_with_the_signature_and_does_with_any_other_byte() {
    let plain = without_signatures(&program()).unwrap();
    let signed = attach_signature(&plain, &[0x30; 333]).unwrap();
    let digest = authenticode_digest(&plain).unwrap();
    assert_eq!(authenticode_digest(&signed).unwrap(), digest);
    let mut spoiled = signed;
    let at = plain.len() - 600;
    spoiled[at] ^= 1;
    assert_ne!(authenticode_digest(&spoiled).unwrap(), digest);
}

#[test]
fn attached_signature_is_found_replaced_and_taken_off() {
    let plain = without_signatures(&program()).unwrap();
    assert!(signatures(&plain).unwrap().is_empty());
    let once = attach_signature(&plain, b"first").unwrap();
    let twice = attach_signature(&once, b"second!!").unwrap();
    assert_eq!(signatures(&twice).unwrap(), [b"second!!"]);
    assert_eq!(without_signatures(&twice).unwrap(), plain);
}

#[test]
fn damaged_tables_are_refused() {
    let signed = attach_signature(&program(), &[1; 40]).unwrap();
    assert!(signatures(&signed[..signed.len() - 8]).is_err(), "a table past the end");
    let mut behind = signed;
    behind.extend_from_slice(&[0; 8]);
    assert!(authenticode_digest(&behind).is_err(), "bytes behind the table");
}
