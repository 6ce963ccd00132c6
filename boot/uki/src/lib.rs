//! Assembly of a unified kernel image (UKI): one EFI program that carries the kernel, the initramfs, the
//! kernel command line and the release's identity.
//!
//! The program is systemd-stub as the distribution ships it; this crate appends sections to it and corrects
//! the PE headers. It works on bytes alone, so an image of either architecture is assembled on any host, and
//! the same input gives the same bytes everywhere.
//!
//! Specifications: UAPI.5 "Unified Kernel Image"; Microsoft "PE Format", sections 3 (headers) and 4 (section
//! table).

mod append;
mod authenticode;
mod checksum;
mod error;
mod image;
mod measure;
mod read;
mod sbat;
mod uki;

pub use authenticode::{attach_signature, authenticode_digest, signatures, without_signatures};
pub use error::{Part, UkiError};
pub use measure::pcr11;
pub use read::{Machine, machine, section};
pub use uki::{CMDLINE_MAX, Uki};
