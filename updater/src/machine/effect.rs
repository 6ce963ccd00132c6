//! What there is to do.

use std::time::Duration;

use twinhull_layout::Version;

/// Something to do. All but [`Effect::Wake`] and [`Effect::Reboot`] answer with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Look at the host; answers [`super::Event::Seen`].
    Look,
    /// Ask the repository; answers [`super::Event::Checked`].
    Check,
    /// Put a release into the other slot; answers [`super::Event::Installed`].
    Install(Version),
    /// Take the staged release out of the other slot; answers [`super::Event::Discarded`].
    Discard(Version),
    /// Look at the host for the gates; answers [`super::Event::Observed`].
    Observe,
    /// Run the hooks before a reboot; answers [`super::Event::Prepared`].
    Prepare,
    /// Undo what the hooks did; answers [`super::Event::Undone`].
    Undo,
    /// Ask for the reboot lock; answers [`super::Event::Taken`].
    Take,
    /// Give the reboot lock back, or make sure that this host does not have it; answers [`super::Event::Released`].
    Release,
    /// Order the reboot. Answers only if that fails, with [`super::Event::RebootFailed`].
    Reboot,
    /// Come back after this time with [`super::Event::Woke`].
    Wake(Duration),
}
