//! The agent at work: carries out what the state machine decides.

pub mod announce;
mod choice;
mod confine;
mod engine;
mod hands;
mod host_hands;
mod only_one;
mod reboot;

pub use engine::{Engine, EngineError, Watcher};
pub use hands::Hands;
pub use host_hands::{Agent, AgentError, trusted_root};
pub use only_one::{Busy, OnlyOne};
pub use reboot::reboot;
