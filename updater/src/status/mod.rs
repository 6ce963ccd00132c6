//! What `twinhull-updater status` shows, and what the service tells it.

mod report;
mod speed;
mod teller;
mod told;

pub use report::{OtherSlot, Report, RunningSlot};
pub use speed::{Speed, Speedometer};
pub use teller::{Teller, notify};
pub use told::Told;
