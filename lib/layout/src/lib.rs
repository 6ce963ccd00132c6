//! The contract that the programs share: what is on a disk, where it is, and what it is called.
//!
//! Builder, init, agent and tests must agree on partition types, slot positions, labels, boot-entry names and versions;
//! whatever two of them need to agree on is here and nowhere else. Nothing in this crate knows how an image is made or
//! installed.

mod arch;
mod boot_entry;
pub mod partition;
pub mod paths;
mod product;
mod root_hash;
mod slot;
pub mod table;
mod text;
mod version;

pub use arch::Arch;
pub use boot_entry::{BootEntry, Tries, boot_order};
pub use product::Product;
pub use root_hash::RootHash;
pub use slot::Slot;
pub use table::Table;
pub use version::Version;

/// A text that does not have the form of what it should name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseError {
    /// The text, cut to a length that fits a line.
    pub text: String,
    /// What was expected, with its form.
    pub expected: &'static str,
}

impl ParseError {
    fn new(text: &str, expected: &'static str) -> Self {
        Self {
            text: text.chars().take(80).collect(),
            expected,
        }
    }
}
