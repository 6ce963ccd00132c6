//! `twinhull-updater rollback`

use super::by_hand::{self, Start};
use super::output::Outcome;
use super::progress::Display;
use super::{Exit, RollbackArgs};
use crate::agent::reboot;
use crate::machine;
use crate::paths::Paths;
use crate::rollback;

pub(super) fn run(paths: Paths, args: RollbackArgs) -> anyhow::Result<Exit> {
    crate::runtime::blocking(move |runtime| {
        let mut by_hand = match by_hand::start(&paths, "twinhull-updater rollback", runtime)? {
            Start::Ready(by_hand) => by_hand,
            Start::Ended(exit) => return Ok(exit),
        };
        let io = by_hand.agent.open()?;
        let display = Display::new(args.output.json);
        let running = by_hand.agent.running.clone();
        let known = &mut by_hand.engine.known;
        let found = rollback::find(&io, &running, known, &mut |progress| display.show(progress));
        display.end();
        let way = match found {
            Ok(way) => way,
            Err(error) => return args.output.refuse(None, error.problem()),
        };
        rollback::remember(&way, &running, known, jiff::Timestamp::now());
        machine::save(&paths.state_file(), known)?;
        rollback::take(&io, &way)?;
        by_hand::nudge_service();
        let outcome = Outcome {
            word: "rollback-pending",
            version: Some(way.to.clone()),
            problem: None,
        };
        args.output.print(&outcome, &format!("{} boots next", way.to))?;
        if args.reboot
            && let Err(problem) = reboot()
        {
            return args.output.refuse(Some(way.to), problem);
        }
        Ok(Exit::Done)
    })?
}
