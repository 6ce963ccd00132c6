//! Scenarios that are written in TOML files; `docs/scenario-file.md` says how.

pub mod document;
mod expectation;
mod names;
mod needs;
mod on_disk;
mod play;
mod reading;
pub mod reference;
mod sense;
mod services;

pub use play::play;
pub use reading::Written;
