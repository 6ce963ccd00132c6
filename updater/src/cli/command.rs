//! `check`, `update`, `rollback`, `hold`, `unhold`: asks the service, or does it without one.

use super::by_hand::{self, Start};
use super::progress::Display;
use super::{Exit, Output};
use crate::command::{Command, obey};
use crate::control::{Client, ClientError};
use crate::paths::Paths;
use crate::runtime;

pub(super) fn run(paths: Paths, command: Command, output: Output) -> anyhow::Result<Exit> {
    if let Some(exit) = by_service(&paths, &command, &output)? {
        return Ok(exit);
    }
    let purpose = format!("twinhull-updater {}", name(&command));
    runtime::blocking(move |runtime| {
        let mut by_hand = match by_hand::start(&paths, &purpose, runtime)? {
            Start::Ready(by_hand) => by_hand,
            Start::Ended(exit) => return Ok(exit),
        };
        let display = Display::new(output.json);
        let by_hand = &mut *by_hand;
        let outcome = obey(
            &command,
            &mut by_hand.agent,
            &mut by_hand.engine,
            &mut |_, _, progress| {
                if let Some(progress) = progress {
                    display.show(progress);
                }
            },
        );
        display.end();
        if command != (Command::Check {}) {
            by_hand::nudge_service();
        }
        output.outcome(&outcome?)
    })?
}

/// Has the service do it; `None` without one that this user may talk to.
fn by_service(paths: &Paths, command: &Command, output: &Output) -> anyhow::Result<Option<Exit>> {
    runtime::new()?.block_on(async {
        let Some(client) = Client::connect(paths).await else {
            return Ok(None);
        };
        let display = Display::new(output.json);
        let watched = client.events(|told| {
            if let Some(progress) = told.progress {
                display.show(progress);
            }
        });
        let asked = client.command(command);
        tokio::pin!(asked);
        let outcome = tokio::select! {
            outcome = &mut asked => outcome,
            // The stream only shows how far it is: without it, the outcome still comes.
            _ = watched => asked.await,
        };
        display.end();
        match outcome {
            Ok(outcome) => output.outcome(&outcome).map(Some),
            Err(error @ ClientError::Busy(_)) => {
                eprintln!("{error}");
                Ok(Some(Exit::Busy))
            }
            Err(error) => Err(error.into()),
        }
    })
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Check {} => "check",
        Command::Update { .. } => "update",
        Command::Rollback { .. } => "rollback",
        Command::Hold { .. } => "hold",
        Command::Unhold {} => "unhold",
    }
}
