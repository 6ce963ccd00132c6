//! `check`

use super::Outcome;
use crate::agent::{Agent, Engine, Hands};
use crate::machine::{Effect, Event, decide};

/// Asks the machine what it would do about what the channel offers, and does not do it.
pub(super) fn check(agent: &mut Agent, engine: &Engine) -> Outcome {
    let checked = agent.check();
    let version = checked.as_ref().ok().map(|offer| offer.version.clone());
    let (known, live) = (engine.known.clone(), engine.live.clone());
    let (known, live, effects) = decide(known, live, Event::Checked(checked), engine.rules(), &agent.now());
    let would_install = effects.iter().any(|effect| matches!(effect, Effect::Install(_)));
    let refusal = known.last_check.and_then(|check| check.problem);
    let staged = known.attempt.is_some() && !would_install;
    match (version, refusal) {
        (version, Some(problem)) => Outcome::not(version, problem),
        (Some(version), None) if would_install => {
            let text = format!("{version} is available");
            Outcome::done("available", Some(version), text)
        }
        (Some(version), None) if staged => {
            let text = format!("{version} is installed and boots next");
            Outcome::done("staged", Some(version), text)
        }
        (Some(version), None) if live.running.as_ref() == Some(&version) => {
            let text = format!("{version} runs and is what the channel offers");
            Outcome::done("current", Some(version), text)
        }
        (version, None) => match live.waiting {
            Some(waiting) => Outcome::not(version, waiting.problem),
            None => Outcome::done("current", version, "nothing to do"),
        },
    }
}
