//! `update`

use super::{CommandError, Outcome};
use crate::agent::{Agent, Engine, Watcher};
use crate::machine::Event;

/// Installs what the channel offers.
pub(super) fn update(
    agent: &mut Agent,
    engine: &mut Engine,
    retry: bool,
    watcher: &mut Watcher<'_>,
) -> Result<Outcome, CommandError> {
    engine.run(Event::Asked { retry }, agent, watcher)?;
    let known = &engine.known;
    let check = known.last_check.as_ref();
    let problem = check.and_then(|check| check.problem.as_ref());
    let waiting = engine.live.waiting.as_ref();
    Ok(match (known.staged(), waiting) {
        (Some(attempt), _) if problem.is_none() && known.hold.is_none() => {
            let text = format!("{} is installed and boots next", attempt.version);
            Outcome::done("staged", Some(attempt.version.clone()), text)
        }
        (None, None) => {
            let version = agent.running.version.clone();
            let text = format!("{version} runs and is what the channel offers");
            Outcome::done("current", Some(version), text)
        }
        (_, Some(waiting)) => {
            let offered = check.and_then(|check| check.offered.clone());
            Outcome::not(offered, waiting.problem.clone())
        }
        (Some(_), None) => Outcome::done("current", None, "nothing to do"),
    })
}
