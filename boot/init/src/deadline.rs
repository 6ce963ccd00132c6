//! An end to every wait: a boot that does not arrive is rebooted, so that boot counting can go on.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::console;

/// From the start of this program to systemd. Slow firmware and large disk arrays are over long before.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

/// When the wait ends. Later than that only by [`extend`].
static END: Mutex<Option<Instant>> = Mutex::new(None);

/// Starts the clock. The thread that carries it ends when systemd takes the process over.
pub(crate) fn arm() {
    extend(DEADLINE);
    let clock = thread::Builder::new().name("deadline".to_owned()).spawn(|| {
        let begun = Instant::now();
        while let Some(left) = left() {
            // The end may have come nearer meanwhile.
            thread::sleep(left.min(DEADLINE));
        }
        console::give_up_at_once(&format!(
            "starting systemd: not reached within {} s; look above for the last step",
            begun.elapsed().as_secs()
        ));
    });
    if let Err(error) = clock {
        console::warn(&format!("no deadline for this boot: {error}"));
    }
}

/// From now on there is this much time, for what is known to take long.
pub(crate) fn extend(time: Duration) {
    *END.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
}

/// The time that is left; `None` when it is over.
fn left() -> Option<Duration> {
    let end = (*END.lock().unwrap_or_else(PoisonError::into_inner))?;
    let left = end.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_extended_ends_later_and_what_is_cut_short_earlier() {
        assert_eq!(left(), None);
        extend(Duration::from_hours(2));
        assert!(left().unwrap() > Duration::from_hours(1));
        extend(Duration::from_mins(1));
        assert!(left().unwrap() <= Duration::from_mins(1));
        extend(Duration::ZERO);
        assert_eq!(left(), None);
    }
}
