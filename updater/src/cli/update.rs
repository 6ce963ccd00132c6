//! `twinhull-updater update`

use super::by_hand::{self, Start};
use super::output::Outcome;
use super::progress::Display;
use super::{Exit, UpdateArgs};
use crate::machine::Event;
use crate::paths::Paths;

pub(super) fn run(paths: Paths, args: UpdateArgs) -> anyhow::Result<Exit> {
    crate::runtime::blocking(move |runtime| {
        let mut by_hand = match by_hand::start(&paths, "twinhull-updater update", runtime)? {
            Start::Ready(by_hand) => by_hand,
            Start::Ended(exit) => return Ok(exit),
        };
        let display = Display::new(args.output.json);
        let asked = Event::Asked { retry: args.retry };
        let by_hand_ref = &mut *by_hand;
        by_hand_ref
            .engine
            .run(asked, &mut by_hand_ref.agent, &mut |_, _, progress| {
                if let Some(progress) = progress {
                    display.show(progress);
                }
            })?;
        display.end();
        by_hand::nudge_service();
        let known = &by_hand.engine.known;
        let problem = known.last_check.as_ref().and_then(|check| check.problem.as_ref());
        let (outcome, version, text) = match known.staged() {
            Some(attempt) if problem.is_none() => {
                let text = format!("{} is installed and boots next", attempt.version);
                ("staged", Some(attempt.version.clone()), text)
            }
            None if by_hand.engine.live.waiting.is_none() => {
                let version = by_hand.agent.running.version.clone();
                let text = format!("{version} runs and is what the channel offers");
                ("current", Some(version), text)
            }
            _ => return by_hand.refuse(&args.output),
        };
        let outcome = Outcome {
            word: outcome,
            version,
            problem: None,
        };
        args.output.print(&outcome, &text)?;
        Ok(Exit::Done)
    })?
}
