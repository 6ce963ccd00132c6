//! The agent's decisions: a pure state machine.
//!
//! [`decide`] takes what is known, what happened, the rules and the time, and gives what is known now and what to do. It reads
//! nothing and changes nothing; whoever runs it carries out the effects and comes back with what happened.

mod decide;
mod effect;
mod event;
mod reboot;
mod rules;
mod settle;
mod situation;
mod state;
mod store;

pub use decide::decide;
pub use effect::Effect;
pub use event::{Event, Grant, Installed, Offer, Problem, Seen, Spent, Turn};
pub use rules::{Now, Rules};
pub use situation::{Phase, Situation};
pub use state::{
    Asked, Attempt, Belief, Check, Failure, Hold, Known, Live, Record, RecordKind, Rollback, Stage, Waiting,
};
pub use store::{StoreError, load, save};

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod diagram;
#[cfg(test)]
mod reboot_tests;
