//! The update transaction on a disk with a real partition table: what it does, what it refuses, and what a power cut leaves.

// The fixtures fail loudly, like any test.
#![allow(clippy::unwrap_used)]

mod by_size;
mod crash;
mod disks;
mod faults;
mod footprint;
mod host;
mod oracle;
mod polling;
mod recorder;
mod refusals;
mod rollout;
mod rotten_table;
mod script;
mod server;
mod turn;
mod unknown_base;
mod world;
