//! `rollback`

use super::{CommandError, Outcome};
use crate::agent::{Agent, Engine, Watcher, reboot};
use crate::rollback;

/// Makes the other slot boot next.
pub(super) fn roll_back(
    agent: &mut Agent,
    engine: &mut Engine,
    at_once: bool,
    watcher: &mut Watcher<'_>,
) -> Result<Outcome, CommandError> {
    let io = agent.open()?;
    let running = agent.running.clone();
    let live = engine.live.clone();
    let found = rollback::find(&io, &running, &engine.known, &mut |progress| {
        watcher(&engine.known, &live, Some(progress));
    });
    let way = match found {
        Ok(way) => way,
        Err(error) => return Ok(Outcome::not(None, error.problem())),
    };
    rollback::remember(&way, &running, &mut engine.known, jiff::Timestamp::now());
    engine.keep()?;
    if let Err(error) = rollback::take(&io, &way) {
        if rollback::still_boots(&io, &running) {
            rollback::forget(&running, &mut engine.known);
            engine.keep()?;
        }
        return Ok(Outcome::not(Some(way.to), error.problem()));
    }
    if at_once && let Err(problem) = reboot() {
        return Ok(Outcome::not(Some(way.to), problem));
    }
    let text = format!("{} boots next", way.to);
    Ok(Outcome::done("rollback-pending", Some(way.to), text))
}
