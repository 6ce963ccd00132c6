//! Rollout without a server: each host computes from its id, the version and a signed list of waves when a release reaches it.
//!
//! Everything here is pure. [`choose`] is what the agent asks; [`simulate`] asks it for a million hosts; [`plan`] draws the
//! curve beforehand.

mod choose;
mod place;
mod plan;
mod preset;
mod simulate;
mod svg;
mod wave;

pub use choose::{Choice, Halt, Host, Offer, Pin, choose};
pub use place::Place;
pub use plan::{Plan, Point, Stretch};
pub use preset::{PRESETS, Preset, preset};
pub use simulate::{Load, Simulated, simulate};
pub use wave::{BadRollout, Opening, Rollout, WHOLE, Wave};
