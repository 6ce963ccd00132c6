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
//! - [`cli`]: the command line.
//! - [`report`]: the outcome as a table, JSON and `JUnit` XML; [`page`]: as HTML.
//!
//! A test that boots an image and looks at it from inside and outside:
//!
//! ```no_run
//! use std::path::PathBuf;
//!
//! use twinhull_layout::{Arch, Slot};
//! use twinhull_qemu::accelerator::{self, Choice};
//! use twinhull_qemu::disk::Disk;
//! use twinhull_qemu::firmware::Firmware;
//! use twinhull_qemu::machine::credential::Credential;
//! use twinhull_qemu::machine::{Machine, Plan};
//! use twinhull_qemu::pace::Pace;
//! use twinhull_qemu::run_folder::RunFolder;
//! use twinhull_qemu::{isolation, login_key};
//!
//! # fn main() -> twinhull_qemu::Result<()> {
//! // Before any thread: from here on there is nothing but loopback.
//! isolation::enter()?;
//! // One thread, since children are tied to the life of the thread that starts them.
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
//! runtime.block_on(async {
//!     let arch = Arch::host();
//!     let work = PathBuf::from("qemu-work");
//!     let folders = RunFolder::create(&work)?;
//!     let proven = accelerator::prove(Choice::Auto, arch, &folders).await?;
//!     let (key, public_key) = login_key::make(folders.sockets()).await?;
//!     let disk = folders.disks().join("host.raw");
//!     twinhull_qemu::scenario::copy_sparse("my-server.raw".as_ref(), &disk).await?;
//!     let machine = Machine::start(Plan {
//!         disk: Some(disk.clone()),
//!         credentials: vec![Credential::root_key(&public_key), Credential::new("system.hostname", "port")],
//!         key: Some(key),
//!         // Slow machines get more time.
//!         pace: Pace::measured(proven.firmware_boot),
//!         ..Plan::new("host".to_owned(), Firmware::find(arch)?, arch, proven.accelerator, &folders)
//!     })
//!     .await?;
//!     machine.wait_for_login(machine.limit(120)).await?;
//!     assert_eq!(machine.run("hostname").await?.trim(), "port");
//!     machine.shut_down().await?;
//!     let seen = Disk::open(&disk, arch)?;
//!     seen.check_intact(Slot::A, &seen.named_root_hash(Slot::A)?)
//! })
//! # }
//! ```
//!
//! A scenario file can be played from Rust, too: [`scenario::file::Written::read`], [`scenario::Piece::written`], [`scenario::run`].
//!
//! Guests are reached by what production hosts have too: system credentials, `sshd` and the serial console. Nothing is
//! put into an image for the tests.

pub mod accelerator;
mod alone;
pub mod artefacts;
pub mod boot_time;
pub mod cli;
pub mod console;
pub mod demo;
pub mod disk;
pub mod error;
pub mod firmware;
pub mod interactive;
pub mod isolation;
pub mod login_key;
pub mod machine;
pub mod pace;
pub mod page;
pub mod ports;
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
