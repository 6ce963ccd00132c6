//! `twinhull-updater check`

use super::by_hand::{self, Start};
use super::output::Outcome;
use super::{Exit, Output};
use crate::agent::Hands;
use crate::machine::{Effect, Event, decide};
use crate::paths::Paths;

pub(super) fn run(paths: Paths, output: Output) -> anyhow::Result<Exit> {
    crate::runtime::blocking(move |runtime| {
        let mut by_hand = match by_hand::start(&paths, "twinhull-updater check", runtime)? {
            Start::Ready(by_hand) => by_hand,
            Start::Ended(exit) => return Ok(exit),
        };
        let checked = by_hand.agent.check();
        let offered = checked.as_ref().ok().map(|offer| offer.version.clone());
        // Asks the machine what it would do, and does not do it.
        let (known, live) = (by_hand.engine.known.clone(), by_hand.engine.live.clone());
        let now = by_hand.agent.now();
        let (known, live, effects) = decide(known, live, Event::Checked(checked), by_hand.engine.rules(), &now);
        let would_install = effects.iter().any(|effect| matches!(effect, Effect::Install(_)));
        let refusal = known.last_check.and_then(|check| check.problem);
        let staged = known.attempt.is_some() && !would_install;
        let version = offered.clone();
        let said = |outcome, text: String, exit| {
            let outcome = Outcome {
                word: outcome,
                version: offered,
                problem: None,
            };
            output.print(&outcome, &text).map(|()| exit)
        };
        match (version, refusal) {
            (version, Some(problem)) => output.refuse(version, problem),
            (Some(version), None) if would_install => {
                said("available", format!("{version} is available"), Exit::Available)
            }
            (Some(version), None) if staged => {
                said("staged", format!("{version} is installed and boots next"), Exit::Done)
            }
            (Some(version), None) if live.running.as_ref() == Some(&version) => said(
                "current",
                format!("{version} runs and is what the channel offers"),
                Exit::Done,
            ),
            _ => match live.waiting {
                Some(waiting) => output.refuse(None, waiting.problem),
                None => said("current", "nothing to do".to_owned(), Exit::Done),
            },
        }
    })?
}
