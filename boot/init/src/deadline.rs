//! An end to every wait: a boot that does not arrive is rebooted, so that boot counting can go on.

use std::thread;
use std::time::Duration;

use crate::console;

/// From the start of this program to systemd. Slow firmware and large disk arrays are over long before.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

/// Starts the clock. The thread that carries it ends when systemd takes the process over.
pub(crate) fn arm() {
    let clock = thread::Builder::new().name("deadline".to_owned()).spawn(|| {
        thread::sleep(DEADLINE);
        console::give_up_at_once(&format!(
            "starting systemd: not reached within {} s; look above for the last step",
            DEADLINE.as_secs()
        ));
    });
    if let Err(error) = clock {
        console::warn(&format!("no deadline for this boot: {error}"));
    }
}
