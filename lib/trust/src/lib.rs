//! Signed release metadata after The Update Framework, version 1.0.x: the client that a host trusts, and the repository
//! that speaks to it.
//!
//! - [`Client`] verifies a repository from a trusted root. No network code is inside: bytes come from a [`Fetcher`], time from
//!   a [`Clock`].
//! - [`ReleaseDocument`] and [`ChannelDocument`] are what a host acts on.
//! - [`Repository`] writes a repository as static files; [`Keyring`] holds the keys that may.
//!
//! The formats and what each key may do are in `docs/trust.md`.

pub mod canonical;
mod client;
mod clock;
mod document;
mod error;
mod fetch;
mod hex32;
mod json;
mod metadata;
mod name;
#[doc(hidden)]
pub mod parsers;
mod repository;

pub use client::{Client, Floors, Recovered, Refreshed, Target};
pub use clock::{Clock, FixedClock, SystemClock};
pub use document::{
    CHANNEL_PATTERN, ChannelDocument, MAX_DOCUMENT_BYTES, MAX_SIGNATURE_BYTES, Package, PayloadRef, RELEASE_PATTERN,
    ReleaseDocument, RootImage, UkiImage, channel_name_is_valid, channel_target, release_target,
};
pub use error::TrustError;
pub use fetch::{Answer, Expected, FetchError, Fetcher};
pub use hex32::{Hex32, NotHex32};
pub use repository::{
    KeyChange, Keyring, Pending, PublicKey, Repository, RepositoryError, RoleTerms, SecretKey, Setup, Signer, TokenKey,
    fingerprint, sign_pending,
};
