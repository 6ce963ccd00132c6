//! Boots disk images in QEMU, breaks them on purpose and tells what happened.
//!
//! The binary `twinhull-qemu` runs the scenarios of [`scenario`]; Rust tests can use the parts by themselves:
//!
//! - [`isolation`]: a network of one's own, before any thread starts. Guests then reach this process and nothing else.
//! - [`accelerator`]: hardware virtualisation only after it has booted something, and how fast this machine is.
//! - [`machine`]: one virtual machine: its console, its monitor, its power switch, a shell in the guest.
//! - [`servers`]: what the guests talk to: the release server and the reboot lock.
//! - [`disk`]: a switched-off machine's disk seen from outside: slots, boot entries, intactness.
//! - [`write_log`]: every write and flush of a disk, and all the states that a power cut can leave.
//! - [`artefacts`]: the folder of images and programs that a run needs.
//! - [`report`]: the outcome as a table, JSON and `JUnit` XML.
//!
//! Guests are reached by what production hosts have too: system credentials, `sshd` and the serial console. Nothing is
//! put into an image for the tests.

pub mod accelerator;
pub mod artefacts;
pub mod console;
pub mod demo;
pub mod disk;
pub mod error;
pub mod firmware;
pub mod interactive;
pub mod isolation;
mod login_key;
pub mod machine;
pub mod pace;
pub mod process;
mod random;
pub mod report;
pub mod run_folder;
pub mod scenario;
pub mod servers;
pub mod steps;
pub mod tools;
pub mod write_log;

pub use error::{Error, Result};
