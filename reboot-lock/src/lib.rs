//! The cluster-wide reboot lock: how many hosts of a group may be down at the same time, and which.
//!
//! Speaks FleetLock (<https://coreos.github.io/zincati/development/fleetlock/protocol/>), so that other clients work with
//! this server and our agent works with others.
//!
//! The decision is the pure function [`semaphore::step`]. Around it, from the inside out: [`store`] keeps one record per
//! group, [`queue`] runs the requests of one group through the function in one transaction, [`groups`] holds the queues and
//! what the configuration says, [`wire`] is what FleetLock means in bytes, and [`server`] is sockets, their limits and who
//! may use them. [`page`] is what people look at, [`command`] what they type.

pub mod airlock;
pub mod command;
pub mod config;
pub mod groups;
pub mod history;
pub mod names;
pub mod page;
pub mod policy;
pub mod queue;
pub mod roster;
pub mod semaphore;
pub mod server;
mod span;
pub mod status;
pub mod store;
pub mod wire;
