//! The image builder: a definition in, a bootable A/B disk image and a signed release out.

mod bounded;
pub mod build;
pub mod cache;
pub mod channel;
pub mod cli;
pub mod commands;
pub mod definition;
pub mod diff;
mod elf;
mod erofs;
pub mod error;
pub mod initramfs;
pub mod inspect;
pub mod keys;
mod part;
mod preflight;
pub mod progress;
pub mod publish;
pub mod repository;
pub mod rollout;
pub mod sbom;
pub mod sign;
#[cfg(test)]
#[path = "../tests/skip/mod.rs"]
mod skip;
pub mod summary;
pub mod tools;
pub mod tree;
pub mod vm;
pub mod work;

pub use error::{Error, Result};
