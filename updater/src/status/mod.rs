//! What `twinhull-updater status` shows, and what the service tells it.

mod report;
mod told;

pub use report::{OtherSlot, Report, RunningSlot};
pub use told::Told;
