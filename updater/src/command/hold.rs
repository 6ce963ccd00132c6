//! `hold` and `unhold`

use jiff::Timestamp;

use super::{CommandError, Outcome};
use crate::agent::Engine;
use crate::http::one_line;
use crate::machine::{Hold, Problem};

pub(super) fn hold(engine: &mut Engine, until: Option<Timestamp>, reason: &str) -> Result<Outcome, CommandError> {
    let since = Timestamp::now();
    if until.is_some_and(|until| until <= since) {
        let problem = Problem::new("held", "the time until which to hold is past: nothing was changed");
        return Ok(Outcome::not(None, problem));
    }
    let hold = Hold {
        since,
        until,
        reason: one_line(reason),
    };
    let text = format!("{hold}; nothing is installed and this host is not rebooted");
    engine.known.hold = Some(hold);
    engine.keep()?;
    Ok(Outcome::done("held", None, text))
}

pub(super) fn unhold(engine: &mut Engine) -> Result<Outcome, CommandError> {
    let text = match engine.known.hold.take() {
        Some(_) => "no longer held",
        None => "was not held",
    };
    engine.keep()?;
    Ok(Outcome::done("released", None, text))
}
