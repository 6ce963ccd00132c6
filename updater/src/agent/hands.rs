//! What the state machine can have done.

use twinhull_layout::Version;

use crate::gates::Observed;
use crate::install::Progress;
use crate::machine::{Grant, Installed, Now, Offer, Problem, Seen};

/// Carries out effects. One method for each, so that a test can put its own world behind them.
pub trait Hands {
    /// The time.
    fn now(&self) -> Now;
    /// [`crate::machine::Effect::Look`]
    fn look(&mut self) -> Result<Seen, Problem>;
    /// [`crate::machine::Effect::Check`]
    fn check(&mut self) -> Result<Offer, Problem>;
    /// [`crate::machine::Effect::Install`]
    fn install(&mut self, version: &Version, watch: &mut dyn FnMut(Progress)) -> Result<Installed, Problem>;
    /// [`crate::machine::Effect::Discard`]
    fn discard(&mut self, version: &Version) -> Result<(), Problem>;
    /// [`crate::machine::Effect::Observe`]
    fn observe(&mut self) -> Observed;
    /// [`crate::machine::Effect::Prepare`]
    fn prepare(&mut self) -> Result<(), Problem>;
    /// [`crate::machine::Effect::Undo`]
    fn undo(&mut self) -> Result<(), Problem>;
    /// [`crate::machine::Effect::Take`],
    /// for the release that is going to boot.
    fn take(&mut self, target: Option<&Version>) -> Grant;
    /// [`crate::machine::Effect::Release`],
    /// after a boot that was healthy, or with the release that failed here last.
    fn release(&mut self, failed: Option<&Version>) -> Result<(), Problem>;
    /// [`crate::machine::Effect::Reboot`]
    fn reboot(&mut self) -> Result<(), Problem>;
}
