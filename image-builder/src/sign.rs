//! Signatures: of the EFI programs for Secure Boot, of the root hash, and of the variables that enrol the keys.
//!
//! Made here rather than by a program of the host, because such programs write the time into what they sign: the same keys and
//! the same content give the same bytes. RSA with PKCS #1 v1.5 padding is what firmware verifies everywhere, and it is
//! deterministic.

pub mod authenticode;
pub mod certificate;
mod cms;
pub mod elsewhere;
pub mod enrolment;
pub mod key;
pub(crate) mod token;
pub mod verity;

pub use certificate::Certificate;
pub use key::{Identity, Key};
