//! A person as the agent, where no service runs.

use tokio::runtime::Handle;

use super::Exit;
use crate::agent::{Agent, Busy, Engine, OnlyOne};
use crate::config::Config;
use crate::machine::{Event, Rules};
use crate::paths::Paths;

/// Ready to act.
pub(super) struct ByHand {
    pub(super) agent: Agent,
    pub(super) engine: Engine,
    _only_one: OnlyOne,
}

/// Ready to act, or why not.
pub(super) enum Start {
    Ready(Box<ByHand>),
    Ended(Exit),
}

/// Becomes the one that acts, and looks at the host.
pub(super) fn start(paths: &Paths, purpose: &str, runtime: Handle) -> anyhow::Result<Start> {
    let only_one = match OnlyOne::try_take(paths, purpose) {
        Ok(only_one) => only_one,
        Err(busy @ Busy::Other(_)) => {
            eprintln!("{busy}");
            return Ok(Start::Ended(Exit::Busy));
        }
        Err(error) => return Err(error.into()),
    };
    let Some(config) = load_config(paths) else {
        return Ok(Start::Ended(Exit::Configuration));
    };
    let rules = Rules::of(&config).by_hand();
    let mut engine = Engine::open(paths.state_file(), rules)?;
    let mut agent = Agent::new(paths.clone(), config, runtime)?;
    let seen = crate::agent::Hands::look(&mut agent);
    engine.run(Event::Seen(seen), &mut agent, &mut |_, _, _| {})?;
    Ok(Start::Ready(Box::new(ByHand {
        agent,
        engine,
        _only_one: only_one,
    })))
}

/// The configuration, or a message.
pub(super) fn load_config(paths: &Paths) -> Option<Config> {
    Config::load(paths).inspect_err(|error| eprintln!("{error}")).ok()
}

/// Tells the service that something has changed. If it does not run, it will see for itself when it starts.
pub(super) fn nudge_service() {
    let _ = std::process::Command::new("systemctl")
        .args(["reload", "--no-block", "twinhull-updater.service"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
}
